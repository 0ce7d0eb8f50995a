/** Listening at the socket door on Linux under Bun. */
import { adoptSocket, bindSocket, type BoundSocket, cannotListen } from "./bound-socket.ts";
import type { Polled } from "./epoll-loop.ts";
import { EpollSocket } from "./epoll-socket.ts";
import type { EpollSystem } from "./epoll-system.ts";
import { EMFILE, ENFILE, ENOBUFS, ENOMEM, EPOLL, SOCKET } from "./libc.ts";
import { ADDRESS_BYTES, hostOf } from "./socket-address.ts";
import type { CloseListener, Listener, ListenOptions } from "./sockets.ts";

/** A queue is not taken beyond this when it closes: others may join it meanwhile. */
const MAX_QUEUE = 4096;
/** Connections taken in one turn. */
const MAX_ACCEPTS = 64;
/** How long a listener rests when a connection could not be taken for want of something. */
const REST_MS = 100;
/** What may be wanting: files or memory. The connection stays in the queue, so without a rest the loop would turn without pause. */
const WANTS: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);

/** See `listen` in sockets.ts. */
export function epollListen(system: EpollSystem, options: ListenOptions): Listener {
  const { libc } = system;
  const sockets = options.descriptors?.map((fd) => adoptSocket(libc, fd)) ?? [bindSocket(libc, options)];
  const acceptors: Acceptor[] = [];
  for (const socket of sockets) {
    const acceptor = new Acceptor(system, socket.fd, options);
    if (acceptor.start()) {
      acceptors.push(acceptor);
      continue;
    }
    const { code } = system.error(libc.errno());
    acceptors.forEach((each) => each.abandon());
    if (options.descriptors === undefined) libc.close(socket.fd);
    throw cannotListen(socket.host, socket.port, code);
  }
  return { port: portOf(sockets), close: (how) => acceptors.forEach((each) => each.close(how)) };
}

function portOf(sockets: readonly BoundSocket[]): number {
  if (sockets[0] === undefined) throw new Error("Cannot listen on no descriptor");
  return sockets[0].port;
}

/** Accepts from one socket. Other processes may do so, too: then it is nothing special to be woken and find nobody there. */
class Acceptor implements Polled {
  serial = 0;
  readonly #system: EpollSystem;
  readonly #options: ListenOptions;
  readonly #fd: number;
  readonly #address: Uint8Array = new Uint8Array(ADDRESS_BYTES);
  readonly #addressBytes: Int32Array = new Int32Array(1);
  #rest: ReturnType<typeof setTimeout> | undefined;
  #closing = false;

  constructor(system: EpollSystem, fd: number, options: ListenOptions) {
    this.#system = system;
    this.#options = options;
    this.#fd = fd;
  }

  /** False if the kernel lacks what it takes. */
  start(): boolean {
    return this.#system.loop.add(this.#fd, EPOLL.IN, this);
  }

  close(how: CloseListener = { queue: "take" }): void {
    if (this.#closing) return;
    this.#closing = true;
    clearTimeout(this.#rest);
    if (how.queue === "take") this.#takeQueue(MAX_QUEUE);
    else this.#closeCopy();
  }

  /** As if it had never started; the socket stays open. */
  abandon(): void {
    this.#system.loop.remove(this.#fd);
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
      return this.#closeCopy();
    }
    setImmediate(() => this.#takeQueue(most - MAX_ACCEPTS));
  }

  #closeCopy(): void {
    this.#system.loop.remove(this.#fd);
    this.#system.libc.close(this.#fd);
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
