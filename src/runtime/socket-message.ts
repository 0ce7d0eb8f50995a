/*  Bytes and descriptors in one call (sendmsg(2), recvmsg(2)).
 *
 *      msghdr                       iovec              cmsghdr
 *       0 name         (none)       0 -> bytes          0 length, this header included
 *      16 -> iovec                  8 length            8 level: SOL_SOCKET
 *      24 iovecs: 1                                    12 type: SCM_RIGHTS
 *      32 -> cmsghdr                                   16 descriptors, 4 bytes each
 *      40 length of all cmsghdr
 *      48 flags (received)
 *
 *  One piece of memory holds all of it, at addresses that stay. Layout of Linux on 64 bits, glibc and musl, little-endian: where musl
 *  has 32 bits and a gap, the gap holds the zeros of 64.
 */
import { type Libc, SOCKET } from "./libc.ts";

/** The kernel passes no more at once (SCM_MAX_FD). */
export const MAX_DESCRIPTORS = 253;
export const MAX_MESSAGE_BYTES = 16 * 1024;

const IOVEC_AT = 56, CONTROL_AT = 72;
const CONTROL_HEADER_BYTES = 16;
const CONTROL_BYTES = CONTROL_HEADER_BYTES + 4 * MAX_DESCRIPTORS + 4;
const BYTES_AT = CONTROL_AT + CONTROL_BYTES;

export interface ReceivedMessage {
  /** As recv(2) answers. */
  readonly length: number;
  /** If `length` is -1. */
  readonly errno: number;
  /** Ours now: whoever gets them closes them. */
  readonly descriptors: number[];
  /** More descriptors were sent than we could take. */
  readonly truncated: boolean;
}

export class SocketMessage {
  readonly #libc: Libc;
  readonly #memory: Buffer = Buffer.allocUnsafeSlow(BYTES_AT + MAX_MESSAGE_BYTES).fill(0);
  readonly #address: number;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#address = libc.addressOf(this.#memory);
    this.#pointer(16, IOVEC_AT);
    this.#memory.writeUInt32LE(1, 24);
    this.#pointer(32, CONTROL_AT);
    this.#pointer(IOVEC_AT, BYTES_AT);
  }

  /** How many bytes the kernel has taken, with all the descriptors; -1 for an error. At most MAX_MESSAGE_BYTES, MAX_DESCRIPTORS. */
  send(fd: number, bytes: Uint8Array, descriptors: readonly number[]): number {
    const memory = this.#memory;
    memory.set(bytes, BYTES_AT);
    memory.writeUInt32LE(bytes.length, IOVEC_AT + 8);
    const length = CONTROL_HEADER_BYTES + 4 * descriptors.length;
    memory.writeUInt32LE(descriptors.length === 0 ? 0 : aligned(length), 40);
    memory.writeUInt32LE(length, CONTROL_AT);
    memory.writeInt32LE(SOCKET.SOL_SOCKET, CONTROL_AT + 8);
    memory.writeInt32LE(SOCKET.SCM_RIGHTS, CONTROL_AT + 12);
    descriptors.forEach((each, at) => memory.writeInt32LE(each, CONTROL_AT + CONTROL_HEADER_BYTES + 4 * at));
    return this.#libc.sendMessage(fd, this.#address, SOCKET.MSG_NOSIGNAL);
  }

  receive(fd: number): ReceivedMessage {
    const memory = this.#memory;
    memory.writeUInt32LE(MAX_MESSAGE_BYTES, IOVEC_AT + 8);
    memory.writeUInt32LE(CONTROL_BYTES, 40);
    memory.writeUInt32LE(0, 48);
    const length = this.#libc.receiveMessage(fd, this.#address, SOCKET.MSG_CMSG_CLOEXEC);
    if (length < 0) return { length, errno: this.#libc.errno(), descriptors: [], truncated: false };
    const truncated = (memory.readUInt32LE(48) & SOCKET.MSG_CTRUNC) !== 0;
    return { length, errno: 0, descriptors: this.#descriptors(), truncated };
  }

  /** The first `length` bytes received last; good until the next call. */
  bytes(length: number): Buffer {
    return this.#memory.subarray(BYTES_AT, BYTES_AT + length);
  }

  #descriptors(): number[] {
    const memory = this.#memory;
    const end = CONTROL_AT + memory.readUInt32LE(40);
    const found: number[] = [];
    for (let at = CONTROL_AT; at + CONTROL_HEADER_BYTES <= end;) {
      const length = memory.readUInt32LE(at);
      const ours = memory.readInt32LE(at + 8) === SOCKET.SOL_SOCKET && memory.readInt32LE(at + 12) === SOCKET.SCM_RIGHTS;
      for (let fd = at + CONTROL_HEADER_BYTES; ours && fd + 4 <= at + length; fd += 4) found.push(memory.readInt32LE(fd));
      at += aligned(Math.max(length, CONTROL_HEADER_BYTES));
    }
    return found;
  }

  /** Both in our memory. Addresses of user space have 47 bits. */
  #pointer(at: number, to: number): void {
    const address = this.#address + to;
    this.#memory.writeUInt32LE(address % 2 ** 32, at);
    this.#memory.writeUInt32LE(Math.floor(address / 2 ** 32), at + 4);
  }
}

function aligned(length: number): number {
  return (length + 7) & ~7;
}
