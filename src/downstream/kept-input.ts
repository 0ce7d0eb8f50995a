/** Bytes of a client whose turn has not come, and the pausing of the socket while there are enough of them. */
import type { Socket } from "../runtime/sockets.ts";

export class KeptInput {
  bytes: Buffer | null = null;
  /** The socket brings nothing until `resume`. */
  paused = false;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** The rest of a receive buffer; a small rest of a large buffer is copied, so that it does not hold the whole. */
  keep(rest: Buffer): void {
    this.bytes = rest.buffer.byteLength > 4 * rest.length + 4096 ? Buffer.concat([rest]) : rest;
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#socket.resume();
  }
}
