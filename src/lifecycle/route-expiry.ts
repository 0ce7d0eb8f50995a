/** Lets go of what a worker's table has kept for a while, in slices that no request notices: see `recent-routes`. */
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { RoutingTable } from "../table/routing-table.ts";

export interface RouteExpiryOptions {
  readonly table: RoutingTable;
  /** No route leads to these endpoints any more, and none has for a while. */
  forget(keys: readonly string[]): void;
  readonly timers: Timers;
  /** Runs it in a later turn. */
  later(run: () => void): void;
}

/** What a turn may be longer for it. */
const SLICE_MS = 0.5;
/** Changes between two looks at the clock. */
const STEP = 256;
/** Not much is lost if it is done later, and a change seldom comes alone. */
const REST_MS = 100;

export class RouteExpiry {
  readonly #options: RouteExpiryOptions;
  #cancel: CancelTimer | null = null;
  #dueAtMs = Infinity;
  #stopped = false;

  constructor(options: RouteExpiryOptions) {
    this.#options = options;
  }

  /** The table has changed. */
  arm(): void {
    const { table, timers } = this.#options;
    const dueAtMs = Math.max(table.expiryAtMs, timers.nowMs() + REST_MS);
    if (this.#stopped || this.#dueAtMs <= dueAtMs || dueAtMs === Infinity) return;
    this.#cancel?.();
    this.#dueAtMs = dueAtMs;
    this.#cancel = timers.after(dueAtMs - timers.nowMs(), () => this.#runSlice());
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  #runSlice(): void {
    if (this.#stopped) return;
    const { table, forget, timers, later } = this.#options;
    this.#dueAtMs = -Infinity; // no other timer meanwhile
    const nowMs = timers.nowMs();
    const endAtMs = performance.now() + SLICE_MS;
    do {
      const keys = table.expire(nowMs, STEP);
      if (keys.length > 0) forget(keys);
    } while (table.expiryAtMs <= nowMs && performance.now() < endAtMs);
    if (table.expiryAtMs <= nowMs) return later(() => this.#runSlice());
    this.#dueAtMs = Infinity;
    this.arm();
  }
}
