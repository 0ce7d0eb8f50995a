/** One output buffer for many connections: what one of them writes within a wake-up leaves in one write. */
import { ByteWriter } from "./bytes.ts";

/** Whoever holds the buffer. */
export interface Outlet {
  /** Sends bytes [0, length) of a buffer that is used again at once. */
  deliver(scratch: Buffer, length: number): void;
}

/** One outlet at a time holds the buffer; whoever wants it next makes the holder's bytes leave first, so nothing is lost. */
export class GatheredOutput {
  readonly #writer: ByteWriter = new ByteWriter(128 * 1024);
  #holder: Outlet | null = null;

  /** The buffer, for `outlet` to append to. */
  open(outlet: Outlet): ByteWriter {
    if (this.#holder !== outlet) {
      if (this.#holder !== null) this.flush(this.#holder);
      this.#holder = outlet;
    }
    return this.#writer;
  }

  /** Sends what `outlet` has gathered, if anything. */
  flush(outlet: Outlet): void {
    if (this.#holder !== outlet) return;
    this.#holder = null;
    const { length } = this.#writer;
    this.#writer.length = 0;
    outlet.deliver(this.#writer.bytes, length);
  }

  /**
   * Moves what `outlet` has gathered into the bytes of the receive buffer that lie right before `chunk`, so that both leave in one
   * write without a copy of the chunk. Answers the two as one; null where there is no room. The bytes before must be dead.
   */
  prepend(outlet: Outlet, chunk: Buffer): Buffer | null {
    const { length, bytes } = this.#writer;
    if (this.#holder !== outlet || chunk.byteOffset < length) return null;
    const joined = Buffer.from(chunk.buffer, chunk.byteOffset - length, length + chunk.length);
    bytes.copy(joined, 0, 0, length);
    this.#holder = null;
    this.#writer.length = 0;
    return joined;
  }

  /** Forgets what `outlet` has gathered: its connection is gone. */
  drop(outlet: Outlet): void {
    if (this.#holder !== outlet) return;
    this.#holder = null;
    this.#writer.length = 0;
  }
}
