/*  Bytes of a client have gone through the data plane: what the VM got must be exactly the requests that we accept, read by
 *  llhttp, and the client must have one answer for each.
 */
import { LIMITS } from "../fixtures/world.ts";
import { differs } from "./compare.ts";
import type { Failure, FuzzCase } from "./fuzz-case.ts";
import type { OracleJob, OracleReading, OracleRequest } from "./oracle.ts";
import { ANY_NAME, readableMethod, readableStream } from "./readable-stream.ts";
import { type Reading, type ReadMessage, readRequests } from "./our-reading.ts";
import { fieldsAtVm, passingRequestFields, passingTrailers, values } from "./passing-fields.ts";
import { ambiguous } from "./unambiguous.ts";
import type { Transcript } from "./through-proxy.ts";

/** More than a client's head may be: ours adds fields. */
const VM_LIMITS = { maxHeadBytes: 64 * 1024, maxFields: 200, maxTargetBytes: 8192 };

/** One job per connection to the VM, then one for the client. */
export function fromClientJobs(fuzzCase: FuzzCase, transcript: Transcript): OracleJob[] {
  const atVm = transcript.vms.map(({ bytes, tunnelAt }): OracleJob => {
    const http = bytes.subarray(0, tunnelAt ?? bytes.length);
    return { kind: "requests", bytes: readableStream(http, readRequests([http], VM_LIMITS)) };
  });
  const asked = askedMethods(fuzzCase.bytes);
  const methods = transcript.outcomes.map((_, i) => asked[i] === "HEAD" ? "HEAD" : "GET");
  const { bytes } = transcript.client;
  return [...atVm, { kind: "answers", bytes: bytes.toString("latin1"), methods, ended: hasEnded(transcript) }];
}

/** Of each request that is answered; the last one may be malformed, and HEAD all the same. */
export function askedMethods(bytes: Buffer): string[] {
  const { messages, end } = readRequests([bytes], LIMITS);
  const rest = bytes.toString("latin1", end).replace(/^(\r\n)*/, "");
  return [...messages.map(({ start }) => start), rest.startsWith("HEAD ") ? "HEAD" : "GET"];
}

export function fromClientFailure(fuzzCase: FuzzCase, transcript: Transcript, readings: readonly OracleReading[]): Failure | null {
  const accepted = readRequests([fuzzCase.bytes], LIMITS);
  const atClient = readings.at(-1)!;
  return ambiguous("requests", fuzzCase.bytes, accepted.messages) ?? exchangesFailure(fuzzCase, accepted, transcript) ??
    vmFailure(fuzzCase, accepted, transcript, readings.slice(0, -1)) ?? tunnelFailure(fuzzCase, accepted, transcript) ??
    answersFailure(transcript, atClient);
}

/** Each accepted request is one exchange, in order; the last is what was refused, or a head that the client has left unfinished. */
function exchangesFailure(
  { bytes, manner }: FuzzCase,
  { messages, problem, end }: Reading,
  { outcomes, client }: Transcript,
): Failure | null {
  const begun = /[^\r\n]/.test(bytes.toString("latin1", end));
  for (const [i, outcome] of outcomes.entries()) {
    const message = messages[i];
    const last = i === messages.length && (problem === "" ? begun && outcome === "aborted 0" : outcome.startsWith("refused"));
    if (message === undefined && !last) {
      return { rule: "an exchange that nobody asked for", details: outcomes.join(", ") };
    }
    if (/^(forwarded|tunnelled)/.test(outcome) && message?.complete !== true && manner !== "early") {
      return { rule: "an incomplete request was answered", details: JSON.stringify(message) };
    }
    if (outcome.startsWith("aborted") && message?.complete === true) {
      return { rule: "a request was not answered", details: JSON.stringify(message) };
    }
    if (outcome.startsWith("tunnelled")) return null;
  }
  const unanswered = messages[outcomes.length];
  if (unanswered?.complete !== true || client.state !== "open") return null;
  return { rule: "a request was not answered", details: JSON.stringify(unanswered) };
}

