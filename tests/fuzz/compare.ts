/*  Our reading of a byte stream against llhttp's: what we accept, it must read the same way.
 *
 *  What llhttp accepts and we refuse is no failure: we are stricter. Where llhttp refuses or reads otherwise what we may pass
 *  all the same, exceptions.ts says so, one narrow reason each.
 */
import { type Difference, EXCEPTIONS } from "./exceptions.ts";
import type { Failure, FuzzCase } from "./fuzz-case.ts";
import { headOf, plainName, plainTarget, readableMethod, readableStream } from "./readable-stream.ts";
import type { OracleAnswer, OracleJob, OracleReading, OracleRequest } from "./oracle.ts";
import type { Reading, ReadMessage } from "./our-reading.ts";
import { ambiguous } from "./unambiguous.ts";

/** What was compared, for the summary. */
export class Tally {
  messages = 0;
  readonly stricter: Map<string, number> = new Map();
  readonly excepted: Map<string, number> = new Map();

  count(map: Map<string, number>, what: string): void {
    map.set(what, (map.get(what) ?? 0) + 1);
  }
}

export function parserJob(fuzzCase: FuzzCase, ours: Reading): OracleJob {
  const { kind, bytes, methods, ending } = fuzzCase;
  if (kind === "requests") return { kind, bytes: readableStream(bytes, ours) };
  return { kind: "answers", bytes: bytes.toString("latin1"), methods, ended: ending === "ends" };
}

/** The first difference between the two readings of a `requests` or `answers` case; null when there is none. */
export function compareReadings(fuzzCase: FuzzCase, ours: Reading, theirs: OracleReading, tally: Tally): Failure | null {
  const unclear = ambiguous(fuzzCase.kind === "requests" ? "requests" : "answers", fuzzCase.bytes, ours.messages);
  if (unclear !== null) return unclear;
  return fuzzCase.kind === "requests"
    ? compareRequests(fuzzCase, ours, theirs, tally)
    : compareAnswers(fuzzCase, ours, theirs, tally);
}

function compareRequests({ bytes }: FuzzCase, ours: Reading, theirs: OracleReading, tally: Tally): Failure | null {
  for (const [i, our] of ours.messages.entries()) {
    const their = theirs.messages[i];
    if (!our.complete && ours.problem !== "") break; // refused after all
    tally.messages++;
    const failure = their === undefined
      ? { rule: "llhttp refuses a request", details: String(theirs.error) }
      : requestDiffers(our, their);
    if (failure === null) continue;
    const difference = {
      our,
      before: ours.messages[i - 1],
      rule: failure.rule,
      error: theirs.error,
      method: our.start,
      head: headOf(bytes, our),
    };
    return excepted(difference, tally) ? null : described(failure, our, their);
  }
  const more = theirs.messages[ours.messages.length]?.complete === true ||
    theirs.messages[ours.messages.length - 1]?.complete === true;
  if (ours.problem !== "" && theirs.error === null && more) tally.count(tally.stricter, ours.problem);
  return null;
}

function requestDiffers(our: ReadMessage, their: OracleRequest): Failure | null {
  return differs("method", readableMethod(our.start), their.method) ?? differs("target", plainTarget(our.text), their.target) ??
    messageDiffers({ ...our, fields: our.fields.map((name, i) => i % 2 === 0 ? plainName(name) : name) }, their);
}

type Framed = Pick<OracleRequest, "minor" | "fields" | "body" | "trailers" | "complete" | "keepAlive">;

function messageDiffers(our: ReadMessage, their: Framed): Failure | null {
  return differs("version", our.minor, their.minor) ?? differs("fields", our.fields, their.fields) ??
    differs("body", our.body, their.body) ?? differs("end of message", our.complete, their.complete) ??
    differs("trailers", our.trailers, their.trailers) ??
    (our.complete ? differs("keep-alive", our.keepAlive, their.keepAlive) : null);
}

/** 1xx come before the final answer that they belong to. */
function compareAnswers({ bytes, methods }: FuzzCase, ours: Reading, theirs: OracleReading, tally: Tally): Failure | null {
  let answer = 0, early = 0;
  for (const [i, our] of ours.messages.entries()) {
    const their = theirs.answers[answer];
    if (!our.complete && ours.problem !== "") break;
    tally.messages++;
    const informational = Number(our.start) < 200 && our.start !== "101";
    const failure = informational ? informationalDiffers(our, their, early++) : answerDiffers(our, their);
    if (failure !== null) {
      const { rule } = failure, error = their?.error ?? null, method = methods[answer] ?? "";
      const difference = { our, before: ours.messages[i - 1], rule, error, method, head: headOf(bytes, our) };
      return excepted(difference, tally) ? null : described(failure, our, their);
    }
    if (our.upgrade) return null;
    if (!informational) {
      answer++;
      early = 0;
    }
  }
  const next = theirs.answers[answer];
  if (ours.problem !== "" && next?.error === null && next.message?.complete === true) tally.count(tally.stricter, ours.problem);
  return null;
}

function informationalDiffers(our: ReadMessage, their: OracleAnswer | undefined, index: number): Failure | null {
  const head = their?.informational[index];
  if (head === undefined) return { rule: "llhttp refuses a 1xx", details: String(their?.error) };
  return differs("status of a 1xx", our.start, String(head.status)) ?? differs("fields of a 1xx", our.fields, head.fields);
}

function answerDiffers(our: ReadMessage, their: OracleAnswer | undefined): Failure | null {
  const message = their?.message ?? null;
  if (message === null) return { rule: "llhttp refuses an answer", details: String(their?.error) };
  return differs("status", our.start, String(message.status)) ?? differs("reason", our.text, message.reason) ??
    (our.upgrade ? differs("fields", our.fields, message.fields) : messageDiffers(our, message));
}

export function differs(rule: string, our: unknown, their: unknown): Failure | null {
  const one = JSON.stringify(our), other = JSON.stringify(their);
  return one === other ? null : { rule, details: `we read ${one}, llhttp ${other}` };
}

function described({ rule, details }: Failure, our: ReadMessage, their: unknown): Failure {
  return { rule, details: `${details}\nour reading:    ${JSON.stringify(our)}\nllhttp's:       ${JSON.stringify(their ?? null)}` };
}

function excepted(difference: Difference, tally: Tally): boolean {
  const exception = EXCEPTIONS.find((each) => each.applies(difference));
  if (exception !== undefined) tally.count(tally.excepted, exception.reason);
  return exception !== undefined;
}
