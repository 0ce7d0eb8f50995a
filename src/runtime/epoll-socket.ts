/*  The socket door on Linux under Bun: the kernel's own calls, without a runtime's sockets in between.
 *
 *      open --(FIN received)--> input ended --(FIN sent)--.
 *        \---(FIN sent)------> output ended --(FIN received)--> closed     final
 *         \---(error, destroy, reset)-------------------------> closed
 *
 *  Every socket is level-triggered in one epoll set: what is not read now is told of again. All sockets receive into one buffer,
 *  so a chunk is gone once `onData` has returned, and nothing is allocated or copied for it.
 *
 *  An errno may have been overwritten between the call and our look at it (libc.ts). EAGAIN and EINTR mean "later", every other that the
 *  connection is broken; but none makes an end look orderly: that takes a read of 0 bytes without EPOLLERR and without a failed write before.
 */
import type { Socket, SocketError, SocketSink } from "./sockets.ts";
import type { Polled } from "./epoll-loop.ts";
import { BULK_BYTES, type EpollSystem } from "./epoll-system.ts";
import { EAGAIN, EINTR, EPOLL, SOCKET } from "./libc.ts";
import { uncaught } from "./uncaught.ts";

const NO_HANDLER: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
const BROKEN: SocketError = { code: "EPIPE", message: "broken pipe" };

/** Who opened the connection decides what a reset means while we do not read, and how much is read at once. */
export type Origin = "accepted" | "connected";

/**
 * Received at once at most: bytes that have to be parsed may be the costliest there are (chunks of one byte: 25 ns each), and everybody else
 * waits for them. An endpoint's are more, so that a usual answer comes in one piece.
 */
const PARSED_BYTES: Readonly<Record<Origin, number>> = { accepted: 64 * 1024, connected: 128 * 1024 };

export class EpollSocket implements Socket, Polled {
  handler: SocketSink = NO_HANDLER;
  bulk = false;
  serial = 0;
  pendingBytes = 0;
  readonly remoteAddress: string;
  readonly #system: EpollSystem;
  readonly #fd: number;
  readonly #origin: Origin;
  readonly #parsedBytes: number;
  #interest: number = EPOLL.IN;
  #pending: Uint8Array[] = [];
  #paused = false;
  /** The epoll set tells of nothing: it can wait until the input is read again. */
  #muted = false;
  #endWhenDrained = false;
  #outputEnded = false;
  #inputEnded = false;
  /** Of a client: its FIN is there, which we have been told of while we did not read. */
  #endAhead = false;
  /** Known to be broken; what came before the error may still be read. */
  #broken: SocketError | null = null;
  #closed = false;

  constructor(system: EpollSystem, fd: number, remoteAddress: string, origin: Origin) {
    this.#system = system;
    this.#fd = fd;
    this.remoteAddress = remoteAddress;
    this.#origin = origin;
    this.#parsedBytes = PARSED_BYTES[origin];
  }

  /** In the epoll set by now. Who handles it says `handlerOf`; a fault of theirs leaves no connection behind that nobody handles. */
  handOver(handlerOf: (socket: Socket) => SocketSink): void {
    try {
      this.handler = handlerOf(this);
    } catch (error) {
      uncaught(error);
      this.reset();
    }
  }

  get settled(): boolean {
    return true; // what waits has been copied
  }

  write(bytes: Uint8Array): boolean {
    return this.writeCopied(bytes, bytes.length);
  }

