/*  The strict parser of HTTP/1.1 heads (RFC 9112), for requests and responses.
 *
 *  One pass over the receive buffer, no regular expressions, no strings but those that are needed. It answers one of:
 *      > 0        the head ends here; the body begins at this offset
 *      NEED_MORE  the buffer ends within the head
 *      REFUSED    malformed or ambiguous: `head.refusal` says which answer, `head.problem` says why
 *  A message that two parsers could read differently is refused: only CRLF ends a line, no folding, no white space before
 *  the colon, one framing only, one Host only.
 */
import { COLON, CR, HTAB, latin1, LF, SP, TARGET_BYTES, TOKEN_BYTES, VALUE_BYTES } from "../bytes.ts";
import { checkRequest, checkResponse } from "./head-rules.ts";
import { type HeadLimits, type MessageHead, NEED_MORE, REFUSED, type RequestHead, type ResponseHead } from "./message-head.ts";

/** Empty lines before a request line that are passed over (RFC 9112, 2.2). */
const MAX_EMPTY_LINES = 2;

/** Parses a request head at bytes[start, end). */
export function parseRequestHead(bytes: Buffer, start: number, end: number, limits: HeadLimits, head: RequestHead): number {
  head.clear(bytes);
  let at = start;
  for (let empty = 0; bytes[at] === CR && at < end; empty++) {
    if (at + 1 >= end) return NEED_MORE;
    if (bytes[at + 1] !== LF) return head.refuse("A carriage return without line feed before the request line");
    if (empty === MAX_EMPTY_LINES) return head.refuse("Too many empty lines before the request line");
    at += 2;
  }
  head.start = at;
  at = parseRequestLine(bytes, at, end, limits, head);
  if (at <= 0) return at;
  at = parseFields(bytes, at, end, head.start + limits.maxHeadBytes, limits.maxFields, head);
  if (at <= 0) return at;
  return checkRequest(head) ? at : REFUSED;
}

/** Parses a response head at bytes[start, end). */
export function parseResponseHead(bytes: Buffer, start: number, end: number, limits: HeadLimits, head: ResponseHead): number {
  head.clear(bytes);
  head.start = start;
  let at = parseStatusLine(bytes, start, end, start + limits.maxHeadBytes, head);
  if (at <= 0) return at;
  at = parseFields(bytes, at, end, start + limits.maxHeadBytes, limits.maxFields, head);
  if (at <= 0) return at;
  return checkResponse(head) ? at : REFUSED;
}

/** Parses a trailer section at bytes[start, end), up to and with its empty line. */
export function parseTrailers(bytes: Buffer, start: number, end: number, limits: HeadLimits, head: MessageHead): number {
  head.fields.clear(bytes);
  return parseFields(bytes, start, end, start + limits.maxHeadBytes, limits.maxFields, head);
}

/** Nothing but line ends, which may precede a request (RFC 9112, 2.2): no request has begun. */
export function isOnlyLineEnds(bytes: Buffer, start: number): boolean {
  let at = start;
  while (at < bytes.length && (bytes[at] === CR || bytes[at] === LF)) at++;
  return at === bytes.length;
}

function parseRequestLine(bytes: Buffer, start: number, end: number, limits: HeadLimits, head: RequestHead): number {
  let at = start;
  while (at < end && TOKEN_BYTES[bytes[at]!] === 1) at++;
  if (at - start > 64) return head.refuse("The method is longer than 64 bytes");
  if (at === end) return NEED_MORE;
  if (at === start || bytes[at] !== SP) return head.refuse("The method is not a token");
  head.method = methodName(bytes, start, at);
  const targetStart = ++at;
  const targetLimit = Math.min(end, targetStart + limits.maxTargetBytes + 1);
  while (at < targetLimit && TARGET_BYTES[bytes[at]!] === 1) at++;
  if (at - targetStart > limits.maxTargetBytes) return head.refuse("The request target is too long", "target_too_long");
  if (at === end) return NEED_MORE;
  if (at === targetStart || bytes[at] !== SP) return head.refuse("The request target contains a forbidden byte");
  head.target = latin1(bytes, targetStart, at);
  head.pathStart = targetStart;
  head.pathEnd = at;
  const version = parseVersion(bytes, at + 1, end, head);
  if (version <= 0) return version;
  return endOfLine(bytes, version, end, head);
}

/** The usual methods without making a string. */
function methodName(bytes: Buffer, start: number, end: number): string {
  if (end - start === 3 && bytes[start] === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54) return "GET";
  if (
    end - start === 4 && bytes[start] === 0x50 && bytes[start + 1] === 0x4f && bytes[start + 2] === 0x53 &&
    bytes[start + 3] === 0x54
  ) return "POST";
  return latin1(bytes, start, end);
}

