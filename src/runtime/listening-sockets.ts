/*  Listening sockets as descriptors, apart from whoever accepts from them.
 *
 *  A descriptor that is kept keeps the accept queue: connections that came in while nobody accepted wait for the next process that does. So
 *  one process opens the sockets, and others (workers, the next generation of the program) accept from them: handed down as inherited
 *  descriptors, or from process to process (`fd-channel.ts`). Only where the epoll door is: no runtime API accepts from a descriptor
 *  without taking it over.
 */
import { fstatSync } from "node:fs";
import process from "node:process";
import { adoptSocket, bindSocket, type BoundSocket } from "./bound-socket.ts";
import { epollSystem } from "./epoll-door.ts";
import { CONTROL, errorName, type Libc } from "./libc.ts";
import { namingPortOwner } from "./port-owner.ts";

export interface ListeningSocket extends BoundSocket {
  /** Of the service manager: `FileDescriptorName=`; empty elsewhere. */
  readonly name: string;
  /** Our copy. Not after a listener has been given the descriptor: it closes it by itself. */
  close(): void;
}

export interface ListeningSocketOptions {
  /** IP literal, or empty for all addresses. */
  readonly host: string;
  /** 0: any free one, the same for all. */
  readonly port: number;
  /** That many sockets of one address, among which the kernel shares out the connections. */
  readonly count: number;
  /** Throws if anybody listens there, also who would share the port: the kernel would give them a part of the connections. */
  readonly alone?: boolean;
  readonly reusePort: true;
}

/** The first descriptor that a service manager passes (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;

/** Bound and listening; null where this runtime or machine has none. Throws the system's error, and then holds none. */
export function openListeningSockets(options: ListeningSocketOptions): ListeningSocket[] | null {
  const libc = descriptorCalls();
  if (libc === null) return null;
  const sockets: ListeningSocket[] = [];
  try {
    let { host, port } = options;
    if (options.alone === true && port !== 0) libc.close(bindSocket(libc, { host, port }).fd);
    while (sockets.length < options.count) {
      const socket = bindSocket(libc, { host, port, reusePort: true });
      ({ host, port } = socket);
      sockets.push(closable(libc, socket));
    }
    return sockets;
  } catch (error) {
    sockets.forEach((socket) => socket.close());
    throw namingPortOwner(error, options.host, options.port);
  }
}

/** A descriptor that came from another process. Throws if it is not a listening TCP socket, or this machine cannot accept from one. */
export function adoptListeningSocket(fd: number, name = ""): ListeningSocket {
  const libc = descriptorCalls();
  if (libc === null) throw new Error(`Cannot listen on descriptor ${fd}: this runtime or machine does not let us`);
  return closable(libc, adoptSocket(libc, fd), name);
}

/**
 * The sockets behind descriptors that came from other processes, each once: several may have sent the same. What is of no use is closed,
 * and why is told.
 */
export function adoptListeningSockets(descriptors: readonly number[], onProblem: (problem: string) => void): ListeningSocket[] {
  const sockets = new Map<number, ListeningSocket>();
  for (const fd of descriptors) {
    try {
      const { ino } = fstatSync(fd);
      if (sockets.has(ino)) closeDescriptor(fd);
      else sockets.set(ino, adoptListeningSocket(fd));
    } catch (error) {
      onProblem((error as Error).message);
      closeDescriptor(fd);
    }
  }
  return [...sockets.values()];
}

/**
 * The sockets that a service manager has opened for this process (socket activation), null if it has not: the variables may be meant for
 * the process that started us. Throws if one is of the wrong kind.
 */
export function inheritedListeningSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number = process.pid,
): ListeningSocket[] | null {
  if (env["LISTEN_PID"] !== String(pid) || env["LISTEN_FDS"] === undefined) return null;
  const count = Number(env["LISTEN_FDS"]);
  if (!/^\d{1,4}$/.test(env["LISTEN_FDS"])) throw new Error(`Cannot read LISTEN_FDS: not a number: "${env["LISTEN_FDS"]}"`);
  const names = env["LISTEN_FDNAMES"]?.split(":") ?? [];
  if (count === 0) return null;
  return Array.from({ length: count }, (_, i) => adoptListeningSocket(LISTEN_FDS_START + i, names[i] ?? ""));
}

/** A descriptor of its own for the same socket, so that a listener can close it. Throws the system's error. */
export function copyDescriptor(fd: number): number {
  const libc = descriptorCalls();
  const copy = libc?.control(fd, CONTROL.DUPFD_CLOEXEC, 0) ?? -1;
  if (copy < 0) throw new Error(`Cannot copy descriptor ${fd}: ${libc === null ? "no epoll here" : errorName(libc.errno())}`);
  return copy;
}

/** Our copy of an inherited descriptor is not needed any more. */
export function closeDescriptor(fd: number): void {
  descriptorCalls()?.close(fd);
}

/** Null without the epoll door. */
function descriptorCalls(): Libc | null {
  return epollSystem()?.libc ?? null;
}

function closable(libc: Libc, socket: BoundSocket, name = ""): ListeningSocket {
  let open = true;
  return {
    ...socket,
    name,
    close() {
      if (open) libc.close(socket.fd);
      open = false;
    },
  };
}
