/** A listening TCP socket as a descriptor: made here, or by somebody else and checked here. Nobody accepts from it yet. */
import { UNSENT_BYTES } from "./epoll-system.ts";
import { CONTROL, errorName, type Libc, SOCKET } from "./libc.ts";
import { ADDRESS_BYTES, encodeAddress, hostOf, portOf } from "./socket-address.ts";

export interface BoundSocket {
  readonly fd: number;
  /** IP literal; `::` for all addresses. */
  readonly host: string;
  readonly port: number;
}

export interface BindOptions {
  /** IP literal, or empty for all addresses. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly reusePort?: boolean;
}

const BACKLOG = 4096;
const ONE = Int32Array.of(1);
const ZERO = Int32Array.of(0);
const UNSENT = Int32Array.of(UNSENT_BYTES);
/** `struct timeval`; the kernel rounds it up to its tick. */
const MICROSECOND = Int32Array.of(0, 0, 1, 0);
const STREAM = SOCKET.STREAM | SOCKET.NONBLOCK | SOCKET.CLOEXEC;

/** Throws the system's error. */
export function bindSocket(libc: Libc, options: BindOptions): BoundSocket {
  if (options.host !== "") return bindTo(libc, options.host, options);
  // All addresses: dual stack, or IPv4 alone where the machine has no IPv6.
  try {
    return bindTo(libc, "::", options);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
    return bindTo(libc, "0.0.0.0", options);
  }
}

/** Takes over a descriptor that somebody else has made, and gives it what ours have. Throws where it is no listening TCP socket. */
export function adoptSocket(libc: Libc, fd: number): BoundSocket {
  const problem = problemOf(libc, fd);
  if (problem !== null) throw new Error(`Cannot listen on descriptor ${fd}: ${problem}`);
  libc.control(fd, CONTROL.SETFD, CONTROL.CLOEXEC);
  libc.control(fd, CONTROL.SETFL, libc.control(fd, CONTROL.GETFL, 0) | SOCKET.NONBLOCK);
  // The flag is the socket's, for all processes, and systemd clears it whenever it passes the socket on (without NonBlocking=yes): an
  // accept that then finds nobody waits no longer than this, instead of until somebody comes
  libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.RECEIVE_TIMEOUT, MICROSECOND, MICROSECOND.byteLength);
  setInherited(libc, fd);
  return named(libc, fd);
}

export function cannotListen(host: string, port: number, code: string): Error {
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return Object.assign(new Error(`Cannot listen at ${where}: ${code}`), { code });
}

function bindTo(libc: Libc, host: string, { port, reusePort }: BindOptions): BoundSocket {
  const address = encodeAddress(libc, host, port);
  const failed = (code: string): Error => cannotListen(host, port, code);
  if (address === null) throw failed("EINVAL");
  const fd = libc.socket(address.family, STREAM, 0);
  if (fd < 0) throw failed(errorName(libc.errno()));
  libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.REUSEADDR, ONE, 4);
  if (reusePort === true) libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.REUSEPORT, ONE, 4);
  setInherited(libc, fd);
  if (address.family === SOCKET.INET6) libc.setOption(fd, SOCKET.IPPROTO_IPV6, SOCKET.V6ONLY, host === "::" ? ZERO : ONE, 4);
  if (libc.bind(fd, address.bytes, address.bytes.length) === 0 && libc.listen(fd, BACKLOG) === 0) return named(libc, fd);
  const code = errorName(libc.errno());
  libc.close(fd);
  throw failed(code);
}

/** What the sockets that it accepts inherit. */
function setInherited(libc: Libc, fd: number): void {
  libc.setOption(fd, SOCKET.IPPROTO_TCP, SOCKET.NODELAY, ONE, 4);
  libc.setOption(fd, SOCKET.IPPROTO_TCP, SOCKET.NOTSENT_LOWAT, UNSENT, 4);
}

function named(libc: Libc, fd: number): BoundSocket {
  const address = new Uint8Array(ADDRESS_BYTES);
  libc.socketName(fd, address, Int32Array.of(ADDRESS_BYTES));
  return { fd, host: hostOf(libc, address), port: portOf(address) };
}

/** Null when `fd` is a listening TCP socket. */
function problemOf(libc: Libc, fd: number): string | null {
  const family = option(libc, fd, SOCKET.DOMAIN);
  if (family === null) return errorName(libc.errno()); // EBADF, ENOTSOCK
  if (family !== SOCKET.INET && family !== SOCKET.INET6) return "not a TCP socket (of another address family)";
  if (option(libc, fd, SOCKET.TYPE) !== SOCKET.STREAM) return "not a TCP socket (UDP or the like)";
  return option(libc, fd, SOCKET.ACCEPTCONN) === 1 ? null : "a TCP socket that does not listen";
}

function option(libc: Libc, fd: number, name: number): number | null {
  const value = new Int32Array(1);
  return libc.getOption(fd, SOCKET.SOL_SOCKET, name, value, Int32Array.of(4)) === 0 ? value[0]! : null;
}
