/*  What goes out to one client.
 *
 *  Heads and small body chunks are gathered in one buffer shared by all connections and leave in one write (`flush`); large
 *  body chunks leave as the buffers they came in. One connection at a time holds the buffer; whoever wants it flushes the
 *  one before.
 */
import type { Socket } from "../runtime/sockets.ts";
import type { ByteWriter } from "../wire/bytes.ts";
import { GatheredOutput, type Outlet } from "../wire/gathered-output.ts";
import type { H1Environment } from "./h1-environment.ts";

const gathered = new GatheredOutput();

export class ClientOutput implements Outlet {
  /** When bytes last left. A client that takes its answer slowly is not a stalled one. */
  movedAtMs: number;
  /** All that was sent. */
  bytes = 0;
  /** The connection closes as soon as everything has left. */
  closing = false;
  readonly #socket: Socket;
  readonly #environment: H1Environment;

  constructor(socket: Socket, environment: H1Environment) {
    this.#socket = socket;
    this.#environment = environment;
    this.movedAtMs = environment.sweep.nowMs;
  }

  /** The shared buffer, to be written to and flushed before anything else happens. */
  open(): ByteWriter {
    return gathered.open(this);
  }

  flush(): void {
    gathered.flush(this);
  }

  deliver(scratch: Buffer, length: number): void {
    this.#environment.metrics.bytesOut += length;
    this.bytes += length;
    this.movedAtMs = this.#environment.sweep.nowMs;
    this.#socket.writeCopied(scratch, length);
  }

  /**
   * A chunk that is too large to be copied behind what is gathered. It is a slice of the buffer it was received in, and what lies
   * before it there has been parsed, so the gathered head goes there and both leave in one write
   * (file-64k: 0.78 of the CPU per request of two writes, docs/performance.md).
   */
  writeThrough(chunk: Buffer): void {
    const joined = this.#socket.settled ? gathered.prepend(this, chunk) : null;
    if (joined === null) this.flush();
    const bytes = joined ?? chunk;
    this.#environment.metrics.bytesOut += bytes.length;
    this.bytes += bytes.length;
    this.movedAtMs = this.#environment.sweep.nowMs;
    this.#socket.write(bytes);
  }

  /** Everything sent so far has been taken by the kernel. */
  get drained(): boolean {
    return this.#socket.pendingBytes === 0;
  }

  /** The kernel has taken some of what waited. */
  progressed(): void {
    this.movedAtMs = this.#environment.sweep.nowMs;
  }

  // ---- ending

  /** FIN behind what was sent. */
  end(): void {
    this.flush();
    this.#socket.end();
  }

  reset(): void {
    this.flush();
    this.#socket.reset();
  }

  /** At once; a client that has not got all of its answer must see that. */
  hangUp(): void {
    if (this.drained) this.#socket.destroy();
    else this.#socket.reset();
  }

  /** False: only once everything sent has left (`closing`). */
  close(): boolean {
    if (this.drained) this.#socket.destroy();
    else this.closing = true;
    return !this.closing;
  }

  /** Forgets what was gathered: the connection is gone. */
  drop(): void {
    gathered.drop(this);
  }
}
