/*  Requests of a service that wait for a place at one of its endpoints: the oldest first, no more than the policy says, over all workers.
 *
 *      join -> waiting --(a place is free, and it is its turn)--> goes on
 *                 \--(time is over)--> told so          \--(its client leaves)--> forgotten       each once
 *
 *  A place that becomes free in this worker is offered at once; of those in other workers we learn by looking, every few milliseconds while
 *  somebody waits. Who waits longest in another worker comes first: each publishes since when its oldest has waited, and the others leave
 *  it some looks, but not for ever, since that worker may have use for other places only.
 */
import { systemTimers } from "../runtime/timers.ts";
import type { ConcurrencyPolicy } from "../table/policy.ts";
import type { CellTable } from "./cell-table.ts";
import { JointCount } from "./joint-count.ts";

export interface Waiter {
  /** There may be a place: take it. False: there is none for this request, it waits on. */
  offer(): boolean;
  /** It has waited for as long as it may. */
  onTimeout(): void;
}

/** Between two looks at places that other workers may have freed. */
const LOOK_MS = 5;
/** How many are offered a place at a time that the ones before them had no use for. */
const MOST_OFFERS = 16;
/** After so long nobody is offered one any more who is not first: where a service has thousands of endpoints each offer takes its time. */
const MOST_OFFERING_MS = 2;
/** Of all time, how much may go into looks: one part in so many. */
const LOOKS_SHARE = 10;
/** How many looks are left to a worker whose oldest has waited longer. */
const COURTESY = 20;

interface Waiting {
  readonly waiter: Waiter;
  readonly sinceMs: number;
  readonly cancelTimeout: () => void;
}

export class PlaceQueue {
  readonly #cells: CellTable;
  readonly #name: string;
  readonly #count: JointCount;
  /** Oldest first. */
  readonly #waiting: Map<Waiter, Waiting> = new Map();
  #timer: ReturnType<typeof setInterval> | undefined;
  #courtesies = 0;
  #restsUntilMs = -Infinity;
  #offering = false;
  #freed = false;

  constructor(cells: CellTable, service: string) {
    this.#cells = cells;
    this.#name = `queue/${service}`;
    this.#count = new JointCount(cells, this.#name);
  }

  /** A place is free, or may be. Not at once: whoever frees it is in the middle of something. */
  freed(): void {
    if (this.#freed || this.#waiting.size === 0) return;
    this.#freed = true;
    queueMicrotask(() => {
      this.#freed = false;
      this.offer();
    });
  }

  /** In this worker. */
  get length(): number {
    return this.#waiting.size;
  }

  /** Somebody waits, in whichever worker: who comes now comes after them. */
  get anybody(): boolean {
    return this.#waiting.size > 0 || this.#count.count > 0;
  }

  /** False: as many wait as may. */
  join(waiter: Waiter, { queue, queueTimeoutMs }: ConcurrencyPolicy): boolean {
    if (queue === 0 || !this.#count.take(queue)) return false;
    const cancelTimeout = systemTimers.after(queueTimeoutMs, () => {
      if (this.leave(waiter)) waiter.onTimeout();
    });
    this.#waiting.set(waiter, { waiter, sinceMs: this.#cells.nowMs(), cancelTimeout });
    this.#publish();
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
    return true;
  }

  /** False: it does not wait any more. */
  leave(waiter: Waiter): boolean {
    const waiting = this.#waiting.get(waiter);
    if (waiting === undefined) return false;
    this.#waiting.delete(waiter);
    waiting.cancelTimeout();
    this.#count.release();
    this.#publish();
    if (this.#waiting.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return true;
  }

  /** There may be places: each goes to the oldest that has use for it. An offer may free another place, which needs no second walk. */
  offer(): void {
    if (this.#offering || this.#waiting.size === 0 || this.#leavesToOthers()) return;
    this.#offering = true;
    let declined = 0;
    const endAtMs = performance.now() + MOST_OFFERING_MS;
    try {
      for (const { waiter } of [...this.#waiting.values()]) {
        if (!this.#waiting.has(waiter)) continue; // left meanwhile
        if (waiter.offer()) this.leave(waiter);
        else if (++declined >= MOST_OFFERS || performance.now() >= endAtMs) return;
      }
    } finally {
      this.#offering = false;
    }
  }

  #look(): void {
    const beganAtMs = performance.now();
    if (beganAtMs < this.#restsUntilMs) return;
    this.#courtesies++;
    this.offer();
    const endedAtMs = performance.now();
    this.#restsUntilMs = endedAtMs + (endedAtMs - beganAtMs) * (LOOKS_SHARE - 1);
  }

  /** Whether the oldest of another worker has waited longer than ours, and has not been left enough looks yet. */
  #leavesToOthers(): boolean {
    const [oldest] = this.#waiting.values();
    const elder = oldest !== undefined && this.#cells.seats().some((seat) => {
      const sinceMs = seat === this.#cells.seat ? 0 : this.#since(seat);
      return sinceMs > 0 && sinceMs < oldest.sinceMs;
    });
    if (elder && this.#courtesies < COURTESY) return true;
    this.#courtesies = 0;
    return false;
  }

  #publish(): void {
    const [oldest] = this.#waiting.values();
    this.#cells.of(`${this.#name}/${this.#cells.seat}`)[1] = oldest === undefined ? 0 : oldest.sinceMs;
  }

  #since(seat: string): number {
    return this.#cells.of(`${this.#name}/${seat}`)[1]!;
  }
}

/** Those of a worker, by service. */
export class PlaceQueues {
  readonly #cells: CellTable;
  readonly #queues: Map<string, PlaceQueue> = new Map();

  constructor(cells: CellTable) {
    this.#cells = cells;
  }

  of(service: string): PlaceQueue {
    let queue = this.#queues.get(service);
    if (queue === undefined) this.#queues.set(service, queue = new PlaceQueue(this.#cells, service));
    return queue;
  }

  /** Of those where somebody waits, in this worker. */
  lengths(): (readonly [service: string, length: number])[] {
    return [...this.#queues].flatMap(([service, { length }]) => length === 0 ? [] : [[service, length] as const]);
  }

  /** Forgets those where nobody waits. */
  tidy(): void {
    for (const [service, { length }] of this.#queues) if (length === 0) this.#queues.delete(service);
  }
}
