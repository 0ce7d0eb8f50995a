/** Listening at the socket door on Linux under Bun. */
import type { Listener, ListenOptions } from "./sockets.ts";
import type { Polled } from "./epoll-loop.ts";
import { EpollSocket } from "./epoll-socket.ts";
import { type EpollSystem, UNSENT_BYTES } from "./epoll-system.ts";
import { EMFILE, ENFILE, ENOBUFS, ENOMEM, EPOLL, SOCKET } from "./libc.ts";
import { ADDRESS_BYTES, encodeAddress, hostOf, portOf } from "./socket-address.ts";

const BACKLOG = 4096;
/** Connections taken in one turn. */
const MAX_ACCEPTS = 64;
/** How long a listener rests when a connection could not be taken for want of something. */
const REST_MS = 100;
/** What may be wanting: files or memory. The connection stays in the queue, so without a rest the loop would turn without pause. */
const WANTS: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);
const ONE = Int32Array.of(1);
const UNSENT = Int32Array.of(UNSENT_BYTES);
const ZERO = Int32Array.of(0);
const STREAM = SOCKET.STREAM | SOCKET.NONBLOCK | SOCKET.CLOEXEC;

/** See `listen` in sockets.ts. */
export function epollListen(system: EpollSystem, options: ListenOptions): Listener {
  if (options.host !== "") return new EpollListener(system, options.host, options);
  // All addresses: dual stack, or IPv4 alone where the machine has no IPv6.
  try {
    return new EpollListener(system, "::", options);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
    return new EpollListener(system, "0.0.0.0", options);
  }
}

class EpollListener implements Listener, Polled {
  serial = 0;
  readonly port: number;
  readonly #system: EpollSystem;
  readonly #options: ListenOptions;
  readonly #fd: number;
  readonly #address: Uint8Array = new Uint8Array(ADDRESS_BYTES);
  readonly #addressBytes: Int32Array = new Int32Array(1);
  #rest: ReturnType<typeof setTimeout> | undefined;
  #closing = false;

  constructor(system: EpollSystem, host: string, options: ListenOptions) {
    this.#system = system;
    this.#options = options;
    this.#fd = bindTo(system, host, options);
    this.#addressBytes[0] = ADDRESS_BYTES;
    system.libc.socketName(this.#fd, this.#address, this.#addressBytes);
    this.port = portOf(this.#address);
    if (system.loop.add(this.#fd, EPOLL.IN, this)) return;
    const { code } = system.error(system.libc.errno());
    system.libc.close(this.#fd);
    throw cannotListen(host, options.port, code);
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    clearTimeout(this.#rest);
    this.#takeQueue(BACKLOG);
  }

  onEvents(): void {
    for (let i = 0; i < MAX_ACCEPTS && !this.#closing; i++) if (this.#accept() === null) return;
  }

  onFault(): void {}

  /**
   * What the kernel has accepted already is ours: closing the socket under it would reset it. A long queue takes several turns, so that
   * those taken are served meanwhile; others may join it until then, hence `most`.
   */
  #takeQueue(most: number): void {
    for (let taken = 0; taken < MAX_ACCEPTS; taken++) {
      if (taken < most && this.#accept() !== null) continue;
      this.#system.loop.forget(this.#fd);
      this.#system.libc.close(this.#fd);
      return;
    }
    setImmediate(() => this.#takeQueue(most - MAX_ACCEPTS));
  }

  /** Takes one waiting connection; null when there is none, or none can be taken. */
  #accept(): EpollSocket | null {
    const { libc } = this.#system;
    this.#addressBytes[0] = ADDRESS_BYTES;
    const fd = libc.accept(this.#fd, this.#address, this.#addressBytes, SOCKET.NONBLOCK | SOCKET.CLOEXEC);
    if (fd < 0) {
      const errno = libc.errno();
      if (WANTS.has(errno)) this.#takeARest(errno);
      return null;
    }
    const socket = new EpollSocket(this.#system, fd, hostOf(libc, this.#address), "accepted");
    if (!this.#system.loop.add(fd, EPOLL.IN, socket)) return this.#refuse(fd);
    socket.handOver(this.#options.onConnection);
    return socket;
  }

  /** A connection that we could not wait for. Further ones wait in the queue. */
  #refuse(fd: number): null {
    const errno = this.#system.libc.errno();
    this.#system.resetOnClose(fd);
    this.#system.libc.close(fd);
    this.#takeARest(errno);
    return null;
  }

  /** The connections wait in the kernel's queue, and we do not ask for them without pause. */
  #takeARest(errno: number): void {
    if (this.#rest !== undefined || this.#closing) return;
    this.#options.onExhausted?.(this.#system.error(errno));
    this.#system.loop.change(this.#fd, 0, this); // not out of the set: it might not get in again
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      this.#system.loop.change(this.#fd, EPOLL.IN, this);
    }, REST_MS);
  }
}

/** A listening descriptor, or the system's error. */
function bindTo(system: EpollSystem, host: string, options: ListenOptions): number {
  const { libc } = system;
  const address = encodeAddress(libc, host, options.port);
  const failed = (code: string): Error => cannotListen(host, options.port, code);
  if (address === null) throw failed("EINVAL");
  const fd = libc.socket(address.family, STREAM, 0);
  if (fd < 0) throw failed(system.error(libc.errno()).code);
  libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.REUSEADDR, ONE, 4);
  libc.setOption(fd, SOCKET.IPPROTO_TCP, SOCKET.NODELAY, ONE, 4); // the sockets that it accepts inherit this
  if (options.reusePort === true) libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.REUSEPORT, ONE, 4);
  libc.setOption(fd, SOCKET.IPPROTO_TCP, SOCKET.NOTSENT_LOWAT, UNSENT, 4); // accepted sockets inherit it
  if (address.family === SOCKET.INET6) libc.setOption(fd, SOCKET.IPPROTO_IPV6, SOCKET.V6ONLY, host === "::" ? ZERO : ONE, 4);
  if (libc.bind(fd, address.bytes, address.bytes.length) === 0 && libc.listen(fd, BACKLOG) === 0) return fd;
  const { code } = system.error(libc.errno());
  libc.close(fd);
  throw failed(code);
}

function cannotListen(host: string, port: number, code: string): Error {
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return Object.assign(new Error(`Cannot listen at ${where}: ${code}`), { code });
}
