/** Time for the data plane: a coarse clock, and one sweep over deadlines instead of a timer per connection. */

import { uncaught } from "./uncaught.ts";

let turnMs = 0;
/** Those whose ticks are running. */
const SWEEPS = new Set<Sweep>();

/** Monotonic milliseconds; within a turn of a loop that says when its turns begin, the moment at which it began. */
export function nowMs(): number {
  return turnMs > 0 ? turnMs : performance.now();
}

/** A loop has woken up: `nowMs` stands still until `endTurn`, and costs nothing. The clocks of sweeps show it, too: their ticks may be late. */
export function beginTurn(): void {
  turnMs = performance.now();
  for (const sweep of SWEEPS) sweep.nowMs = turnMs;
}

export function endTurn(): void {
  turnMs = 0;
}

/** Something that must not wait for ever. Changing `deadlineAtMs` re-arms it; Infinity disarms. */
export interface Watched {
  deadlineAtMs: number;
  /** Called once the deadline has passed, never early, up to three ticks late. It is disarmed by then; re-arming is up to it. */
  onDeadline(): void;
}

/** How old `nowMs` may be, and how far apart the looks at the deadlines are. */
const TICK_MS = 50;

/** One per worker. Runs a timer only while something is watched. */
export class Sweep {
  /** Monotonic, as of the last tick or the turn under way. */
  nowMs: number = performance.now();
  #watched: Watched[] = [];
  #places: Map<Watched, number> = new Map();
  #timer: ReturnType<typeof setInterval> | undefined;

  watch(watched: Watched): void {
    if (this.#timer === undefined) {
      this.nowMs = performance.now();
      SWEEPS.add(this);
      this.#timer = setInterval(() => this.#tick(), TICK_MS);
    }
    this.#places.set(watched, this.#watched.length);
    this.#watched.push(watched);
  }

  unwatch(watched: Watched): void {
    const place = this.#places.get(watched);
    if (place === undefined) return;
    this.#places.delete(watched);
    const last = this.#watched.pop()!;
    if (last !== watched) {
      this.#watched[place] = last;
      this.#places.set(last, place);
    }
    if (this.#watched.length === 0) this.close();
  }

  /** Whether the deadline has passed for certain: it was reckoned from a clock that may have been a tick behind. */
  isDue(watched: Watched): boolean {
    return watched.deadlineAtMs <= this.nowMs - TICK_MS;
  }

  close(): void {
    SWEEPS.delete(this);
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    this.nowMs = performance.now();
    // Backwards: what is removed meanwhile is replaced by one that was already looked at.
    for (let i = this.#watched.length - 1; i >= 0; i--) {
      const watched = this.#watched[i];
      if (watched !== undefined && this.isDue(watched)) this.#ring(watched);
    }
  }

  /** An exception of one must neither keep the others waiting nor come again with every tick. */
  #ring(watched: Watched): void {
    watched.deadlineAtMs = Infinity;
    try {
      watched.onDeadline();
    } catch (error) {
      uncaught(error);
    }
  }
}
