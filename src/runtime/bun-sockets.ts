/*  The socket door on Bun: `Bun.listen` and `Bun.connect`, without node:net's streams in between.
 *
 *  Facts this file rests on (Bun 1.4.5): `write` takes what the kernel takes and answers how much, -1 once closed;
 *  `shutdown` sends FIN and goes on reading, while `end` and `close` close both ways even with allowHalfOpen;
 *  `drain` also comes unasked; TCP_NODELAY is set already; buffers given to `data` are not used again; addresses are gone after `close`;
 *  a FIN that comes after ours shows as `close` without `end`; a `write` that answers -1 has taken the socket's error away: the
 *  peer's RST then shows as an orderly `end` and `close`. A connection that the kernel refuses to begin (no route, no file, no
 *  local port) fails within `connect`, as ECONNREFUSED whatever it was; everything else comes in a later turn.
 */
import { BUN, type BunApi } from "./which.ts";
import type {
  CancelConnect,
  ConnectOptions,
  Listener,
  ListenOptions,
  Socket,
  SocketDoor,
  SocketError,
  SocketSink,
} from "./sockets.ts";
import { outOfFiles } from "./file-limit.ts";
import { socketError } from "./socket-error.ts";
import { uncaught } from "./uncaught.ts";

/** The part of Bun's socket object that we use. */
interface RawSocket {
  data: BunSocket;
  readonly remoteAddress: string | undefined;
  write(bytes: Uint8Array, offset?: number, length?: number): number;
  shutdown(): void;
  end(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
}

interface RawListener {
  readonly port: number;
  stop(closeConnections?: boolean): void;
}

const NO_HANDLER: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
/** Which error it was, only the write knows, and it does not tell. */
const BROKEN: SocketError = { code: "EPIPE", message: "broken pipe" };

class BunSocket implements Socket {
  handler: SocketSink = NO_HANDLER;
  bulk = false;
  readonly remoteAddress: string;
  pendingBytes = 0;
  readonly #raw: RawSocket;
  #pending: Uint8Array[] = [];
  #endWhenDrained = false;
  #peerEnded = false;
  /** The peer's FIN will show as `close` only. */
  #finDue = false;
  /** A write has learnt that the connection is broken: no end may look orderly any more. */
  #broken = false;
  #closed = false;

  constructor(raw: RawSocket) {
    this.#raw = raw;
    const address = raw.remoteAddress ?? "";
    this.remoteAddress = address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
  }

  get settled(): boolean {
    return this.pendingBytes === 0;
  }

  write(bytes: Uint8Array): boolean {
    if (this.pendingBytes > 0) return this.#keep(bytes);
    const taken = this.#give(bytes, bytes.length);
    if (taken >= bytes.length) return true;
    return this.#keep(taken > 0 ? bytes.subarray(taken) : bytes);
  }

  writeCopied(scratch: Buffer, length: number): boolean {
    if (this.pendingBytes > 0) return this.#keep(Buffer.from(scratch.subarray(0, length)));
    const taken = this.#give(scratch, length);
    if (taken >= length) return true;
    return this.#keep(Buffer.from(scratch.subarray(taken, length)));
  }

