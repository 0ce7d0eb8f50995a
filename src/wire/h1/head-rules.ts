/*  The rules that a head must keep as a whole (RFC 9112, 3.2, 6.1, 6.3): one Host, one framing, a target that fits its method.
 *
 *  A message that two parsers could read differently is refused, not repaired: the next parser behind us may repair it
 *  the other way.
 */
import { equalsLower, HTAB, SP } from "../bytes.ts";
import { FieldKind } from "../header-list.ts";
import { normaliseHost } from "../host.ts";
import type { MessageHead, RequestHead, ResponseHead } from "./message-head.ts";

const ZERO = 0x30;
/** Content-Length digits: 10^15 - 1 bytes, far below 2^53. */
const MAX_LENGTH_DIGITS = 15;

/** One walk over the fields that matter; false with a refusal when they contradict each other. */
export function checkRequest(head: RequestHead): boolean {
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
        if (!readFraming(head, i, true)) return false;
        break;
      case FieldKind.MisspeltFraming:
        return refused(head, "Content-Length or Transfer-Encoding spelled with an underscore");
      case FieldKind.Expect:
        // RFC 9110, 10.1.1: a list, to be ignored in HTTP/1.0
        if (head.minor === 1 && listHas(fields.value(i), "100-continue")) head.expectsContinue = true;
        break;
      case FieldKind.Te:
        // HTTP/1.0 knows no chunks, so it gets no trailers
        if (head.minor === 1 && listHas(fields.value(i), "trailers")) head.acceptsTrailers = true;
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

export function checkResponse(head: ResponseHead): boolean {
  const { fields } = head;
  for (let i = 0; i < fields.count; i++) {
    const kind = fields.kinds[i];
    if (kind === FieldKind.ContentLength || kind === FieldKind.TransferEncoding || kind === FieldKind.Connection) {
      if (!readFraming(head, i, false)) return false;
    }
  }
  if (head.chunked && head.contentLength >= 0) return refused(head, "Content-Length together with Transfer-Encoding");
  if (head.chunked && head.minor === 0) return refused(head, "Transfer-Encoding in HTTP/1.0");
  return true;
}

/** `exact`: only one spelling of chunked counts. */
function readFraming(head: MessageHead, index: number, exact: boolean): boolean {
  switch (head.fields.kinds[index]) {
    case FieldKind.ContentLength:
      return readContentLength(head, index, exact);
    case FieldKind.TransferEncoding:
      return readTransferEncoding(head, index, exact);
    default:
      readConnection(head, index);
      return true;
  }
}

/**
 * Digits only, once: lists and repetitions are refused even when they agree (RFC 9112, 6.3 allows either). So are tabs around
 * them, which llhttp refuses and other parsers skip: the field is forwarded as it came. And so are leading zeros in requests: `010`
 * is eight to a server that reads numbers as C or Ruby literals.
 */
function readContentLength(head: MessageHead, index: number, exact: boolean): boolean {
  const { fields } = head;
  const { bytes } = fields;
  const start = fields.valueStart(index), end = fields.valueEnd(index);
  if (head.contentLength >= 0) return refused(head, "More than one Content-Length");
  if (start === end || end - start > MAX_LENGTH_DIGITS) return refused(head, "Content-Length is empty or too large");
  if (hasTab(bytes, fields.nameEnd(index), start) || hasTab(bytes, end, fields.lineEnd(index))) {
    return refused(head, "A tab beside Content-Length");
  }
  if (exact && end - start > 1 && bytes[start] === ZERO) return refused(head, "Content-Length begins with a zero");
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

/**
 * In requests exactly `chunked`, with at most one space before it: every other spelling has served to smuggle. Answers may spell
 * it in any case (RFC 9112, 7): we frame them anew, so nobody behind us reads the field.
 */
function readTransferEncoding(head: MessageHead, index: number, exact: boolean): boolean {
  const { fields } = head;
  if (head.chunked) return refused(head, "More than one Transfer-Encoding");
  const value = fields.value(index);
  const clean = fields.valueStart(index) - fields.nameEnd(index) <= 2 && fields.bytes[fields.nameEnd(index) + 1] !== HTAB &&
    fields.lineEnd(index) - fields.valueEnd(index) === 2;
  if (clean && (exact ? value : value.toLowerCase()) === "chunked") {
    head.chunked = true;
    return true;
  }
  const known = elements(value).every((coding) => coding.toLowerCase() === "chunked"); // repeated or misspelt
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
  for (const name of elements(fields.value(index).toLowerCase())) {
    if (name === "close") head.close = true;
    else if (name === "keep-alive") head.keepAlive = true;
    else if (name === "upgrade") head.upgrade = true;
    else if (name !== "") (head.nominated ??= []).push(name);
  }
}

/** Whether a comma-separated list has an element (parameters ignored); `element` is lower-case. */
export function listHas(list: string, element: string): boolean {
  return list.toLowerCase().split(",").some((part) => trimmed(part.split(";", 1)[0]!) === element);
}

/** The elements of a comma-separated list as they are spelled, empty ones among them. */
export function elements(list: string): string[] {
  return list.split(",").map(trimmed);
}

/** Without SP and HTAB around it. `String.trim` also takes away 0xa0, which is a byte like any other here. */
function trimmed(text: string): string {
  let start = 0, end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(c: number): boolean {
  return c === SP || c === HTAB;
}

function refused(head: MessageHead, problem: string): false {
  head.refuse(problem);
  return false;
}
