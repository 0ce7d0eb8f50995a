/*  Decoder of chunked bodies (RFC 9112, 7.1), incremental: any cut of the bytes gives the same events.
 *
 *      size -> (extension) -> size-lf -> data -> data-cr -> data-lf -> size ...
 *                                 \-> (size 0) trailers -> done        failed: final, from anywhere
 *
 *  Strict: hexadecimal digits only, no white space around the size, only CRLF ends a line; extensions are passed over up to
 *  a bound, since nobody uses them but smugglers.
 */
import { CR, LF, VALUE_BYTES } from "../bytes.ts";
import { parseTrailers } from "./head-parser.ts";
import { type HeadLimits, type HeadRefusal, MessageHead, NEED_MORE, REFUSED } from "./message-head.ts";

/** Hex digits of a chunk size: 2^44 - 1 bytes at most, so that no arithmetic overflows. */
const MAX_SIZE_DIGITS = 11;
/** Bytes of extensions in one body that are passed over. */
const MAX_EXTENSION_BYTES = 4096;

const SIZE = 0, EXTENSION = 1, SIZE_LF = 2, DATA = 3, DATA_CR = 4, DATA_LF = 5, TRAILERS = 6, DONE = 7, FAILED = 8;

export interface ChunkedEvents {
  onBody(chunk: Buffer): void;
}

const NO_BYTES = Buffer.alloc(0);

export class ChunkedDecoder {
  /** The trailer section, once done; it lies in the bytes given last. */
  readonly trailers: MessageHead = new MessageHead();
  problem = "";
  #state = SIZE;
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #kept: Buffer = NO_BYTES;
  readonly #limits: HeadLimits;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** Which answer a refused body deserves: only trailers can be too large. */
  get refusal(): HeadRefusal {
    return this.trailers.refusal;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  /**
   * Reads bytes[start, end): body bytes go to `events` as slices. Answers the offset behind the last byte it has read (the
   * end, unless the body is done), or REFUSED with `problem`.
   */
  read(bytes: Buffer, start: number, end: number, events: ChunkedEvents): number {
    let at = start;
    while (at < end) {
      if (this.#state === DATA) {
        const take = Math.min(this.#left, end - at);
        events.onBody(take === bytes.length ? bytes : bytes.subarray(at, at + take));
        at += take;
        this.#left -= take;
        if (this.#left === 0) this.#state = DATA_CR;
      } else if (this.#state === TRAILERS) return this.#readTrailers(bytes, at, end);
      else if (this.#state >= DONE) return this.#state === DONE ? at : REFUSED;
      else if (!this.#step(bytes[at++]!)) return REFUSED;
    }
    return at;
  }

  #step(c: number): boolean {
    switch (this.#state) {
      case SIZE:
        return this.#readSize(c);
      case EXTENSION:
        if (c === CR) this.#state = SIZE_LF;
        else if (VALUE_BYTES[c] !== 1) return this.#fail("A control byte in a chunk extension");
        else if (++this.#extensionBytes > MAX_EXTENSION_BYTES) return this.#fail("Chunk extensions are too long");
        return true;
      case SIZE_LF:
        if (c !== LF) return this.#fail("A chunk size line does not end with CRLF");
        this.#state = this.#left === 0 ? TRAILERS : DATA;
        this.#digits = 0;
        return true;
      case DATA_CR:
        if (c !== CR) return this.#fail("Chunk data is longer than its size");
        this.#state = DATA_LF;
        return true;
      default:
        if (c !== LF) return this.#fail("Chunk data does not end with CRLF");
        this.#state = SIZE;
        return true;
    }
  }

  #readSize(c: number): boolean {
    const digit = hexDigit(c);
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) return this.#fail("A chunk size is too large");
      this.#left = this.#left * 16 + digit;
      return true;
    }
    if (this.#digits === 0) return this.#fail("A chunk size is missing");
    if (c === CR) this.#state = SIZE_LF;
    else if (c === 0x3b) this.#state = EXTENSION;
    else return this.#fail("A chunk size is not a hexadecimal number");
    return true;
  }

  #readTrailers(bytes: Buffer, start: number, end: number): number {
    const joined = this.#kept.length > 0;
    const buffer = joined ? Buffer.concat([this.#kept, bytes.subarray(start, end)]) : bytes;
    if (joined && bytes.indexOf(LF, start) < 0 && buffer.length < this.#limits.maxHeadBytes) {
      this.#kept = buffer; // no line has ended: parsing again would find nothing new
      return end;
    }
    const from = joined ? 0 : start;
    const to = joined ? buffer.length : end;
    const at = parseTrailers(buffer, from, to, this.#limits, this.trailers);
    if (at === REFUSED) {
      this.#fail(this.trailers.problem);
      return REFUSED;
    }
    if (at === NEED_MORE) {
      this.#kept = joined ? buffer : Buffer.from(bytes.subarray(start, end)); // received bytes are gone when their event is over
      return end;
    }
    const keptBytes = this.#kept.length;
    this.#kept = NO_BYTES;
    this.#state = DONE;
    return joined ? start + (at - keptBytes) : at;
  }

  #fail(problem: string): false {
    this.#state = FAILED;
    this.problem = problem;
    return false;
  }
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
