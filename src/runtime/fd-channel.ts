/*  A conversation between two processes of one user on one machine: JSON lines both ways, and descriptors with them (SCM_RIGHTS).
 *
 *      listenForChannels -> runtime accepts -> duplicate --.
 *                                                           > open ---(peer closes, a fault, close())---> closed     final
 *      connectChannel ---> connected ----------------------'
 *
 *  A line is {"descriptors":N,"message":...}; its N descriptors come with its first bytes, so they are here before it is complete. The
 *  address is a name in the abstract name space, which goes when its process does and has no permissions: in their place stands the
 *  kernel's word on who the peer is (SO_PEERCRED). Whoever is of another user is not heard.
 *
 *  Waiting: listening costs an idle process nothing, since the runtime does that (Bun.listen). A connection it has accepted is ours by a
 *  duplicate of its descriptor: Bun only closes its own, without shutdown, and has read nothing yet (Bun 1.4.5). Open channels are in our
 *  epoll set, which wakes up 20 times a second as long as there is one: a few seconds in the life of a process.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { epollSystem } from "./epoll-door.ts";
import type { Polled } from "./epoll-loop.ts";
import type { EpollSystem } from "./epoll-system.ts";
import { CONTROL, EAGAIN, EINTR, EPOLL, errorName, SOCKET } from "./libc.ts";
import { closeDescriptor } from "./listening-sockets.ts";
import { encodeUnix } from "./socket-address.ts";
import { MAX_DESCRIPTORS, MAX_MESSAGE_BYTES, SocketMessage } from "./socket-message.ts";
import { uncaught } from "./uncaught.ts";
import { BUN } from "./which.ts";

export interface ChannelPeer {
  /** 0 for a process that we cannot see: it lives in another container. */
  readonly pid: number;
  readonly uid: number;
}

export interface ChannelSink {
  /** The descriptors are the handler's now. */
  onMessage(message: unknown, descriptors: readonly number[]): void;
  /** Last, and not after `close`. `error` is null if the peer has closed. */
  onClose(error: Error | null): void;
}

export interface ChannelListener {
  close(): void;
}

const MAX_LINE_BYTES = 64 * 1024;
/** Nobody has as many listening sockets. */
const MAX_WAITING_DESCRIPTORS = 4 * 1024;
/** Messages read in one turn. */
const MAX_READS = 16;
const NEWLINE = 10;
/** __SO_ACCEPTCON in /proc/net/unix. */
const LISTENING = "00010000";
const NO_HANDLER: ChannelSink = { onMessage: (_, descriptors) => descriptors.forEach(closeDescriptor), onClose() {} };

let messages: SocketMessage | undefined;

/**
 * Channels that come to this name. Null where there are none (other systems and runtimes); throws if the name is taken. Whoever calls is
 * handled by what `onChannel` answers; `onStranger` tells of those that are not heard.
 */
export function listenForChannels(
  name: string,
  onChannel: (channel: FdChannel) => ChannelSink,
  onStranger: (peer: ChannelPeer) => void = () => {},
): ChannelListener | null {
  const system = epollSystem();
  if (system === null || BUN === undefined) return null;
  const listener = BUN.listen({
    unix: `\0${name}`,
    socket: {
      open(raw: { readonly fd: number; terminate(): void }): void {
        const fd = raw.fd >= 0 ? system.libc.control(raw.fd, CONTROL.DUPFD_CLOEXEC, 0) : -1;
        raw.terminate();
        if (fd < 0) return;
        const opened = openChannel(system, fd);
        if (opened instanceof FdChannel) opened.handler = onChannel(opened);
        else if (opened !== null) onStranger(opened);
      },
      data() {},
    },
  }) as { stop(closeConnections: boolean): void };
  return { close: () => listener.stop(false) };
}

/** Throws the system's error, and if the other process is not this user's. */
export function connectChannel(name: string): FdChannel {
  const system = epollSystem();
  const failed = (reason: string): Error => new Error(`Cannot connect to @${name}: ${reason}`);
  if (system === null) throw failed("this runtime or machine does not let us");
  const { libc } = system;
  const fd = libc.socket(SOCKET.UNIX, SOCKET.STREAM | SOCKET.NONBLOCK | SOCKET.CLOEXEC, 0);
  const address = encodeUnix(`@${name}`);
  if (fd < 0 || libc.connect(fd, address, address.length) < 0) {
    const reason = errorName(libc.errno());
    if (fd >= 0) libc.close(fd);
    throw failed(reason);
  }
  const opened = openChannel(system, fd);
  if (opened instanceof FdChannel) return opened;
  throw failed(opened === null ? "out of memory" : `process ${opened.pid} is another user's (uid ${opened.uid})`);
}

/** The channel; or the peer, if it is another user's; or null if the kernel lacks what it takes. Closes `fd` then. */
function openChannel(system: EpollSystem, fd: number): FdChannel | ChannelPeer | null {
  const credentials = new Int32Array(3);
  const known = system.libc.getOption(fd, SOCKET.SOL_SOCKET, SOCKET.PEERCRED, credentials, Int32Array.of(12)) === 0;
  const peer = { pid: credentials[0]!, uid: known ? credentials[1]! : -1 };
  const foreign = peer.uid !== process.geteuid?.();
  if (!foreign) {
    const channel = new FdChannel(system, fd, peer);
    if (system.loop.add(fd, EPOLL.IN, channel)) return channel;
  }
  system.libc.close(fd);
  return foreign ? peer : null;
}

