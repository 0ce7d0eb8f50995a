/*  Numbers that all workers see and change, by name: counts of rate limits, breakers and requests under way.
 *
 *  A write is seen by the others at once; two at the same moment may lose one, so what must never drift is written by one process only:
 *  under a name with its `seat` in it, and added up over `seats`. A process that is killed leaves its seat, and with it what it has counted.
 *  Without memory that is shared (another runtime, no workers) all of this holds in one process.
 */
import process from "node:process";
import { systemTimers } from "../runtime/timers.ts";
import { CellMemory, CELLS, MEMORY_BYTES } from "./cell-memory.ts";

export { CELLS };

/** Zero when they are first asked for, and again when nobody has asked for an hour. */
export type Cells = Float64Array;

/** Memory that every worker has mapped, and a clock that is the same in all of them. */
export interface MappedCells {
  readonly memory: ArrayBuffer;
  readonly nowMs: () => number;
}

interface Known {
  readonly cells: Cells;
  readonly print: number;
}

/** Names whose place is known without a search. */
const MAX_KNOWN = 8192;
/** Names without a place, of which some may be gone for long. */
const MAX_OWN = 1 << 17;
/** How often a process says that it lives. */
const ATTEND_MS = 1000;
/** How old the list of seats may be when nobody has come or gone in order. */
const SEATS_MS = 100;

export class CellTable {
  /** Of this process, for names of what only it writes; no other has it, now or later. */
  readonly seat: string;
  readonly #token: number = 1 + Math.floor(Math.random() * 0x7fff_fffe);
  readonly #shared: MappedCells | null;
  readonly #known: Map<string, Known> = new Map();
  /** Of names that have found no place. */
  readonly #own: Map<string, Cells> = new Map();
  #memory: CellMemory | null;
  #seats: readonly string[];
  #seatsAtMs = -Infinity;
  #seatings = -1;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Called when there is no place for another name of what is configured: each process has its own numbers for those. */
  onFull: (name: string) => void = () => {};

  /** Throws if the memory is not of this layout. */
  constructor(shared: MappedCells | null = null) {
    this.#shared = shared;
    this.#memory = shared && new CellMemory(shared.memory);
    this.seat = this.#token.toString(36);
    this.#seats = [this.seat];
  }

  /** Others see the same numbers. */
  get isShared(): boolean {
    return this.#shared !== null;
  }

  /** Kept by no one: ask again each time. For what is configured, not for what clients can make up. */
  of(name: string): Cells {
    const nowMs = this.nowMs();
    const known = this.#known.get(name);
    const memory = this.#memoryNow();
    if (known !== undefined && memory.keep(known.cells, known.print, nowMs)) return known.cells;
    const own = this.#own.get(name);
    if (own !== undefined) return own;
    const cells = memory.find(name, "lasting", nowMs);
    if (cells === null) return this.#ownCells(name);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(name, { cells, print: memory.fingerprint(name) });
    return cells;
  }

  /** Kept however many names are asked for meanwhile, or what they count would begin anew again and again. */
  #ownCells(name: string): Cells {
    this.onFull(name);
    if (this.#own.size >= MAX_OWN) this.#own.clear();
    const cells = new Float64Array(CELLS);
    this.#own.set(name, cells);
    return cells;
  }

  /** PASSING_CELLS for names that clients make: with more than some 100,000 those used longest ago are forgotten. */
  passing(name: string): Cells {
    return this.#memoryNow().find(name, "passing", this.nowMs())!;
  }

  /** By which `keeps` knows a name. */
  printOf(name: string): number {
    return this.#memoryNow().fingerprint(name);
  }

  /** Whether the cells of a name, found a moment ago, are still its own; if so, they are in use. */
  keeps(cells: Cells, print: number, nowMs: number): boolean {
    return this.#memoryNow().keep(cells, print, nowMs);
  }

  /** Of the processes that live, this one included. */
  seats(): readonly string[] {
    if (this.#shared === null) return this.#seats;
    const nowMs = this.nowMs();
    const { seatings } = this.#memoryNow();
    if (seatings === this.#seatings && nowMs - this.#seatsAtMs < SEATS_MS) return this.#seats;
    this.#seatsAtMs = nowMs;
    this.#seatings = seatings;
    const others = this.#memoryNow().seated(nowMs).filter((token) => token !== this.#token);
    return this.#seats = [this.seat, ...others.map((token) => token.toString(36))];
  }

  /** A clock that is the same in all workers. */
  nowMs(): number {
    return this.#shared === null ? systemTimers.nowMs() : this.#shared.nowMs();
  }

  /** Takes a seat, until `leave`. */
  attend(): void {
    if (this.#shared === null) return;
    const sit = (): void => void this.#memory!.sit(this.#token, process.pid, this.nowMs());
    sit();
    this.#timer = setInterval(sit, ATTEND_MS);
  }

  /** What this process has counted under its seat counts no more. */
  leave(): void {
    clearInterval(this.#timer);
    if (this.#shared !== null) this.#memory!.vacate(process.pid);
  }

  /** Our own is made when somebody needs it: most proxies have no policies. */
  #memoryNow(): CellMemory {
    return this.#memory ??= new CellMemory(new ArrayBuffer(MEMORY_BYTES));
  }
}