  end(): void {
    if (this.#closed) return;
    if (this.pendingBytes > 0) this.#endWhenDrained = true;
    else this.#shutdown();
  }

  destroy(): void {
    this.#finDue = false;
    if (!this.#closed) this.#raw.end();
  }

  reset(): void {
    this.#finDue = false;
    if (!this.#closed) this.#raw.terminate();
  }

  pause(): void {
    if (!this.#closed) this.#raw.pause();
  }

  resume(): void {
    if (!this.#closed) this.#raw.resume();
  }

  drained(): void {
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
      if (this.#pending.length === 0) {
        if (this.#endWhenDrained) this.#shutdown();
        this.handler.onDrain();
        return;
      }
    }
  }

  /** The peer has sent FIN. */
  ended(): void {
    if (this.#broken) return;
    this.#peerEnded = true;
    this.#finDue = false;
    this.handler.onEnd();
  }

  closed(error: SocketError | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending = [];
    const reason = error ?? (this.#broken ? BROKEN : null);
    if (this.#finDue && reason === null) this.handler.onEnd();
    this.handler.onClose(reason);
    this.handler = NO_HANDLER;
  }

  /** How many of the first `length` bytes the kernel has taken. */
  #give(bytes: Uint8Array, length: number): number {
    const taken = this.#raw.write(bytes, 0, length);
    if (taken >= 0) return taken;
    this.#broken = !this.#closed;
    return 0;
  }

  #shutdown(): void {
    this.#finDue = !this.#peerEnded;
    this.#raw.shutdown();
  }

  #keep(bytes: Uint8Array): boolean {
    if (this.#closed) return true;
    this.#pending.push(bytes);
    this.pendingBytes += bytes.length;
    return false;
  }
}

const EVENTS = {
  data(raw: RawSocket, chunk: Buffer): void {
    raw.data.handler.onData(chunk);
  },
  drain(raw: RawSocket): void {
    raw.data.drained();
  },
  end(raw: RawSocket): void {
    raw.data.ended();
  },
  close(raw: RawSocket, error?: unknown): void {
    raw.data?.closed(error ? socketError(error) : null);
  },
  /** An exception in a callback of ours: that connection is in no known state; the process learns of it as uncaught. */
  error(raw: RawSocket, error: unknown): void {
    raw.terminate();
    uncaught(error);
  },
};

/** Null on other runtimes. */
export const BUN_DOOR: SocketDoor | null = BUN === undefined ? null : {
  name: "bun",
  listen: (options) => bunListen(BUN!, options),
  connect: (options) => bunConnect(BUN!, options),
};

function bunListen(bun: BunApi, options: ListenOptions): Promise<Listener> {
  if (options.host !== "") return Promise.resolve().then(() => listenAt(bun, options.host, options));
  // All addresses: dual stack, or IPv4 alone where the machine has no IPv6.
  return Promise.resolve().then(() => {
    try {
      return listenAt(bun, "::", options);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
      return listenAt(bun, "0.0.0.0", options);
    }
  });
}

function listenAt(bun: BunApi, hostname: string, options: ListenOptions): Listener {
  const listener = bun.listen({
    hostname,
    port: options.port,
    allowHalfOpen: true,
    reusePort: options.reusePort ?? false,
    socket: {
      ...EVENTS,
      binaryType: "buffer",
      open(raw: RawSocket): void {
        const socket = new BunSocket(raw);
        raw.data = socket;
        socket.handler = options.onConnection(socket);
      },
    },
  }) as RawListener;
  return { port: listener.port, close: () => listener.stop(false) };
}

/** A cancelled attempt that still succeeds is closed at once: Bun cannot call one back. */
function bunConnect(bun: BunApi, options: ConnectOptions): CancelConnect {
  let settled = false;
  let connecting = true;
  const fail = (error: unknown): void => {
    if (settled) return;
    settled = true;
    options.onFailure(socketError(error));
  };
  bun.connect({
    hostname: options.host,
    port: options.port,
    allowHalfOpen: true,
    socket: {
      ...EVENTS,
      binaryType: "buffer",
      open(raw: RawSocket): void {
        const socket = new BunSocket(raw);
        raw.data = socket;
        if (settled) return raw.terminate();
        settled = true;
        socket.handler = options.onOpen(socket);
      },
      connectError(_raw: RawSocket, error: unknown): void {
        if (!connecting) return fail(error);
        const reason = refusedHere();
        queueMicrotask(() => fail(reason));
      },
    },
  }).catch(fail);
  connecting = false;
  return () => {
    settled = true;
  };
}

/** Why the kernel did not even begin to connect, as far as can be told. */
function refusedHere(): SocketError {
  return outOfFiles()
    ? { code: "EMFILE", message: "too many open files" }
    : { code: "", message: "no route to the address, or no local port left" };
}