export class FdChannel implements Polled {
  serial = 0;
  /** Set at once by whoever opened the channel. */
  handler: ChannelSink = NO_HANDLER;
  readonly peer: ChannelPeer;
  readonly #system: EpollSystem;
  readonly #fd: number;
  #text: Buffer = Buffer.alloc(0);
  /** Came with lines that are not complete yet. */
  #descriptors: number[] = [];
  #open = true;

  /** `fd` is about to be in the epoll set. */
  constructor(system: EpollSystem, fd: number, peer: ChannelPeer) {
    this.#system = system;
    this.#fd = fd;
    this.peer = peer;
  }

  /** The peer gets duplicates of the descriptors. Never throws: a channel that fails closes, in a later turn. */
  send(message: unknown, descriptors: readonly number[] = []): void {
    if (!this.#open) return;
    const line = Buffer.from(`${JSON.stringify({ descriptors: descriptors.length, message })}\n`);
    // More than one call takes go ahead, a byte each; the rest goes with the rest.
    const ahead = Math.max(0, Math.ceil(descriptors.length / MAX_DESCRIPTORS) - 1);
    for (let at = 0; at < line.length;) {
      const length = at < ahead ? 1 : MAX_MESSAGE_BYTES;
      const some = descriptors.slice(at * MAX_DESCRIPTORS, (at + 1) * MAX_DESCRIPTORS);
      if (!this.#give(line.subarray(at, at + length), some)) return;
      at += length;
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#system.loop.remove(this.#fd);
    this.#system.libc.close(this.#fd);
    this.#descriptors.splice(0).forEach(closeDescriptor);
  }

  onFault(): void {
    this.#end(new Error("Cannot go on after a fault"));
  }

  onEvents(): void {
    for (let i = 0; i < MAX_READS && this.#open; i++) if (!this.#read()) return;
  }

  /** The kernel has room for hundreds of our lines. If it does not take one whole the peer has not looked for long. */
  #give(bytes: Uint8Array, descriptors: readonly number[]): boolean {
    const { libc } = this.#system;
    const taken = (messages ??= new SocketMessage(libc)).send(this.#fd, bytes, descriptors);
    if (taken === bytes.length) return true;
    const errno = taken < 0 ? libc.errno() : EAGAIN;
    const reason = errno === EAGAIN ? "it does not read" : errorName(errno);
    queueMicrotask(() => this.#end(new Error(`Cannot send to process ${this.peer.pid}: ${reason}`)));
    return false;
  }

  /** False if nothing is left to be read. */
  #read(): boolean {
    messages ??= new SocketMessage(this.#system.libc);
    const { length, errno, descriptors, truncated } = messages.receive(this.#fd);
    if (length < 0) {
      if (errno !== EAGAIN && errno !== EINTR) this.#end(this.#cannotRead(errorName(errno)));
      return false;
    }
    this.#descriptors.push(...descriptors);
    if (truncated) return this.#end(this.#cannotRead("some descriptors did not arrive (too many open files?)"));
    if (length === 0) return this.#end(null);
    this.#text = Buffer.concat([this.#text, messages.bytes(length)]);
    this.#takeLines();
    return true;
  }

  #takeLines(): void {
    for (let end = this.#text.indexOf(NEWLINE); end >= 0 && this.#open; end = this.#text.indexOf(NEWLINE)) {
      const line = this.#text.toString("utf8", 0, end);
      this.#text = this.#text.subarray(end + 1);
      this.#takeLine(line);
    }
    if (this.#text.length > MAX_LINE_BYTES) this.#end(this.#cannotRead(`a line of more than ${MAX_LINE_BYTES} bytes`));
    else if (this.#descriptors.length > MAX_WAITING_DESCRIPTORS) this.#end(this.#cannotRead("too many descriptors"));
  }

  #takeLine(line: string): void {
    const parsed = parseLine(line);
    if (parsed === null) return void this.#end(this.#cannotRead(`not a message: ${JSON.stringify(line.slice(0, 80))}`));
    if (parsed.descriptors > this.#descriptors.length) return void this.#end(this.#cannotRead("descriptors are missing"));
    this.handler.onMessage(parsed.message, this.#descriptors.splice(0, parsed.descriptors));
  }

  #cannotRead(reason: string): Error {
    return new Error(`Cannot read from process ${this.peer.pid}: ${reason}`);
  }

  #end(error: Error | null): false {
    if (!this.#open) return false;
    this.close();
    try {
      this.handler.onClose(error);
    } catch (fault) {
      uncaught(fault);
    }
    return false;
  }
}

function parseLine(line: string): { descriptors: number; message: unknown } | null {
  try {
    const { descriptors, message } = JSON.parse(line);
    return Number.isInteger(descriptors) && descriptors >= 0 ? { descriptors, message } : null;
  } catch {
    return null;
  }
}

/** The names that begin so and have a listener, in this network name space. None where there are no channels. */
export function channelNames(prefix: string): string[] {
  if (epollSystem() === null) return [];
  try {
    const lines = readFileSync("/proc/net/unix", "latin1").split("\n").map((line) => line.split(" "));
    const names = lines.filter(([, , , flags]) => flags === LISTENING).map((columns) => columns.at(-1)!);
    return names.filter((name) => name.startsWith(`@${prefix}`)).map((name) => name.slice(1));
  } catch {
    return []; // no /proc
  }
}
