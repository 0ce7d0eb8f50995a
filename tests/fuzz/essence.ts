/** What must be the same of a passage however its bytes were cut: the complete messages, how it ended, and who refused what. */
import { cutMessage, fieldValue } from "../fixtures/http1.ts";
import type { Received, Transcript } from "./through-proxy.ts";

export function essence({ client, vms, outcomes, idle }: Transcript, methods: readonly string[]): string {
  const closed = client.state === "ended" || client.state === "closed";
  return JSON.stringify({
    client: [messages(client, { methods, closed }), closed ? "over" : client.state],
    vms: vms.map((vm) => messages(vm, null)).filter((each) => each.length > 0),
    outcomes,
    idle,
  });
}

/** `answers`: to requests with these methods. Ids and dates are left out. */
function messages(received: Received, answers: { readonly methods: readonly string[]; readonly closed: boolean } | null): string[] {
  const read: string[] = [];
  let answered = 0;
  const tunnelAt = received.tunnelAt ?? received.bytes.length;
  for (let at = 0; at < tunnelAt;) {
    const rest = received.bytes.subarray(at, tunnelAt);
    const status = answers === null ? "" : rest.toString("latin1", 9, 12);
    const early = status.startsWith("1");
    const bodiless = early || status === "204" || status === "304" || (answers !== null && answers.methods[answered] === "HEAD");
    const message = cutMessage(rest, answers === null ? {} : { bodiless, untilClose: answers.closed ? "closed" : "open" });
    if (message === null) break;
    if (!early) answered++;
    const own = fieldValue(message, "x-edgeproxy-error") !== undefined;
    const fields = message.fields.map(([name, value]) =>
      /^(x-request-id|traceparent)$/i.test(name) || (own && name === "Date") ? name : `${name}: ${value}`
    );
    const body = own ? "" : message.body.toString("latin1");
    read.push(JSON.stringify([message.startLine, fields, body, message.trailers]));
    if (status === "101") {
      read.push(received.bytes.toString("latin1", at + message.raw.length));
      break;
    }
    at += message.raw.length;
  }
  if (received.tunnelAt !== null) read.push(received.bytes.toString("latin1", tunnelAt));
  return read;
}
