/** Connecting at the socket door on Linux under Bun. */
import type { CancelConnect, ConnectOptions, SocketError } from "./sockets.ts";
import type { Polled } from "./epoll-loop.ts";
import { EpollSocket } from "./epoll-socket.ts";
import { type EpollSystem, UNSENT_BYTES } from "./epoll-system.ts";
import { EINPROGRESS, EINTR, EPOLL, SOCKET } from "./libc.ts";
import { encodeAddress } from "./socket-address.ts";

const ONE = Int32Array.of(1);
const UNSENT = Int32Array.of(UNSENT_BYTES);
const STREAM = SOCKET.STREAM | SOCKET.NONBLOCK | SOCKET.CLOEXEC;

/** See `connect` in sockets.ts. `host` is an IP literal; whatever else it is fails as EINVAL. */
export function epollConnect(system: EpollSystem, options: ConnectOptions): CancelConnect {
  const { libc } = system;
  const address = encodeAddress(libc, options.host, options.port);
  if (address === null) {
    return failLater(options, { code: "EINVAL", message: `Cannot connect to ${options.host}: not an IP address` });
  }
  const fd = libc.socket(address.family, STREAM, 0);
  if (fd < 0) return failLater(options, system.error(libc.errno()));
  libc.setOption(fd, SOCKET.IPPROTO_TCP, SOCKET.NODELAY, ONE, 4);
  libc.setOption(fd, SOCKET.IPPROTO_TCP, SOCKET.NOTSENT_LOWAT, UNSENT, 4);
  if (libc.connect(fd, address.bytes, address.bytes.length) < 0) {
    const errno = libc.errno();
    if (errno !== EINPROGRESS && errno !== EINTR) {
      libc.close(fd);
      return failLater(options, system.error(errno));
    }
  }
  const opening = new EpollOpening(system, fd, options);
  if (system.loop.add(fd, EPOLL.OUT, opening)) return () => opening.cancel();
  const error = system.error(libc.errno());
  libc.close(fd);
  return failLater(options, error);
}

function failLater(options: ConnectOptions, error: SocketError): CancelConnect {
  let cancelled = false;
  queueMicrotask(() => {
    if (!cancelled) options.onFailure(error);
  });
  return () => void (cancelled = true);
}

/** A connection under way. */
class EpollOpening implements Polled {
  serial = 0;
  readonly #system: EpollSystem;
  readonly #fd: number;
  readonly #options: ConnectOptions;
  #done = false;

  constructor(system: EpollSystem, fd: number, options: ConnectOptions) {
    this.#system = system;
    this.#fd = fd;
    this.#options = options;
  }

  cancel(): void {
    if (this.#done) return;
    this.#done = true;
    this.#system.loop.forget(this.#fd);
    this.#system.libc.close(this.#fd);
  }

  onEvents(): void {
    const error = this.#system.pendingError(this.#fd);
    if (error !== null) {
      this.cancel();
      return this.#options.onFailure(error);
    }
    this.#done = true;
    const socket = new EpollSocket(this.#system, this.#fd, this.#options.host, "connected");
    this.#system.loop.pass(this.#fd, EPOLL.IN, socket);
    socket.handOver(this.#options.onOpen);
  }

  onFault(): void {}
}