const VERSION = [0x48, 0x54, 0x54, 0x50, 0x2f, 0x31, 0x2e]; // HTTP/1.

function parseVersion(bytes: Buffer, start: number, end: number, head: MessageHead): number {
  for (let i = 0; i < VERSION.length; i++) {
    if (start + i >= end) return NEED_MORE;
    if (bytes[start + i] !== VERSION[i]) return head.refuse("The version is not HTTP/1.1 or HTTP/1.0");
  }
  const at = start + VERSION.length;
  if (at >= end) return NEED_MORE;
  const minor = bytes[at]! - 0x30;
  if (minor !== 0 && minor !== 1) return head.refuse("The version is not HTTP/1.1 or HTTP/1.0");
  head.minor = minor;
  return at + 1;
}

function endOfLine(bytes: Buffer, at: number, end: number, head: MessageHead): number {
  if (at >= end) return NEED_MORE;
  if (bytes[at] !== CR) return head.refuse("The start line does not end with CRLF");
  if (at + 1 >= end) return NEED_MORE;
  return bytes[at + 1] === LF ? at + 2 : head.refuse("A carriage return without line feed");
}

function parseStatusLine(bytes: Buffer, start: number, end: number, limit: number, head: ResponseHead): number {
  let at = parseVersion(bytes, start, end, head);
  if (at <= 0) return at;
  if (end - at < 4) return NEED_MORE;
  const a = bytes[at + 1]! - 0x30, b = bytes[at + 2]! - 0x30, c = bytes[at + 3]! - 0x30;
  if (bytes[at] !== SP || a < 1 || a > 9 || b < 0 || b > 9 || c < 0 || c > 9) {
    return head.refuse("The status code is not three digits");
  }
  head.status = a * 100 + b * 10 + c;
  head.statusStart = at + 1;
  at += 4;
  if (at >= end) return NEED_MORE;
  if (bytes[at] !== SP && bytes[at] !== CR) return head.refuse("The status code is not three digits");
  const scanEnd = Math.min(end, limit);
  while (at < scanEnd && VALUE_BYTES[bytes[at]!] === 1) at++;
  head.reasonEnd = at;
  if (at >= limit) return head.refuse("The head is too large", "head_too_large");
  return endOfLine(bytes, at, end, head);
}

/** Field lines up to and with the empty line; `limit` is the offset that the section must not pass. */
function parseFields(bytes: Buffer, start: number, end: number, limit: number, maxFields: number, head: MessageHead): number {
  const fields = head.fields;
  const scanEnd = end < limit ? end : limit;
  let at = start;
  for (;;) {
    if (at >= scanEnd) break;
    if (bytes[at] === CR) {
      if (at + 1 >= scanEnd) break;
      if (bytes[at + 1] !== LF) return head.refuse("A carriage return without line feed");
      fields.end = at;
      return at + 2;
    }
    const nameStart = at;
    while (at < scanEnd && TOKEN_BYTES[bytes[at]!] === 1) at++;
    if (at === scanEnd) break;
    if (at === nameStart || bytes[at] !== COLON) return head.refuse(nameProblem(bytes, nameStart, at));
    const nameEnd = at++;
    while (at < scanEnd && (bytes[at] === SP || bytes[at] === HTAB)) at++;
    const valueStart = at;
    while (at < scanEnd && VALUE_BYTES[bytes[at]!] === 1) at++;
    if (at >= scanEnd) break;
    if (bytes[at] !== CR) return head.refuse("A field value contains a control byte or a bare line feed");
    if (at + 1 >= scanEnd) break;
    if (bytes[at + 1] !== LF) return head.refuse("A carriage return without line feed in a field");
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB)) valueEnd--;
    at += 2;
    if (fields.count === maxFields) return head.refuse(`More than ${maxFields} fields`, "head_too_large");
    fields.add(nameStart, nameEnd, valueStart, valueEnd);
  }
  return end >= limit ? head.refuse("The head is too large", "head_too_large") : NEED_MORE;
}

function nameProblem(bytes: Buffer, nameStart: number, at: number): string {
  const c = bytes[at];
  if (at === nameStart) {
    return c === SP || c === HTAB
      ? "A folded or indented field line"
      : c === COLON
      ? "An empty field name"
      : "A field name with a forbidden byte";
  }
  return c === SP || c === HTAB ? "White space before the colon of a field" : "A field name with a forbidden byte";
}
