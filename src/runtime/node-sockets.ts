/*  The socket door on node:net: Deno and Node.
 *
 *  Rules that hold on every runtime (runtime measurements): clean up on `close` only, always attach `error`, never branch
 *  on `err.syscall`. An RST while paused is not reported by Node and Deno until reading goes on.
 */
import net from "node:net";
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
import { socketError } from "./socket-error.ts";

const NO_HANDLER: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };

/** Over a connection that stands. */
export class NodeSocket implements Socket {
  handler: SocketSink = NO_HANDLER;
  bulk = false;
  readonly remoteAddress: string;
  readonly #raw: net.Socket;
  #error: SocketError | null = null;
  #waiting = false;

  constructor(raw: net.Socket) {
    this.#raw = raw;
    const address = raw.remoteAddress ?? "";
    this.remoteAddress = address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
    raw.setNoDelay(true);
    raw.on("data", (chunk: Buffer) => this.handler.onData(chunk));
    raw.on("drain", () => this.#drained());
    raw.on("end", () => {
      if (!raw.destroyed) this.handler.onEnd();
    });
    raw.on("error", (error) => this.#error = socketError(error));
    raw.on("close", () => {
      this.handler.onClose(this.#error);
      this.handler = NO_HANDLER;
    });
  }

  get pendingBytes(): number {
    return this.#waiting ? this.#raw.writableLength : 0;
  }

  /** Node may hold on to a buffer that the kernel has not taken whole. */
  get settled(): boolean {
    return this.#raw.writableLength === 0;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#raw.destroyed || this.#raw.writableEnded) return true;
    if (this.#raw.write(bytes)) return true;
    this.#waiting = true;
    return false;
  }

  writeCopied(scratch: Buffer, length: number): boolean {
    return this.write(Buffer.from(scratch.subarray(0, length)));
  }

  end(): void {
    this.#raw.end();
  }

  destroy(): void {
    this.#raw.destroy();
  }

  reset(): void {
    this.#raw.resetAndDestroy();
  }

  pause(): void {
    this.#raw.pause();
  }

  resume(): void {
    this.#raw.resume();
  }

  #drained(): void {
    this.#waiting = false;
    this.handler.onDrain();
  }
}

/** Everywhere. */
export const NODE_DOOR: SocketDoor = { name: "node", listen: nodeListen, connect: nodeConnect };

function nodeListen(options: ListenOptions): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true }, (raw) => {
      const socket = new NodeSocket(raw);
      socket.handler = options.onConnection(socket);
    });
    server.once("error", reject);
    server.listen(
      { port: options.port, host: options.host === "" ? "::" : options.host, reusePort: options.reusePort ?? false },
      () => {
        server.off("error", reject);
        resolve({ port: (server.address() as net.AddressInfo).port, close: () => void server.close() });
      },
    );
  });
}

function nodeConnect(options: ConnectOptions): CancelConnect {
  const raw = net.connect({ host: options.host, port: options.port, allowHalfOpen: true });
  const failed = (error: unknown): void => options.onFailure(socketError(error));
  raw.once("error", failed);
  raw.once("connect", () => {
    raw.off("error", failed);
    const socket = new NodeSocket(raw);
    socket.handler = options.onOpen(socket);
  });
  return () => {
    raw.off("error", failed);
    raw.on("error", () => {});
    raw.destroy();
  };
}
