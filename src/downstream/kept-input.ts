/** Bytes of a client whose turn has not come, and the pausing of the socket while there are enough of them. */
import { later } from "../runtime/later.ts";
import type { Socket } from "../runtime/sockets.ts";

export class KeptInput {
  bytes: Buffer | null = null;
  /** The socket brings nothing until `resume`. */
  paused = false;
  /** It is the others' turn: what is kept is read on in a later one. */
  waitsTurn = false;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** `ours`: the rest of what was kept, which need not be copied unless it is small and would hold a large buffer. */
  keep(rest: Buffer, ours: boolean): void {
    const copy = !ours || rest.buffer.byteLength > 4 * rest.length + 4096;
    this.bytes = copy ? Buffer.concat([rest]) : rest;
  }

  waitTurn(readOn: () => void): void {
    this.waitsTurn = true;
    later(() => {
      this.waitsTurn = false;
      readOn();
    });
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
