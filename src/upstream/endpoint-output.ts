/*  What goes out to one endpoint: requests, framed as they were announced.
 *
 *  Heads and small body chunks are gathered in one buffer shared by all connections to endpoints and leave in one write
 *  (`flush`); large body chunks leave as the buffers they came in.
 */
import type { Socket } from "../runtime/sockets.ts";
import type { ByteWriter } from "../wire/bytes.ts";
import { GatheredOutput, type Outlet } from "../wire/gathered-output.ts";
import type { FieldNames } from "../wire/field-edits.ts";
import type { HeaderList } from "../wire/header-list.ts";
import { writeChunk, writeLastChunk } from "../wire/h1/head-writer.ts";

/** Body chunks up to this size are copied behind the head, to leave in one write. */
const COPY_BYTES = 16 * 1024;

const gathered = new GatheredOutput();

export class EndpointOutput implements Outlet {
  /** The body of the request under way is sent in chunks. */
  chunked = false;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** The shared buffer, to be written to and flushed before anything else happens. */
  open(): ByteWriter {
    return gathered.open(this);
  }

  flush(): void {
    gathered.flush(this);
  }

  deliver(scratch: Buffer, length: number): void {
    this.#socket.writeCopied(scratch, length);
  }

  /** False: wait until everything has left. */
  sendBody(chunk: Buffer): boolean {
    const { chunked } = this;
    if (chunk.length <= COPY_BYTES) {
      const out = gathered.open(this);
      if (chunked) writeChunk(out, chunk);
      else out.copy(chunk, 0, chunk.length);
      if (out.length > 4 * COPY_BYTES) this.flush();
    } else {
      if (chunked) gathered.open(this).text(`${chunk.length.toString(16)}\r\n`);
      this.flush();
      this.#socket.write(chunk);
      if (chunked) gathered.open(this).text("\r\n");
    }
    return this.#socket.pendingBytes === 0;
  }

  endBody(trailers: HeaderList | null, dropped: FieldNames | null): void {
    if (this.chunked) writeLastChunk(gathered.open(this), trailers, dropped);
  }

  /** FIN behind what was sent. */
  end(): void {
    this.flush();
    this.#socket.end();
  }

  /** Forgets what was gathered: the connection is gone. */
  drop(): void {
    gathered.drop(this);
  }
}