function vmFailure(
  { manner }: FuzzCase,
  { messages }: Reading,
  { vms, outcomes }: Transcript,
  readings: readonly OracleReading[],
): Failure | null {
  const asked = messages.filter((_, i) => /^(forwarded|tunnelled)/.test(outcomes[i] ?? ""));
  const early = manner === "early";
  const got: OracleRequest[] = [];
  for (const [i, { messages: read, error }] of readings.entries()) {
    if (error !== null) {
      return { rule: "llhttp refuses what the VM got", details: `${error}\n${JSON.stringify(vms[i]!.bytes.toString("latin1"))}` };
    }
    got.push(...read.filter((message) => message.complete || early));
    if (read.slice(0, -1).some((message) => !message.complete)) {
      return { rule: "something behind an incomplete request", details: "" };
    }
  }
  if (got.length !== asked.length && !(early && got.length === asked.length + 1 && !got.at(-1)!.complete)) {
    const atVm = got.map(({ method, target }) => `${method} ${target}`);
    const details = `accepted and answered: ${asked.map(({ start, text }) => `${start} ${text}`).join(", ")}; at the VM: ${
      atVm.join(", ")
    }`;
    return { rule: "number of requests at the VM", details };
  }
  for (const [i, message] of asked.entries()) {
    const failure = requestFailure(message, got[i]!);
    if (failure !== null) return failure;
  }
  return null;
}

/** Behind a granted wish for another protocol everything passes as it is. */
function tunnelFailure({ bytes }: FuzzCase, { messages }: Reading, { vms, outcomes }: Transcript): Failure | null {
  const vm = vms.find(({ tunnelAt }) => tunnelAt !== null);
  if (vm === undefined) return null;
  const place = outcomes.findIndex((outcome) => outcome.startsWith("tunnelled"));
  if (place < 0) return { rule: "a tunnel was granted and not made", details: outcomes.join(", ") };
  return differs("bytes in the tunnel", bytes.toString("latin1", messages[place]!.end), vm.bytes.toString("latin1", vm.tunnelAt!));
}

function requestFailure(asked: ReadMessage, got: OracleRequest): Failure | null {
  const absolute = /^https?:\/\//i.test(asked.text);
  const chunked = values(asked.fields, "transfer-encoding").length > 0;
  return differs("method at the VM", readableMethod(asked.start), got.method) ??
    differs("target at the VM", originForm(asked).replaceAll(/[\x80-\xff]/g, "%"), got.target) ??
    differs("version at the VM", 1, got.minor) ??
    differs("body at the VM", got.complete ? asked.body : asked.body.slice(0, got.body.length), got.body) ??
    differs("transfer codings at the VM", chunked ? ["chunked"] : [], values(got.fields, "transfer-encoding")) ??
    differs("lengths at the VM", values(asked.fields, "content-length"), values(got.fields, "content-length")) ??
    differs(
      "hosts at the VM",
      asked.minor === 1 || absolute ? 1 : values(asked.fields, "host").length,
      values(got.fields, "host").length,
    ) ??
    differs("h2c at the VM", [], values(got.fields, ANY_NAME.toLowerCase()).filter((value) => /(^|,)\s*h2c/i.test(value))) ??
    differs(
      "fields at the VM",
      passingRequestFields(asked.fields, absolute, asked.minor === 0),
      fieldsAtVm(got.fields, absolute),
    ) ??
    differs("trailers at the VM", got.complete ? passingTrailers(asked.trailers) : [], got.trailers);
}

/** RFC 9112, 3.2.1. */
function originForm({ text, start }: ReadMessage): string {
  const [, path] = /^https?:\/\/[^/?]*(.*)$/is.exec(text) ?? [];
  if (path === undefined) return text;
  if (path === "") return start === "OPTIONS" ? "*" : "/";
  return path.startsWith("/") ? path : `/${path}`;
}

function answersFailure(transcript: Transcript, { answers = [] }: OracleReading): Failure | null {
  const answered = transcript.outcomes.filter((outcome) => /^(forwarded|refused|tunnelled) /.test(outcome));
  const complete = answers.filter(({ message }) => message?.complete === true);
  const statuses = complete.map(({ message }) => String(message!.status));
  const error = answers.find((answer) => answer.error !== null)?.error;
  if (error !== undefined) {
    return { rule: "llhttp refuses what the client got", details: `${error}\n${transcript.client.bytes.toString("latin1")}` };
  }
  return differs("answers at the client", answered.map((outcome) => outcome.split(" ")[1]), statuses) ??
    differs("bytes behind the last answer", transcript.client.bytes.length, complete.at(-1)?.end ?? 0) ??
    (complete.at(-1)?.message?.keepAlive === false && complete.at(-1)?.tunnel === false && !hasEnded(transcript)
      ? { rule: "the last answer says close and the connection stays", details: transcript.client.state }
      : null);
}

function hasEnded({ client }: Transcript): boolean {
  return client.state === "ended" || client.state === "closed";
}
