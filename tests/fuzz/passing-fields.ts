/*  Which fields pass the proxy, said a second time and without its tables: flat lists of names and values in, the same out.
 *  What the proxy adds is taken away on the other side, so that both lists must be equal.
 */
import { ANY_NAME } from "./readable-stream.ts";

/** Of one connection (RFC 9110, 7.6.1). */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings"];
const OURS = ["via", "forwarded", "traceparent", "tracestate"];
/** What `Connection` may not name away. */
const STAYS = ["host", "content-length", "expect"];

/**
 * What reaches the VM of a client that is not trusted. `absolute`: the target's authority becomes the Host. `old`: HTTP/1.0, whose
 * Expect is ignored (RFC 9110, 10.1.1).
 */
export function passingRequestFields(fields: readonly string[], absolute: boolean, old: boolean): string[] {
  const nominated = nominatedBy(fields);
  const gone = [...HOP_BY_HOP, ...(absolute ? ["host"] : []), ...(old ? ["expect"] : [])];
  return select(fields, (name) => !isOurs(name) && !gone.includes(name) && !nominated.has(name));
}

/** What the VM got, without what the proxy has added. */
export function fieldsAtVm(fields: readonly string[], absolute: boolean): string[] {
  const added = [...HOP_BY_HOP, ANY_NAME.toLowerCase()];
  return select(fields, (name) => !isOurs(name) && !added.includes(name) && !(absolute && name === "host"));
}

export function passingAnswerFields(fields: readonly string[], lengthless: boolean): string[] {
  const nominated = nominatedBy(fields);
  return select(
    fields,
    (name) => !HOP_BY_HOP.includes(name) && !(lengthless && name === "content-length") && (!nominated.has(name) || isOurs(name)),
  );
}

export function fieldsAtClient(fields: readonly string[]): string[] {
  return select(fields, (name) => !HOP_BY_HOP.includes(name));
}

export function passingTrailers(trailers: readonly string[]): string[] {
  const never = [...HOP_BY_HOP, ...STAYS, "trailer"];
  const misspelt = ["content-length", "transfer-encoding"];
  return select(trailers, (name) => !isOurs(name) && !never.includes(name) && !misspelt.includes(name.replaceAll("_", "-")));
}

export function values(fields: readonly string[], name: string): string[] {
  return fields.filter((_, i) => i % 2 === 1 && fields[i - 1]!.toLowerCase() === name);
}

/** What the proxy itself says about the client, in all the spellings that servers read as one. */
function isOurs(name: string): boolean {
  const read = name.replaceAll("_", "-");
  return OURS.includes(name) || read.startsWith("x-forwarded-") || ["x-real-ip", "x-request-id"].includes(read);
}

function nominatedBy(fields: readonly string[]): ReadonlySet<string> {
  const options = values(fields, "connection").flatMap((value) => value.split(",")).map((option) =>
    option.replaceAll(/^[ \t]+|[ \t]+$/g, "")
  );
  return new Set(options.map((option) => option.toLowerCase()).filter((option) => !STAYS.includes(option)));
}

/** `passes` is asked for lower-case names. */
function select(fields: readonly string[], passes: (name: string) => boolean): string[] {
  return fields.filter((_, i) => passes(fields[i - i % 2]!.toLowerCase()));
}
