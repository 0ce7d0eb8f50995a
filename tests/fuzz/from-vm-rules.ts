/*  Bytes of a VM have gone through the data plane: whatever looks complete to the client was complete from the VM, anything
 *  else is the proxy's own answer, or a connection that visibly breaks. llhttp reads both sides: what the VM said as we read
 *  it (compare.ts), what the client got against that.
 */
import { LIMITS } from "../fixtures/world.ts";
import { compareReadings, differs, type Tally } from "./compare.ts";
import type { Failure, FuzzCase } from "./fuzz-case.ts";
import type { OracleAnswer, OracleJob, OracleReading } from "./oracle.ts";
import { readAnswers, type Reading, type ReadMessage } from "./our-reading.ts";
import { fieldsAtClient, passingAnswerFields, passingTrailers, values } from "./passing-fields.ts";
import type { Transcript } from "./through-proxy.ts";

type Message = NonNullable<OracleAnswer["message"]>;

/** Idle connections before the request took one. */
const CONNECTIONS = 2;

/** What the VM said, and what the client got. */
export function fromVmJobs({ bytes, methods, ending }: FuzzCase, { client }: Transcript): OracleJob[] {
  const clientSawEnd = client.state === "ended" || client.state === "closed";
  return [
    { kind: "answers", bytes: bytes.toString("latin1"), methods, ended: ending === "ends" },
    { kind: "answers", bytes: client.bytes.toString("latin1"), methods, ended: clientSawEnd },
  ];
}

export function fromVmFailure(
  fuzzCase: FuzzCase,
  transcript: Transcript,
  [said, atClient]: readonly OracleReading[],
  tally: Tally,
): Failure | null {
  const reading = readAnswers([fuzzCase.bytes], LIMITS, fuzzCase.methods, fuzzCase.ending === "ends");
  const got = atClient!.answers[0]!;
  if (got.error !== null) {
    return { rule: "llhttp refuses what the client got", details: `${got.error}\n${transcript.client.bytes.toString("latin1")}` };
  }
  return compareReadings(fuzzCase, reading, said!, tally) ?? earlyFailure(fuzzCase, reading, got) ??
    (got.tunnel ? tunnelFailure(fuzzCase, transcript, reading, got) : answerFailure(fuzzCase, transcript, reading, got)) ??
    reuseFailure(fuzzCase, transcript, reading);
}

/** 1xx are relayed to whoever can read them. */
function earlyFailure({ request }: FuzzCase, { messages }: Reading, got: OracleAnswer): Failure | null {
  const relayed = messages.filter(isInformational).slice(0, got.informational.length);
  if (/ HTTP\/1\.0\r\n/.test(request) && got.informational.length > 0) return { rule: "a 1xx to HTTP/1.0", details: "" };
  return differs(
    "1xx at the client",
    relayed.map((head) => [Number(head.start), passingAnswerFields(head.fields, true)]),
    got.informational.map((head) => [head.status, fieldsAtClient(head.fields)]),
  );
}

function tunnelFailure(
  { bytes, request }: FuzzCase,
  { client }: Transcript,
  { messages, end }: Reading,
  got: OracleAnswer,
): Failure | null {
  const agreed = messages.at(-1)?.upgrade === true && /^upgrade:/im.test(request);
  if (!agreed) return { rule: "a tunnel that nobody agreed to", details: "" };
  return differs("bytes in the tunnel", bytes.toString("latin1", end), client.bytes.toString("latin1", got.end));
}

function answerFailure(
  fuzzCase: FuzzCase,
  transcript: Transcript,
  { messages, problem }: Reading,
  got: OracleAnswer,
): Failure | null {
  const { client, outcomes } = transcript;
  const final = messages.find((message) => !isInformational(message) && !message.upgrade);
  const complete = got.message?.complete === true;
  const own = outcomes[0]?.startsWith("refused") === true;
  const text = client.bytes.toString("latin1");
  if (complete && got.end !== client.bytes.length) return { rule: "bytes behind the answer", details: text };
  if (final?.complete === true && (!complete || own)) {
    return { rule: "a complete answer was not passed on", details: JSON.stringify(final) };
  }
  if (own) {
    const marked = got.message !== null && values(got.message.fields, "x-edgeproxy-error").length === 1;
    return complete && marked ? null : { rule: "an own answer is incomplete", details: text };
  }
  if (!complete) {
    return differs("the client's connection", fuzzCase.ending === "stays" && problem === "" ? "open" : "reset", client.state);
  }
  if (final?.complete !== true) return { rule: "looks complete to the client and was not", details: text };
  return messageFailure(fuzzCase, final, got.message!);
}

function messageFailure({ request }: FuzzCase, said: ReadMessage, got: Message): Failure | null {
  const asksTrailers = /^te: trailers/im.test(request) && values(got.fields, "transfer-encoding").length > 0;
  const framings = values(got.fields, "transfer-encoding").length + values(got.fields, "content-length").length;
  return differs("status at the client", said.start, String(got.status)) ??
    differs("reason at the client", said.text, got.reason) ??
    differs("fields at the client", passingAnswerFields(said.fields, said.start === "204"), fieldsAtClient(got.fields)) ??
    differs("body at the client", said.body, got.body) ??
    differs("trailers at the client", asksTrailers ? passingTrailers(said.trailers) : [], got.trailers) ??
    (framings > 1 ? { rule: "two framings at the client", details: JSON.stringify(got.fields) } : null);
}

/** A connection is used again only after an answer that was complete, alone, and did not say close. */
function reuseFailure({ bytes, ending }: FuzzCase, { idle }: Transcript, { messages, end, problem }: Reading): Failure | null {
  const final = messages.at(-1);
  const alone = problem === "" && end === bytes.length && ending === "stays";
  const reusable = final !== undefined && alone && final.complete && final.keepAlive && !isInformational(final) && !final.upgrade;
  const details = `${idle} idle, reusable: ${reusable}`;
  return idle === (reusable ? CONNECTIONS : CONNECTIONS - 1) ? null : { rule: "use of the VM's connection", details };
}

function isInformational({ start }: ReadMessage): boolean {
  return Number(start) < 200 && start !== "101";
}
