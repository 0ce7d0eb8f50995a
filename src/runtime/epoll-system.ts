/** What all sockets of the process share: the calls, the loop, and the memory that they receive into. */
import { EpollLoop } from "./epoll-loop.ts";
import { errorName, type Libc, SOCKET } from "./libc.ts";
import type { SocketError } from "./sockets.ts";

/** Received at once at most, of bytes that are passed on as they are. */
export const BULK_BYTES = 256 * 1024;
/** Free memory before a chunk, so that a head can be written there (`GatheredOutput.prepend`). */
const HEADROOM_BYTES = 64 * 1024;
/** Of `struct tcp_info`, in numbers of 4 bytes: as far as we look, and the milliseconds since data came last. */
const TCP_INFO_LENGTH = 14, LAST_DATA_AT = 13;
/**
 * Of what we write, the kernel holds at most this much unsent. Otherwise it takes some MiB and tells of room when a third of that has
 * gone, so that a peer who takes 300 KiB a minute looks stalled for many minutes.
 */
export const UNSENT_BYTES = 512 * 1024;
/** Chunks up to this size have a view that is made once: small messages come by the million. */
const VIEWED_BYTES = 4096;
const RST_ON_CLOSE = Int32Array.of(1, 0);

export class EpollSystem {
  readonly libc: Libc;
  readonly loop: EpollLoop;
  readonly #received: Buffer = Buffer.allocUnsafeSlow(HEADROOM_BYTES + BULK_BYTES);
  readonly #receiveAt: number;
  readonly #views: (Buffer | undefined)[] = new Array(VIEWED_BYTES + 1).fill(undefined);

  /** Throws where we cannot wait for sockets in this way. */
  constructor(libc: Libc) {
    this.libc = libc;
    this.loop = new EpollLoop(libc);
    this.#receiveAt = libc.addressOf(this.#received) + HEADROOM_BYTES;
  }

  /** As recv(2), of `most` bytes: BULK_BYTES or less. */
  receive(fd: number, most: number): number {
    return this.libc.recv(fd, this.#receiveAt, most, 0);
  }

  /** The `length` bytes received last. */
  chunk(length: number): Buffer {
    if (length > VIEWED_BYTES) return this.#view(length);
    return this.#views[length] ??= this.#view(length);
  }

  #view(length: number): Buffer {
    return this.#received.subarray(HEADROOM_BYTES, HEADROOM_BYTES + length);
  }

  /** Closing `fd` will send RST. */
  resetOnClose(fd: number): void {
    this.libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.LINGER, RST_ON_CLOSE, 8);
  }

  error(errno: number): SocketError {
    const code = errorName(errno);
    return { code, message: code };
  }

  /** The error that a socket has met and not told yet; null for none. */
  pendingError(fd: number): SocketError | null {
    const value = new Int32Array(1);
    this.libc.getOption(fd, SOCKET.SOL_SOCKET, SOCKET.ERROR, value, Int32Array.of(4));
    return value[0] === 0 ? null : this.error(value[0]!);
  }

  /** Milliseconds since the last bytes came, read or not; null: the kernel does not tell. */
  quietMs(fd: number): number | null {
    const info = new Int32Array(TCP_INFO_LENGTH), length = Int32Array.of(info.byteLength);
    const told = this.libc.getOption(fd, SOCKET.IPPROTO_TCP, SOCKET.TCP_INFO, info, length) === 0;
    return told && length[0] === info.byteLength ? info[LAST_DATA_AT]! : null;
  }
}
