/*  The strict parser of HTTP/1.1 heads (RFC 9112), for requests and responses.
 *
 *  One pass over the receive buffer, no regular expressions, no strings but those that are needed. It answers one of:
 *      > 0        the head ends here; the body begins at this offset
 *      NEED_MORE  the buffer ends within the head
 *      REFUSED    malformed or ambiguous: `head.refusal` says which answer, `head.problem` says why
 *  A message that two parsers could read differently is refused: only CRLF ends a line, no folding, no white space before
 *  the colon, one framing only, one Host only.
 */
import { COLON, CR, equalsLower, HTAB, latin1, LF, SP, TARGET_BYTES, TOKEN_BYTES, VALUE_BYTES } from "../bytes.ts";
import { FieldKind, HeaderList } from "../header-list.ts";
import { normaliseHost } from "../host.ts";

export const NEED_MORE = 0;
export const REFUSED = -1;

/** How a head was refused; the names are the contract's error codes. */
export type HeadRefusal = "bad_request" | "head_too_large" | "target_too_long" | "unsupported_coding";

export interface HeadLimits {
  /** Start line and fields with their line ends, in bytes. */
  readonly maxHeadBytes: number;
  readonly maxFields: number;
  /** Request target in bytes. */
  readonly maxTargetBytes: number;
}

export const MAX_FIELDS = 128;
export const MAX_TARGET_BYTES = 8192;
/** Empty lines before a request line that are passed over (RFC 9112, 2.2). */
const MAX_EMPTY_LINES = 2;
/** Content-Length digits: 10^15 - 1 bytes, far below 2^53. */
const MAX_LENGTH_DIGITS = 15;

/** What both kinds of heads have. */
export class MessageHead {
  readonly fields: HeaderList = new HeaderList();
  /** Where the start line lies in `fields.bytes`. */
  start = 0;
  /** Minor version of HTTP/1: 0 or 1. */
  minor = 1;
  /** Content-Length, or -1 without one. */
  contentLength = -1;
  chunked = false;
  /** Connection options. */
  close = false;
  keepAlive = false;
  upgrade = false;
  /** Lower-case field names that Connection nominates besides the options above; null when none. */
  nominated: string[] | null = null;
  refusal: HeadRefusal = "bad_request";
  problem = "";

  clear(bytes: Buffer): void {
    this.fields.clear(bytes);
    this.minor = 1;
    this.contentLength = -1;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.upgrade = false;
    this.nominated = null;
  }

  refuse(problem: string, refusal: HeadRefusal = "bad_request"): typeof REFUSED {
    this.problem = problem;
    this.refusal = refusal;
    return REFUSED;
  }
}

/** A request's start line and fields; used again for the next request of its connection. */
export class RequestHead extends MessageHead {
  method = "";
  /** As received, byte for byte. */
  target = "";
  /** Where the origin-form of the target lies in `fields.bytes`: all of it, or what follows the authority of an absolute-form. */
  pathStart = 0;
  pathEnd = 0;
  /** The authority of an absolute-form target, else the value of Host; empty when there is none (HTTP/1.0). */
  authority = "";
  /** The Host of the request before on this connection: usually the same, so no string need be made. */
  lastAuthority = "";
  /** Expect: 100-continue. */
  expectsContinue = false;
  /** TE contains trailers. */
  acceptsTrailers = false;

  /** Whether the value of field `index` is `lastAuthority`, byte for byte. */
  repeats(index: number): boolean {
    const { fields, lastAuthority } = this;
    const start = fields.valueStart(index);
    if (fields.valueEnd(index) - start !== lastAuthority.length) return false;
    for (let i = 0; i < lastAuthority.length; i++) {
      if (fields.bytes[start + i] !== lastAuthority.charCodeAt(i)) return false;
    }
    return true;
  }

  override clear(bytes: Buffer): void {
    super.clear(bytes);
    this.method = "";
    this.target = "";
    this.authority = "";
    this.expectsContinue = false;
    this.acceptsTrailers = false;
  }
}

/** A response's start line and fields. */
export class ResponseHead extends MessageHead {
  /** 100 to 999. */
  status = 0;
  /** Where the status code and the reason phrase lie in `fields.bytes`. */
  statusStart = 0;
  reasonEnd = 0;

  override clear(bytes: Buffer): void {
    super.clear(bytes);
    this.status = 0;
  }
}

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

/** One walk over the fields that matter; false with a refusal when they contradict each other. */
function checkRequest(head: RequestHead): boolean {
  const { fields } = head;
  let hosts = 0;
  for (let i = 0; i < fields.count; i++) {
    switch (fields.kinds[i]) {
      case FieldKind.Host:
        if (++hosts > 1) return refused(head, "More than one Host");
        head.authority = head.repeats(i) ? head.lastAuthority : fields.value(i);
        head.lastAuthority = head.authority;
        break;
      case FieldKind.ContentLength:
      case FieldKind.TransferEncoding:
      case FieldKind.Connection:
        if (!readFraming(head, i)) return false;
        break;
      case FieldKind.Expect:
        head.expectsContinue = equalsLower(fields.bytes, fields.valueStart(i), fields.valueEnd(i), "100-continue");
        break;
      case FieldKind.Te:
        if (listHas(fields.value(i), "trailers")) head.acceptsTrailers = true;
        break;
      default:
    }
  }
  if (head.chunked && head.contentLength >= 0) return refused(head, "Content-Length together with Transfer-Encoding");
  if (head.chunked && head.minor === 0) return refused(head, "Transfer-Encoding in HTTP/1.0");
  if (hosts === 0 && head.minor === 1) return refused(head, "No Host");
  return checkTarget(head);
}

