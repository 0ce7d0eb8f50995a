/*  An epoll set of our own beside the runtime's event loop.
 *
 *      turn: wait for events -> their callbacks -> wait ... -> let the runtime's loop run once (setImmediate) -> turn ...
 *
 *  While there is nothing to do the process sleeps in OUR wait. The runtime's epoll set is a member of ours, so that whatever it
 *  waits for (other sockets, signals, results of its threads) wakes us too; only its timers cannot, hence the bound on
 *  a sleep: they come up to SLEEP_MS late. Right after something has happened sleeps are shorter, since it may have set off a chain of turns
 *  in the runtime's loop.
 */
import { readdirSync, readlinkSync } from "node:fs";
import process from "node:process";
import { beginTurn, endTurn, nowMs } from "./clock.ts";
import { EPOLL, type Libc, SOCKET } from "./libc.ts";
import { workWaits } from "./later.ts";
import { afterLook, beforeLook, stopLooking } from "./stalls.ts";
import { uncaught } from "./uncaught.ts";

/** Whoever owns a descriptor in the set. */
export interface Polled {
  /** Tells the owner of a descriptor from the owner before it, which events may still be under way to. */
  serial: number;
  onEvents(events: number): void;
  /** `onEvents` has thrown. */
  onFault(): void;
}

const MAX_EVENTS = 256;
const SLEEP_MS = 50;
/** How long we go on by ourselves before the runtime's loop has its turn (`rate-10k`: 0.95 of the CPU per request). */
const HOLD_MS = 1;
/** The serial of the runtime's own sets. */
const RUNTIME = 0;
/** The kernel's `epoll_event` is packed on x86-64: 12 bytes; elsewhere 16, with the data at 8. */
const WORDS = process.arch === "x64" ? 3 : 4;
const DATA_AT = WORDS - 2;
/** Our own sets: one in the process, more in tests. None waits for another: the kernel nests five at most. */
const OURS = new Set<number>();

export class EpollLoop {
  readonly #libc: Libc;
  readonly #epoll: number;
  readonly #events: Int32Array = new Int32Array(MAX_EVENTS * WORDS);
  readonly #event: Int32Array = new Int32Array(WORDS);
  readonly #polled: (Polled | undefined)[] = [];
  readonly #turn: () => void = () => this.#step();
  #count = 0;
  #serial = 0;
  #running = false;
  #sleepMs = 1;
  /** The runtime's own set has something for it. */
  #runtimeWaits = false;
  /** Null where we cannot: then every turn is followed by one of the runtime's loop. */
  readonly #drainMicrotasks: (() => void) | null = microtaskDrain();

