/*  What an accepted message must look like so that nobody could read it otherwise, said with patterns over its bytes instead of
 *  a parser. llhttp alone would not do: it repairs what others trip over, and we refuse that too (issue: nothing ambiguous passes).
 */
import type { Failure } from "./fuzz-case.ts";
import type { ReadMessage } from "./our-reading.ts";

const REQUEST_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} [!"$-~\x80-\xff]+ HTTP\/1\.[01]$/;
const STATUS_LINE = /^HTTP\/1\.[01] [1-9][0-9][0-9]( [\t\x20-\x7e\x80-\xff]*)?$/;
const FIELD_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;
const TARGET = /^(\/.*|https?:\/\/[^/?@]+([/?].*)?)$/i;
const FRAMING_NAME = /^(content[-_]length|transfer[-_]encoding)$/i;
const REQUEST_FRAMING = /^(content-length: *(0|[1-9][0-9]{0,14}) *|transfer-encoding: ?chunked)$/i;
const ANSWER_FRAMING = /^(content-length: *[0-9]{1,15} *|transfer-encoding: ?chunked)$/i;
const CHUNK_LINE = /^([0-9a-fA-F]{1,11})(;[\t\x20-\x7e\x80-\xff]*)?$/;
const EMPTY_LINES = /^(\r\n){0,2}$/;

/** The first message that could be read otherwise; null when there is none. */
export function ambiguous(kind: "requests" | "answers", bytes: Buffer, messages: readonly ReadMessage[]): Failure | null {
  let endBefore = 0;
  for (const message of messages.filter((each) => each.complete)) {
    const between = bytes.toString("latin1", endBefore, message.at);
    const text = bytes.toString("latin1", message.at, message.end);
    const problem = EMPTY_LINES.test(between) ? problemOf(kind, text, message) : "what lies before it";
    if (problem !== null) return { rule: `ambiguous and accepted: ${problem}`, details: JSON.stringify(text) };
    endBefore = message.end;
  }
  return null;
}

function problemOf(kind: "requests" | "answers", text: string, { start, text: target, minor, fields }: ReadMessage): string | null {
  const headEnd = text.indexOf("\r\n\r\n");
  const [startLine = "", ...lines] = text.slice(0, headEnd).split("\r\n");
  const named = (...names: readonly string[]): string[] =>
    lines.filter((line) => names.includes(line.split(":", 1)[0]!.toLowerCase()));
  if (!(kind === "requests" ? REQUEST_LINE : STATUS_LINE).test(startLine)) return "start line";
  if (lines.some((line) => !FIELD_LINE.test(line))) return "field line";
  if (fields.length !== 2 * lines.length) return "number of fields";
  if (named("content-length", "transfer-encoding").length > 1) return "two framings";
  if (minor === 0 && named("transfer-encoding").length > 0) return "Transfer-Encoding in HTTP/1.0";
  const framing = kind === "requests"
    ? lines.filter((line) => FRAMING_NAME.test(line.split(":", 1)[0]!))
    : named("content-length", "transfer-encoding");
  if (framing.some((line) => !(kind === "requests" ? REQUEST_FRAMING : ANSWER_FRAMING).test(line))) return "framing";
  if (kind === "requests" && framing.some((line) => /^t/i.test(line) && !line.endsWith("chunked"))) return "framing";
  if (kind === "requests" && named("host").length !== 1 && (minor === 1 || named("host").length > 1)) return "number of Hosts";
  if (kind === "requests" && !(start === "OPTIONS" && target === "*") && (!TARGET.test(target) || start === "CONNECT")) {
    return "target";
  }
  return named("transfer-encoding").length > 0 && text.length > headEnd + 4 ? chunksProblem(text.slice(headEnd + 4)) : null;
}

/** `text` is the whole body with its trailers. */
function chunksProblem(text: string): string | null {
  for (let at = 0;;) {
    const lineEnd = text.indexOf("\r\n", at);
    const [, digits] = CHUNK_LINE.exec(text.slice(at, lineEnd)) ?? [];
    if (digits === undefined) return "chunk size line";
    const size = Number.parseInt(digits, 16);
    at = lineEnd + 2 + size;
    if (size === 0) return trailersProblem(text.slice(at));
    if (text.slice(at, at + 2) !== "\r\n") return "end of a chunk";
    at += 2;
  }
}

function trailersProblem(text: string): string | null {
  const lines = text.split("\r\n");
  const ended = lines.pop() === "" && lines.pop() === "";
  return ended && lines.every((line) => FIELD_LINE.test(line)) ? null : "trailers";
}
