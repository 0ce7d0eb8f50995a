/** The body of one message after the other, whatever its framing: bytes in, body chunks out, and where it ends. */
import { ChunkedDecoder, type ChunkedEvents } from "./chunked.ts";
import { type BodyLength, CHUNKED, UNTIL_CLOSE } from "./framing.ts";
import type { HeaderList } from "../header-list.ts";
import type { HeadLimits, HeadRefusal } from "./message-head.ts";

export class BodyReader {
  length: BodyLength = 0;
  /** Bytes that a Content-Length still promises; 0 for other framings. */
  left = 0;
  #chunked: ChunkedDecoder | null = null;
  readonly #limits: HeadLimits;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  begin(length: BodyLength): void {
    this.length = length;
    this.left = Math.max(length, 0);
    this.#chunked = length === CHUNKED ? new ChunkedDecoder(this.#limits) : null;
  }

  /** Never for a body that ends with the connection. */
  get done(): boolean {
    return this.#chunked === null ? this.left === 0 && this.length !== UNTIL_CLOSE : this.#chunked.done;
  }

  /** Once done; null when there are none. */
  get trailers(): HeaderList | null {
    const fields = this.#chunked?.trailers.fields;
    return fields === undefined || fields.count === 0 ? null : fields;
  }

  /** After REFUSED: why. */
  get problem(): string {
    return this.#chunked?.problem ?? "";
  }

  /** After REFUSED: which answer it deserves. */
  get refusal(): HeadRefusal {
    return this.#chunked?.refusal ?? "bad_request";
  }

  /** Reads bytes from `at`; answers the offset behind the last byte that belongs to the body, or REFUSED. */
  read(bytes: Buffer, at: number, events: ChunkedEvents): number {
    if (this.#chunked !== null) return this.#chunked.read(bytes, at, bytes.length, events);
    const rest = bytes.length - at;
    const take = this.length === UNTIL_CLOSE ? rest : Math.min(this.left, rest);
    if (this.length !== UNTIL_CLOSE) this.left -= take;
    events.onBody(take === bytes.length ? bytes : bytes.subarray(at, at + take));
    return at + take;
  }
}