  writeCopied(bytes: Uint8Array, length: number): boolean {
    let taken = 0;
    if (this.pendingBytes === 0) {
      taken = this.#give(bytes, length);
      if (taken === length) return true;
    }
    if (this.#closed) return true;
    const rest = Buffer.allocUnsafeSlow(length - taken); // a copy: whoever wrote uses the bytes again
    rest.set(bytes.subarray(taken, length));
    this.#pending.push(rest);
    this.pendingBytes += length - taken;
    this.#update();
    return false;
  }

  end(): void {
    if (this.#closed) return;
    if (this.pendingBytes > 0) this.#endWhenDrained = true;
    else this.#shutdown();
  }

  destroy(): void {
    if (!this.#closed) this.#close(null);
  }

  reset(): void {
    if (this.#closed) return;
    this.#system.resetOnClose(this.#fd);
    this.#close(null);
  }

  pause(): void {
    this.#paused = true;
    if (!this.#closed) this.#update();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#closed) this.#update();
  }

  onFault(): void {
    this.reset();
  }

  onEvents(events: number): void {
    if ((events & EPOLL.OUT) !== 0 && this.pendingBytes > 0) {
      this.#drain();
      if (this.#closed) return;
    }
    if ((events & EPOLL.ERR) !== 0) this.#broken ??= BROKEN;
    const broken = this.#broken !== null; // perhaps by a write only: nothing but EPOLLOUT may come, and that without end
    if ((events & ~EPOLL.OUT) === 0 && !broken) return;
    if (!this.#paused) this.#receive();
    else if (broken || (events & EPOLL.HUP) !== 0) this.#troubled(); // not by input that came in the turn in which we were paused
    else if ((events & EPOLL.RDHUP) !== 0) this.#endsAhead();
  }

  #receive(): void {
    const system = this.#system;
    const length = system.receive(this.#fd, this.bulk ? BULK_BYTES : this.#parsedBytes);
    if (length > 0) return this.handler.onData(system.chunk(length));
    if (length === 0) return this.#broken === null ? this.#receivedEnd() : this.#close(this.#broken);
    const errno = system.libc.errno();
    if (errno !== EAGAIN && errno !== EINTR) this.#close(this.#system.error(errno));
    else if (this.#broken !== null) this.#close(this.#broken);
  }

  #receivedEnd(): void {
    if (!this.#inputEnded) {
      this.#inputEnded = true;
      this.#update();
      this.handler.onEnd();
    }
    if (this.#outputEnded && !this.#closed) this.#close(null);
  }

  /** Told of once: it stays true until all before it is read. */
  #endsAhead(): void {
    this.#endAhead = true;
    this.#update();
    this.handler.onEndAhead?.(this.#system.quietMs(this.#fd));
  }

  /**
   * Broken, or ended on both sides, while nobody reads. A client that has gone must be noticed at once; what an endpoint sent before
   * it went may be the rest of its answer, which is read when its turn comes.
   */
  #troubled(): void {
    if (this.#broken !== null && this.#origin === "accepted") {
      return this.#close(this.#system.pendingError(this.#fd) ?? this.#broken);
    }
    if (this.#muted) return;
    this.#muted = true;
    this.#system.loop.mute(this.#fd, this);
  }

  #drain(): void {
    const before = this.pendingBytes;
    while (this.#pending.length > 0) {
      const bytes = this.#pending[0]!;
      const taken = this.#give(bytes, bytes.length);
      this.pendingBytes -= taken;
      if (taken < bytes.length) {
        this.#pending[0] = bytes.subarray(taken);
        if (this.pendingBytes < before) this.handler.onProgress?.();
        return;
      }
      this.#pending.shift();
    }
    this.#update();
    if (this.#endWhenDrained) this.#shutdown();
    this.handler.onDrain();
  }

  /** How many of the first `length` bytes the kernel has taken. */
  #give(bytes: Uint8Array, length: number): number {
    if (this.#closed || this.#broken !== null) return 0;
    const { libc } = this.#system;
    const taken = libc.send(this.#fd, bytes, length, SOCKET.MSG_NOSIGNAL);
    if (taken >= 0) return taken;
    const errno = libc.errno();
    // ENOBUFS and ENOMEM too: the kernel says that there is room, so waiting for it would be waiting without a pause.
    if (errno !== EAGAIN && errno !== EINTR) this.#broken = this.#system.error(errno);
    return 0;
  }

  #shutdown(): void {
    this.#outputEnded = true;
    this.#system.libc.shutdown(this.#fd, SOCKET.SHUT_WR);
  }

  /** Tells the kernel what we want to hear of, if that has changed. */
  #update(): void {
    const input = this.#inputEnded ? 0 : this.#paused ? this.#pausedInterest : EPOLL.IN;
    const output = this.pendingBytes > 0 ? EPOLL.OUT : 0;
    const interest = input | output;
    if (this.#muted ? this.#paused : interest === this.#interest) return;
    this.#muted = false;
    this.#interest = interest;
    this.#system.loop.change(this.#fd, interest, this);
  }

  get #pausedInterest(): number {
    return this.#origin === "accepted" && !this.#endAhead ? EPOLL.RDHUP : 0;
  }

  #close(error: SocketError | null): void {
    this.#closed = true;
    this.#pending = [];
    this.#system.loop.forget(this.#fd);
    this.#system.libc.close(this.#fd);
    const { handler } = this;
    handler.onClose(error);
    this.handler = NO_HANDLER;
  }
}