  /** Throws where the runtime's epoll set cannot be found, or waiting in this way does not work. */
  constructor(libc: Libc) {
    this.#libc = libc;
    const others = epollSets();
    if (others.length === 0) throw new Error("Cannot find the runtime's epoll set in /proc/self/fd");
    this.#epoll = libc.epollCreate(EPOLL.CLOEXEC);
    // Edge-triggered: one wake-up for what is new, however long the runtime takes to look at it.
    const member = others.every((fd) => this.#control(EPOLL.ADD, fd, EPOLL.IN | EPOLL.ET, RUNTIME));
    if (member && this.#triesOut()) {
      OURS.add(this.#epoll);
      return;
    }
    libc.close(this.#epoll);
    throw new Error("The kernel does not let us wait for the runtime's events, or tells of events in another way than expected");
  }

  /**
   * False if the kernel lacks what it takes (`errno`: ENOSPC, ENOMEM); the set is then as it was. Else `fd` stays in it until it
   * is closed; `forget` it then, or `remove` it before if others have the same socket.
   */
  add(fd: number, events: number, polled: Polled): boolean {
    const serial = this.#serial = (this.#serial + 1) & 0x3fffffff || 1;
    if (!this.#control(EPOLL.ADD, fd, events, serial)) return false;
    polled.serial = serial;
    this.#polled[fd] = polled;
    this.#count++;
    if (this.#running) return true;
    this.#running = true;
    setImmediate(this.#turn);
    return true;
  }

  /** `fd`, which is in the set, belongs to `polled` from now on. */
  pass(fd: number, events: number, polled: Polled): void {
    polled.serial = this.#polled[fd]!.serial;
    this.#polled[fd] = polled;
    this.change(fd, events, polled);
  }

  /** Changing a member takes no memory: this cannot fail. Errors are told of whatever `events` are. */
  change(fd: number, events: number, polled: Polled): void {
    this.#control(EPOLL.MOD, fd, events, polled.serial);
  }

  /** One error more may be told of, then nothing until `change`. It stays a member: adding it again could fail. */
  mute(fd: number, polled: Polled): void {
    this.change(fd, EPOLL.ONESHOT, polled);
  }

  /** Out of the set, whoever else holds the socket: closing our descriptor would leave it in, and the kernel would go on telling. */
  remove(fd: number): void {
    this.#control(EPOLL.DEL, fd, 0, RUNTIME);
    this.forget(fd);
  }

  forget(fd: number): void {
    this.#polled[fd] = undefined;
    this.#count--;
  }

  /** Whether the kernel has done it. */
  #control(operation: number, fd: number, events: number, serial: number): boolean {
    const event = this.#event;
    event[0] = events;
    event[DATA_AT] = fd;
    event[DATA_AT + 1] = serial;
    return this.#libc.epollControl(this.#epoll, operation, fd, event) === 0;
  }

  /** A socket without a connection is told of at once, with the data that it was entered with: else the layout is not ours. */
  #triesOut(): boolean {
    const fd = this.#libc.socket(SOCKET.INET, SOCKET.STREAM | SOCKET.CLOEXEC, 0);
    const serial = 0x12345678;
    this.#control(EPOLL.ADD, fd, EPOLL.IN, serial);
    const count = this.#libc.epollWait(this.#epoll, this.#events, MAX_EVENTS, 0);
    this.#libc.close(fd);
    for (let at = 0; at < count * WORDS; at += WORDS) {
      if (this.#events[at + DATA_AT] === fd && this.#events[at + DATA_AT + 1] === serial) return true;
    }
    return false;
  }

  #step(): void {
    let now = performance.now();
    const yieldAtMs = now + HOLD_MS;
    this.#runtimeWaits = false;
    while (this.#wait(now) && !this.#runtimeWaits && !workWaits() && (now = performance.now()) < yieldAtMs);
    if (this.#count > 0) return void setImmediate(this.#turn);
    this.#running = false;
    stopLooking();
  }

  /** True when something has happened, and the next wait need not be left to a turn of the runtime's loop. */
  #wait(now: number): boolean {
    beforeLook(now);
    const count = this.#libc.epollWait(this.#epoll, this.#events, MAX_EVENTS, workWaits() ? 0 : this.#sleepMs);
    this.#sleepMs = count === 0 ? Math.min(this.#sleepMs * 2, SLEEP_MS) : 1; // -1: a signal, which the runtime now handles
    if (count <= 0) {
      afterLook(performance.now());
      return false;
    }
    beginTurn();
    afterLook(nowMs());
    for (let i = 0; i < count; i++) this.#dispatch(i * WORDS);
    endTurn();
    if (this.#drainMicrotasks === null || this.#count === 0) return false;
    this.#drainMicrotasks();
    return true;
  }

  #dispatch(at: number): void {
    const events = this.#events;
    const serial = events[at + DATA_AT + 1]!;
    if (serial === RUNTIME) this.#runtimeWaits = true;
    const polled = this.#polled[events[at + DATA_AT]!];
    if (polled === undefined || polled.serial !== serial) return;
    try {
      polled.onEvents(events[at]!);
    } catch (error) {
      uncaught(error);
      this.#giveUp(polled);
    }
  }

  /** Whatever has a fault may have a second one; the loop goes on for all the others. */
  #giveUp(polled: Polled): void {
    try {
      polled.onFault();
    } catch (error) {
      uncaught(error);
    }
  }
}

/** Runs what promises and `queueMicrotask` have set off, as the runtime does after each of its callbacks. */
function microtaskDrain(): (() => void) | null {
  const { getBuiltinModule } = process as unknown as { getBuiltinModule?: (name: string) => unknown };
  const jsc = getBuiltinModule?.("bun:jsc") as { drainMicrotasks?: () => void } | undefined;
  return jsc?.drainMicrotasks ?? null;
}

/** The epoll sets that this process has: those of the runtime. */
function epollSets(): number[] {
  return readdirSync("/proc/self/fd").map(Number).filter((fd) => !OURS.has(fd)).filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[eventpoll]";
    } catch {
      return false; // the folder's own descriptor is closed by now
    }
  });
}
