/*  The fields of a head or trailer section, in order, with their spelling and duplicates.
 *
 *  A list holds no strings: four offsets and a kind per field, into the buffer that the section was received in, or where
 *  it has been copied to since (`RequestHead.keep`). Most fields are forwarded as the bytes they came as, so their
 *  names and values are never looked at.
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
  Traceparent: 22,
  Tracestate: 23,
  /** What one edge tells the next. */
  EdgeDecided: 24,
} as const;
/** Below 32: sets of them are bits of a number. */
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

const NO_BYTES = Buffer.alloc(0);

export class HeaderList {
  /** The buffer that the offsets point into. */
  bytes: Buffer = NO_BYTES;
  count = 0;
  /** Where the last field's line ends. */
  end = 0;
  kinds: Uint8Array = new Uint8Array(16);
  /** One bit for each kind that occurs. */
  #seen = 0;
  #offsets: Int32Array = new Int32Array(16 * 4);

  clear(bytes: Buffer): void {
    this.bytes = bytes;
    this.count = 0;
    this.#seen = 0;
  }

  add(start: number, nameEnd: number, valueStart: number, valueEnd: number): number {
    if (this.count === this.kinds.length) this.#grow();
    const index = this.count++;
    const offsets = this.#offsets;
    offsets[index * 4] = start;
    offsets[index * 4 + 1] = nameEnd;
    offsets[index * 4 + 2] = valueStart;
    offsets[index * 4 + 3] = valueEnd;
    const kind = fieldKind(this.bytes, start, nameEnd);
    this.#seen |= 1 << kind;
    return this.kinds[index] = kind;
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

  /** Whether there is a field of this kind. */
  has(kind: FieldKind): boolean {
    return (this.#seen & (1 << kind)) !== 0;
  }

  /** All values of one kind, joined as RFC 9110, 5.3 allows; null when there is none. */
  joined(kind: FieldKind): string | null {
    if (!this.has(kind)) return null;
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

/** The names we know; no two of one length begin with the same letter. */
const KNOWN: readonly (readonly [lower: string, kind: FieldKind])[] = [
  ["te", FieldKind.Te],
  ["via", FieldKind.Via],
  ["host", FieldKind.Host],
  ["expect", FieldKind.Expect],
  ["accept", FieldKind.Accept],
  ["upgrade", FieldKind.Upgrade],
  ["trailer", FieldKind.Trailer],
  ["x-real-ip", FieldKind.XRealIp],
  ["forwarded", FieldKind.Forwarded],
  ["connection", FieldKind.Connection],
  ["tracestate", FieldKind.Tracestate],
  ["traceparent", FieldKind.Traceparent],
  ["keep-alive", FieldKind.KeepAlive],
  ["x-request-id", FieldKind.XRequestId],
  ["content-length", FieldKind.ContentLength],
  ["http2-settings", FieldKind.Http2Settings],
  ["x-forwarded-for", FieldKind.XForwardedFor],
  ["x-forwarded-host", FieldKind.XForwardedHost],
  ["proxy-connection", FieldKind.ProxyConnection],
  ["transfer-encoding", FieldKind.TransferEncoding],
  ["x-forwarded-proto", FieldKind.XForwardedProto],
  ["x-edgeproxy-decided", FieldKind.EdgeDecided],
];
const KNOWN_BYTES: readonly Uint8Array[] = KNOWN.map(([lower]) => bytesOf(lower));
/**
 * What a name counts as that only reads as a known one because of its underscores: CGI, WSGI, Rack and PHP read `X_Real_IP` and
 * `X-Real-IP` as one name, and servers have taken `Content_Length` for the length.
 */
const MISSPELT: readonly FieldKind[] = KNOWN.map(([lower]) => {
  if (lower === "content-length" || lower === "transfer-encoding") return FieldKind.MisspeltFraming;
  return lower.startsWith("x-") ? FieldKind.XForwardedOther : FieldKind.Other;
});
const X_FORWARDED = bytesOf("x-forwarded-");
const LONGEST = 19;
/** Place in KNOWN plus one, by length and first letter; 0 for none. */
const PLACES: Uint8Array = new Uint8Array((LONGEST + 1) * 32);
for (const [place, [lower]] of KNOWN.entries()) PLACES[lower.length * 32 + (lower.charCodeAt(0) & 31)] = place + 1;

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** At most one name has to be compared (forwarding.bench, with what docs/performance.md names beside it: 0.8 of the time of 15 fields). */
function fieldKind(bytes: Buffer, start: number, end: number): FieldKind {
  const length = end - start;
  const place = length <= LONGEST ? PLACES[length * 32 + (bytes[start]! & 31)]! - 1 : -1;
  if (place >= 0) {
    const known = KNOWN_BYTES[place]!;
    if (isName(bytes, start, known)) return KNOWN[place]![1];
    if (readsAs(bytes, start, known)) return MISSPELT[place]!;
  }
  const ours = (bytes[start]! | 0x20) === 0x78 && length >= X_FORWARDED.length && readsAs(bytes, start, X_FORWARDED);
  return ours ? FieldKind.XForwardedOther : FieldKind.Other;
}

/** Among the bytes of a token only upper-case letters become a letter, digit or hyphen by bit 0x20. */
function isName(bytes: Buffer, start: number, lower: Uint8Array): boolean {
  for (let i = 0; i < lower.length; i++) {
    if ((bytes[start + i]! | 0x20) !== lower[i]) return false;
  }
  return true;
}

/** As `isName`, when an underscore counts as a hyphen. */
function readsAs(bytes: Buffer, start: number, lower: Uint8Array): boolean {
  for (let i = 0; i < lower.length; i++) {
    const c = bytes[start + i]!;
    if (c === 0x5f ? lower[i] !== 0x2d : (c | 0x20) !== lower[i]) return false;
  }
  return true;
}
