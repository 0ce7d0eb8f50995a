/*  The fields of a head or trailer section, in order, with their spelling and duplicates.
 *
 *  A list holds no strings: four offsets and a kind per field, into the buffer that the section was received in. Most
 *  fields are forwarded as the bytes they came as, so their names and values are never looked at.
 *
 *      Name: value   CRLF
 *      ^   ^ ^    ^       ^
 *      |   | |    valueEnd next field's start (= lineEnd)
 *      |   | valueStart
 *      |   nameEnd
 *      start
 */
import { equalsLower, latin1 } from "./bytes.ts";

/** Fields that the proxy itself looks at; everything else is `Other`. */
export const FieldKind = {
  Other: 0,
  Host: 1,
  Connection: 2,
  ContentLength: 3,
  TransferEncoding: 4,
  Upgrade: 5,
  Expect: 6,
  Te: 7,
  Trailer: 8,
  KeepAlive: 9,
  ProxyConnection: 10,
  Via: 11,
  XForwardedFor: 12,
  XForwardedProto: 13,
  XForwardedHost: 14,
  /** Other X-Forwarded-*, and spellings with underscores that some servers read as one of ours. */
  XForwardedOther: 15,
  XRealIp: 16,
  XRequestId: 17,
  Forwarded: 18,
  Http2Settings: 19,
  Accept: 20,
  /** `Content_Length`, `Transfer_Encoding`: what some servers read as framing, and others do not. */
  MisspeltFraming: 21,
} as const;
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

const NO_BYTES = Buffer.alloc(0);

export class HeaderList {
  /** The buffer that the offsets point into. */
  bytes: Buffer = NO_BYTES;
  count = 0;
  /** Where the last field's line ends. */
  end = 0;
  kinds: Uint8Array = new Uint8Array(16);
  #offsets: Int32Array = new Int32Array(16 * 4);

  clear(bytes: Buffer): void {
    this.bytes = bytes;
    this.count = 0;
  }

  add(start: number, nameEnd: number, valueStart: number, valueEnd: number): number {
    if (this.count === this.kinds.length) this.#grow();
    const index = this.count++;
    const offsets = this.#offsets;
    offsets[index * 4] = start;
    offsets[index * 4 + 1] = nameEnd;
    offsets[index * 4 + 2] = valueStart;
    offsets[index * 4 + 3] = valueEnd;
    return this.kinds[index] = fieldKind(this.bytes, start, nameEnd);
  }

  /** The same bytes now lie in `bytes`, `by` bytes further to the front. */
  move(bytes: Buffer, by: number): void {
    this.bytes = bytes;
    this.end -= by;
    if (by === 0) return;
    for (let i = this.count * 4 - 1; i >= 0; i--) this.#offsets[i]! -= by;
  }

  start(index: number): number {
    return this.#offsets[index * 4]!;
  }

  nameEnd(index: number): number {
    return this.#offsets[index * 4 + 1]!;
  }

  valueStart(index: number): number {
    return this.#offsets[index * 4 + 2]!;
  }

  valueEnd(index: number): number {
    return this.#offsets[index * 4 + 3]!;
  }

  lineEnd(index: number): number {
    return index + 1 < this.count ? this.#offsets[index * 4 + 4]! : this.end;
  }

  /** As spelled by the sender. */
  name(index: number): string {
    return latin1(this.bytes, this.start(index), this.nameEnd(index));
  }

  /** Without surrounding white space; each byte is one character. */
  value(index: number): string {
    return latin1(this.bytes, this.valueStart(index), this.valueEnd(index));
  }

  nameIs(index: number, lower: string): boolean {
    return equalsLower(this.bytes, this.start(index), this.nameEnd(index), lower);
  }

  /** All values of one kind, joined as RFC 9110, 5.3 allows; null when there is none. */
  joined(kind: FieldKind): string | null {
    let joined: string | null = null;
    for (let i = 0; i < this.count; i++) {
      if (this.kinds[i] === kind) joined = joined === null ? this.value(i) : `${joined}, ${this.value(i)}`;
    }
    return joined;
  }

  #grow(): void {
    const kinds = new Uint8Array(this.kinds.length * 2);
    kinds.set(this.kinds);
    this.kinds = kinds;
    const offsets = new Int32Array(this.#offsets.length * 2);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
  }
}

/** By length first, so that most names are told apart without looking at their bytes. */
function fieldKind(bytes: Buffer, start: number, end: number): FieldKind {
  const is = (lower: string): boolean => equalsLower(bytes, start, end, lower);
  switch (end - start) {
    case 2:
      return is("te") ? FieldKind.Te : FieldKind.Other;
    case 3:
      return is("via") ? FieldKind.Via : FieldKind.Other;
    case 4:
      return is("host") ? FieldKind.Host : FieldKind.Other;
    case 6:
      return is("expect") ? FieldKind.Expect : is("accept") ? FieldKind.Accept : FieldKind.Other;
    case 7:
      return is("upgrade") ? FieldKind.Upgrade : is("trailer") ? FieldKind.Trailer : FieldKind.Other;
    case 9:
      if (is("x-real-ip")) return FieldKind.XRealIp;
      if (is("forwarded")) return FieldKind.Forwarded;
      break;
    case 10:
      return is("connection") ? FieldKind.Connection : is("keep-alive") ? FieldKind.KeepAlive : FieldKind.Other;
    case 12:
      if (is("x-request-id")) return FieldKind.XRequestId;
      break;
    case 14:
      if (is("content-length")) return FieldKind.ContentLength;
      if (is("http2-settings")) return FieldKind.Http2Settings;
      if (readsAs(bytes, start, end, "content-length")) return FieldKind.MisspeltFraming;
      break;
    case 15:
      if (is("x-forwarded-for")) return FieldKind.XForwardedFor;
      break;
    case 16:
      if (is("x-forwarded-host")) return FieldKind.XForwardedHost;
      if (is("proxy-connection")) return FieldKind.ProxyConnection;
      break;
    case 17:
      if (is("transfer-encoding")) return FieldKind.TransferEncoding;
      if (is("x-forwarded-proto")) return FieldKind.XForwardedProto;
      if (readsAs(bytes, start, end, "transfer-encoding")) return FieldKind.MisspeltFraming;
      break;
    default:
  }
  return (bytes[start]! | 0x20) === 0x78 && speaksOfClient(bytes, start, end) ? FieldKind.XForwardedOther : FieldKind.Other;
}

/**
 * X-Forwarded-*, and our other fields about the client misspelt with underscores: CGI, WSGI, Rack and PHP read `X_Real_IP` and
 * `X-Real-IP` as one name.
 */
function speaksOfClient(bytes: Buffer, start: number, end: number): boolean {
  return readsAs(bytes, start, Math.min(end, start + 12), "x-forwarded-") || readsAs(bytes, start, end, "x-real-ip") ||
    readsAs(bytes, start, end, "x-request-id");
}

function readsAs(bytes: Buffer, start: number, end: number, lower: string): boolean {
  if (end - start !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) {
    const c = bytes[start + i]!;
    const read = c === 0x5f ? 0x2d : c >= 0x41 && c <= 0x5a ? c | 0x20 : c;
    if (read !== lower.charCodeAt(i)) return false;
  }
  return true;
}
