/*  What has left of a request's body, kept so that it can be sent again; as long as it is small, and there is memory for it.
 *
 *      nothing yet --chunk--> kept --end--> complete          dropped: when it is larger than it may be, when the worker keeps as
 *          \____________________\____________\___> dropped             much as it may, or when nobody will send it again (final)
 */
import type { HeaderList } from "../wire/header-list.ts";

/** Of one worker, for all bodies together. */
export class BodyMemory {
  bytes = 0;
  readonly mostBytes: number;

  constructor(mostBytes: number) {
    this.mostBytes = mostBytes;
  }
}

export class KeptBody {
  /** Its last byte has been seen. */
  ended = false;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #dropped = false;
  readonly #maxBytes: number;
  readonly #memory: BodyMemory;

  constructor(maxBytes: number, memory: BodyMemory) {
    this.#maxBytes = maxBytes;
    this.#memory = memory;
  }

  /** All that has left is here. */
  get whole(): boolean {
    return !this.#dropped;
  }

  /** Some of it has left before. */
  get begun(): boolean {
    return this.#bytes > 0 || this.ended;
  }

  /** A copy: received bytes are gone when their event is over. */
  keep(chunk: Buffer): void {
    if (this.#dropped) return;
    const { length } = chunk;
    const memory = this.#memory;
    if (this.#bytes + length > this.#maxBytes || memory.bytes + length > memory.mostBytes) return this.drop();
    this.#bytes += length;
    memory.bytes += length;
    this.#chunks.push(Buffer.concat([chunk]));
  }

  /** Trailers are not kept, and a body without them would be another one. */
  end(trailers: HeaderList | null): void {
    this.ended = true;
    if (trailers !== null) this.drop();
  }

  *chunks(): Iterable<Buffer> {
    yield* this.#chunks;
  }

  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#memory.bytes -= this.#bytes;
    this.#chunks = [];
  }
}
