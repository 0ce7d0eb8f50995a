/*  The socket door: TCP as the engine needs it, narrow enough that the kernel's calls, `Bun.listen` and `node:net` all stand behind it.
 *
 *  A socket has one handler at a time, replaced by assignment. After `open` come any number of `onData`, `onDrain`, at
 *  most one `onEnd` (the peer sent FIN; we may still write), and exactly one `onClose`, last.
 *  A chunk given to `onData` is gone once the handler has returned: the next one may lie in the same memory. Until then the handler may write
 *  over it, and over what lies before it in its buffer. Writes never fail: a broken connection shows as `onClose`.
 */
import { BUN_DOOR } from "./bun-sockets.ts";
import { openEpollDoor } from "./epoll-door.ts";
import { NODE_DOOR } from "./node-sockets.ts";
import { namingPortOwner } from "./port-owner.ts";
import { connectTls, type TlsPeer } from "./tls-sockets.ts";

/** Why a connection ended or was never made; `code` is the system's (`ECONNREFUSED`, `ECONNRESET`, ...) or empty. */
export interface SocketError {
  readonly code: string;
  readonly message: string;
}

export interface SocketSink {
  onData(chunk: Buffer): void;
  /** All bytes written so far have been taken by the kernel; only after a write that answered false. */
  onDrain(): void;
  /** The kernel has taken some of what was pending; where the runtime tells. */
  onProgress?(): void;
  onEnd(): void;
  /**
   * While paused: the peer has sent FIN, behind what has not been read. `onEnd` comes in its turn. Where the door can tell. `quietMs`: so
   * long after its last bytes; null: nobody knows.
   */
  onEndAhead?(quietMs: number | null): void;
  /** `error` is null after an orderly end. */
  onClose(error: SocketError | null): void;
}

export interface Socket {
  handler: SocketSink;
  /** IP literal; an IPv4 client of a dual-stack listener shows as IPv4. */
  readonly remoteAddress: string;
  /** What comes is passed on as it is: more of it may be received at once. False at first; where the door receives by itself. */
  bulk: boolean;
  /** Bytes accepted by `write` that the kernel has not taken yet. */
  readonly pendingBytes: number;
  /** No buffer given to `write` is referred to any more. */
  readonly settled: boolean;
  /**
   * Gives the bytes to the kernel. What it does not take is kept: copied (epoll), or as the buffer itself (the other doors; a chunk that
   * came from one of them is not used again). So the caller leaves a buffer of its own alone until `settled`. False: wait for onDrain.
   */
  write(bytes: Uint8Array): boolean;
  /** As `write`, for bytes [0, length) of a buffer that the caller will use again at once. */
  writeCopied(scratch: Buffer, length: number): boolean;
  /** FIN once everything written has left; reading goes on. */
  end(): void;
  /** Closes both directions now; what the kernel has not taken is lost. */
  destroy(): void;
  /** Closes with RST, so that the peer cannot take what it got for complete. */
  reset(): void;
  /** No `onData` until `resume`. */
  pause(): void;
  resume(): void;
}

export interface ListenOptions {
  /** IP literal, or empty for all addresses. */
  readonly host: string;
  readonly port: number;
  /** Several processes may listen on one address. Default false. */
  readonly reusePort?: boolean;
  /**
   * Accept from these sockets, which listen already (`listening-sockets.ts`), instead of binding one. They belong to the listener once it
   * is there, and it closes them; other processes may have them too. Only the epoll door has this.
   */
  readonly descriptors?: readonly number[];
  readonly onConnection: (socket: Socket) => SocketSink;
  /** A connection could not be taken for want of files or memory; it waits in the kernel's queue. Where the door can tell. */
  readonly onExhausted?: (error: SocketError) => void;
}

export interface Listener {
  readonly port: number;
  /** Stops accepting; open connections live on. */
  close(options?: CloseListener): void;
}

export interface CloseListener {
  /**
   * What happens to connections that the kernel has accepted and we have not: "take" serves them, where the door can (the default);
   * "leave" is for sockets that others accept from, too, and closes only our copy.
   */
  readonly queue: "take" | "leave";
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  /** Absent or null: without TLS. */
  readonly tls?: TlsPeer | null;
  /** Called once connected; returns who handles the socket. */
  readonly onOpen: (socket: Socket) => SocketSink;
  /** Called instead when no connection could be made. */
  readonly onFailure: (error: SocketError) => void;
}

/** Gives up a connection attempt; neither callback is called afterwards. */
export type CancelConnect = () => void;

/** One way to get at TCP. */
export interface SocketDoor {
  readonly name: "epoll" | "bun" | "node";
  /** Rejects with the system's error (`EADDRINUSE`, `EACCES`, ...) when the address cannot be bound. */
  listen(options: ListenOptions): Promise<Listener>;
  /**
   * There is no time limit here: the caller cancels. Neither callback is called before this has returned, also when the kernel
   * refuses at once; a connection that fails for want of files is `EMFILE` or `ENFILE`.
   */
  connect(options: ConnectOptions): CancelConnect;
}

let doors: readonly SocketDoor[] | undefined;

/** Those that this runtime and this machine have, best first. Opened at the first use. */
export function socketDoors(): readonly SocketDoor[] {
  return doors ??= findDoors(openEpollDoor());
}

/** As `socketDoors`; `epoll` is null where that door cannot be opened. */
export function findDoors(epoll: SocketDoor | null): readonly SocketDoor[] {
  return [epoll, BUN_DOOR, NODE_DOOR].filter((door) => door !== null);
}

/** See `SocketDoor`. The error says who has the address, if that can be known. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const door = socketDoors()[0]!;
  if (options.descriptors !== undefined && door.name !== "epoll") {
    throw new Error("Cannot listen on inherited sockets: this runtime or machine does not let us");
  }
  try {
    return await door.listen(options);
  } catch (error) {
    throw namingPortOwner(error, options.host, options.port);
  }
}

/** See `SocketDoor`. */
export function connect(options: ConnectOptions): CancelConnect {
  if (options.tls) return connectTls(options, options.tls);
  return socketDoors()[0]!.connect(options);
}