function checkTarget(head: RequestHead): boolean {
  const { target, method } = head;
  if (method === "CONNECT") return refused(head, "CONNECT is not supported");
  if (target.charCodeAt(0) === 0x2f) return true;
  if (target === "*") return method === "OPTIONS" || refused(head, "The target * is for OPTIONS only");
  const scheme = /^https?:\/\//i.exec(target)?.[0].length;
  if (scheme === undefined) return refused(head, "The request target is neither a path nor an absolute URI");
  let authorityEnd = scheme;
  while (authorityEnd < target.length && target[authorityEnd] !== "/" && target[authorityEnd] !== "?") authorityEnd++;
  const authority = target.slice(scheme, authorityEnd);
  if (authority === "" || authority.includes("@")) {
    return refused(head, "The authority of the request target is empty or has user information");
  }
  // RFC 9112, 3.2 and 3.2.2: it wins over Host, which must be well formed all the same
  if (head.authority !== "" && normaliseHost(head.authority) === null) return refused(head, "The Host is malformed");
  head.authority = authority;
  head.pathStart += authorityEnd;
  return true;
}

function checkResponse(head: ResponseHead): boolean {
  const { fields } = head;
  for (let i = 0; i < fields.count; i++) {
    const kind = fields.kinds[i];
    if (kind === FieldKind.ContentLength || kind === FieldKind.TransferEncoding || kind === FieldKind.Connection) {
      if (!readFraming(head, i)) return false;
    }
  }
  if (head.chunked && head.contentLength >= 0) return refused(head, "Content-Length together with Transfer-Encoding");
  if (head.chunked && head.minor === 0) return refused(head, "Transfer-Encoding in HTTP/1.0");
  return true;
}

function readFraming(head: MessageHead, index: number): boolean {
  switch (head.fields.kinds[index]) {
    case FieldKind.ContentLength:
      return readContentLength(head, index);
    case FieldKind.TransferEncoding:
      return readTransferEncoding(head, index);
    default:
      readConnection(head, index);
      return true;
  }
}

/**
 * Digits only, once: lists and repetitions are refused even when they agree (RFC 9112, 6.3 allows either). So are tabs around
 * them, which llhttp refuses and other parsers skip: the field is forwarded as it came.
 */
function readContentLength(head: MessageHead, index: number): boolean {
  const { fields } = head;
  const { bytes } = fields;
  const start = fields.valueStart(index), end = fields.valueEnd(index);
  if (head.contentLength >= 0) return refused(head, "More than one Content-Length");
  if (start === end || end - start > MAX_LENGTH_DIGITS) return refused(head, "Content-Length is empty or too large");
  if (hasTab(bytes, fields.nameEnd(index), start) || hasTab(bytes, end, fields.lineEnd(index))) {
    return refused(head, "A tab beside Content-Length");
  }
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return refused(head, "Content-Length is not a number");
    value = value * 10 + digit;
  }
  head.contentLength = value;
  return true;
}

function hasTab(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (bytes[at] === HTAB) return true;
  }
  return false;
}

/** Exactly `chunked`, with at most one space before it: every other spelling has served to smuggle. */
function readTransferEncoding(head: MessageHead, index: number): boolean {
  const { fields } = head;
  if (head.chunked) return refused(head, "More than one Transfer-Encoding");
  const value = fields.value(index);
  const clean = fields.valueStart(index) - fields.nameEnd(index) <= 2 && fields.bytes[fields.nameEnd(index) + 1] !== HTAB &&
    fields.lineEnd(index) - fields.valueEnd(index) === 2;
  if (value === "chunked" && clean) {
    head.chunked = true;
    return true;
  }
  const known = value.split(",").every((coding) => coding.trim().toLowerCase() === "chunked"); // repeated or misspelt
  if (!known && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+([ \t]*,[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*$/.test(value)) {
    head.refuse("A transfer coding other than chunked", "unsupported_coding");
    return false;
  }
  return refused(head, "Transfer-Encoding is not exactly chunked");
}

function readConnection(head: MessageHead, index: number): void {
  const { fields } = head;
  if (equalsLower(fields.bytes, fields.valueStart(index), fields.valueEnd(index), "keep-alive")) {
    head.keepAlive = true;
    return;
  }
  for (const option of fields.value(index).toLowerCase().split(",")) {
    const name = option.trim();
    if (name === "close") head.close = true;
    else if (name === "keep-alive") head.keepAlive = true;
    else if (name === "upgrade") head.upgrade = true;
    else if (name !== "") (head.nominated ??= []).push(name);
  }
}

/** Whether a comma-separated list has an element (parameters ignored); `element` is lower-case. */
export function listHas(list: string, element: string): boolean {
  return list.toLowerCase().split(",").some((part) => part.split(";", 1)[0]!.trim() === element);
}

function refused(head: MessageHead, problem: string): false {
  head.refuse(problem);
  return false;
}
