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

  /** Forgets what `outlet` has gathered: its connection is gone. */
  drop(outlet: Outlet): void {
    if (this.#holder !== outlet) return;
    this.#holder = null;
    this.#writer.length = 0;
  }
}
