/*  The C library's socket calls, for the socket door on Linux.
 *
 *  Bun calls C functions by generated machine code (8 ns a call). Failures are -1 with `errno`, which is read right
 *  after the call: nothing of ours comes in between, but a pause of the garbage collector might, so no caller takes the end of a
 *  connection for an orderly one because of an errno alone (see epoll-socket.ts).
 *  Numbers below are those of x86-64 and arm64.
 */
import { constants } from "node:os";
import process from "node:process";
import { BUN } from "./which.ts";

/** What `recv` and the like are given: memory that a view describes, or an address within one (`addressOf`). */
export type Memory = Uint8Array | Int32Array | number;

export interface Libc {
  epollCreate(flags: number): number;
  epollControl(epoll: number, operation: number, fd: number, event: Memory): number;
  epollWait(epoll: number, events: Memory, max: number, timeoutMs: number): number;
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Memory, length: number): number;
  listen(fd: number, backlog: number): number;
  accept(fd: number, address: Memory, length: Memory, flags: number): number;
  connect(fd: number, address: Memory, length: number): number;
  socketName(fd: number, address: Memory, length: Memory): number;
  setOption(fd: number, level: number, name: number, value: Memory, length: number): number;
  getOption(fd: number, level: number, name: number, value: Memory, length: Memory): number;
  recv(fd: number, bytes: Memory, length: number, flags: number): number;
  send(fd: number, bytes: Memory, length: number, flags: number): number;
  /** As sendmsg(2) and recvmsg(2), see socket-message.ts. */
  sendMessage(fd: number, header: Memory, flags: number): number;
  receiveMessage(fd: number, header: Memory, flags: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  /** As fcntl(2), of the commands that take a number. */
  control(fd: number, command: number, value: number): number;
  parseAddress(family: number, text: Memory, address: Memory): number;
  formatAddress(family: number, address: Memory, text: Memory, length: number): number;
  /** `struct timespec` of a clock into 16 bytes. */
  clockTime(clock: number, time: Memory): number;
  /** Of the call before. */
  errno(): number;
  addressOf(memory: Uint8Array): number;
}

interface Ffi {
  dlopen(path: string, symbols: Record<string, { args: string[]; returns: string }>): { symbols: Record<string, unknown> };
  ptr(memory: Uint8Array): number;
  read: { i32(address: number, offset: number): number };
}

/** Our name for each function, the C library's name, and what it takes. */
const FUNCTIONS: readonly (readonly [ours: string, theirs: string, args: string, returns?: string])[] = [
  ["epollCreate", "epoll_create1", "i32"],
  ["epollControl", "epoll_ctl", "i32 i32 i32 ptr"],
  ["epollWait", "epoll_wait", "i32 ptr i32 i32"],
  ["socket", "socket", "i32 i32 i32"],
  ["bind", "bind", "i32 ptr u32"],
  ["listen", "listen", "i32 i32"],
  ["accept", "accept4", "i32 ptr ptr i32"],
  ["connect", "connect", "i32 ptr u32"],
  ["socketName", "getsockname", "i32 ptr ptr"],
  ["setOption", "setsockopt", "i32 i32 i32 ptr u32"],
  ["getOption", "getsockopt", "i32 i32 i32 ptr ptr"],
  ["recv", "recv", "i32 ptr usize i32"],
  ["send", "send", "i32 ptr usize i32"],
  ["sendMessage", "sendmsg", "i32 ptr i32"],
  ["receiveMessage", "recvmsg", "i32 ptr i32"],
  ["shutdown", "shutdown", "i32 i32"],
  ["close", "close", "i32"],
  ["control", "fcntl", "i32 i32 i32"], // variadic in C: on these two machines a number is passed as any other parameter
  ["parseAddress", "inet_pton", "i32 ptr ptr"],
  ["formatAddress", "inet_ntop", "i32 ptr ptr u32", "ptr"],
  ["clockTime", "clock_gettime", "i32 ptr"],
  ["errnoPlace", "__errno_location", "", "ptr"],
];

/** glibc and musl. */
export const LIBC_NAMES: readonly string[] = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

let bound: Libc | null | undefined;

/** Null on other systems and runtimes, and where the calls cannot be bound. */
export function bindLibc(): Libc | null {
  return bound ??= bind();
}

function bind(): Libc | null {
  if (BUN === undefined || process.platform !== "linux") return null;
  const { getBuiltinModule } = process as unknown as { getBuiltinModule?: (name: string) => unknown };
  const ffi = getBuiltinModule?.("bun:ffi") as Ffi | undefined;
  if (ffi === undefined) return null;
  const symbols = Object.fromEntries(FUNCTIONS.map(([, theirs, args, returns]) => {
    return [theirs, { args: args === "" ? [] : args.split(" "), returns: returns ?? "i32" }];
  }));
  for (const name of LIBC_NAMES) {
    try {
      const found = ffi.dlopen(name, symbols).symbols as Record<string, (...values: unknown[]) => number>;
      const functions = Object.fromEntries(FUNCTIONS.map(([ours, theirs]) => [ours, found[theirs]!]));
      const place = functions["errnoPlace"]!(); // of this thread, and we have no other
      return { ...functions as unknown as Libc, errno: () => ffi.read.i32(place, 0), addressOf: ffi.ptr };
    } catch {
      continue;
    }
  }
  return null;
}

export const EPOLL = {
  CLOEXEC: 0o2000000,
  ADD: 1,
  DEL: 2,
  MOD: 3,
  IN: 0x001,
  OUT: 0x004,
  ERR: 0x008,
  HUP: 0x010,
  RDHUP: 0x2000,
  ONESHOT: 1 << 30,
  ET: 1 << 31,
} as const;

export const SOCKET = {
  STREAM: 1,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
  UNIX: 1,
  INET: 2,
  INET6: 10,
  /** setsockopt levels and names */
  SOL_SOCKET: 1,
  REUSEADDR: 2,
  TYPE: 3,
  ERROR: 4,
  LINGER: 13,
  REUSEPORT: 15,
  PEERCRED: 17,
  RECEIVE_TIMEOUT: 20,
  ACCEPTCONN: 30,
  DOMAIN: 39,
  ATTACH_REUSEPORT_CBPF: 51,
  IPPROTO_TCP: 6,
  NODELAY: 1,
  NOTSENT_LOWAT: 25,
  TCP_INFO: 11,
  IPPROTO_IPV6: 41,
  V6ONLY: 26,
  SCM_RIGHTS: 1,
  MSG_CTRUNC: 0x8,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
  SHUT_WR: 1,
} as const;

/** fcntl commands and flags */
export const CONTROL = { SETFD: 2, CLOEXEC: 1, GETFL: 3, SETFL: 4, DUPFD_CLOEXEC: 1030 } as const;

export const { EAGAIN, EINTR, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM } = constants.errno;

const NAMES_BY_NUMBER: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** `ECONNREFUSED` for 111; `errno 111` where it has no name. */
export function errorName(errno: number): string {
  return NAMES_BY_NUMBER.get(errno) ?? `errno ${errno}`;
}
