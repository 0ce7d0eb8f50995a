/** How the traffic of the whole edge went in the last half hour: its sums every few seconds, and what lies between two of them. */
import type { MetricsSnapshot } from "./metrics.ts";
import { type Blame, BLAMES, ERROR_CODES } from "./proxy-error.ts";
import { quantileMs } from "./quantile.ts";

export const STEP_MS = 5000;
export const HISTORY_MS: number = 30 * 60_000;

/** Between two moments. */
export interface TrafficPoint {
  /** The later one. */
  readonly atMs: number;
  readonly spanMs: number;
  readonly requests: number;
  /** By status class: none, 1xx... */
  readonly byClass: Readonly<Record<StatusClass, number>>;
  /** Bad ends. */
  readonly errors: number;
  readonly byBlame: Readonly<Record<Blame, number>>;
  /** Those of the edge's doing that an operator has ordered (`vm_cordoned`, `maintenance`). */
  readonly ordered: number;
  /** null where no request has ended; tunnels do not count. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** At the later moment. */
  readonly connections: number;
  readonly tunnels: number;
}

export const STATUS_CLASSES = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"] as const;
export type StatusClass = (typeof STATUS_CLASSES)[number];

/** Bad ends are counted by code, and by blame within a code. */
const ORDERED = (["vm_cordoned", "maintenance"] as const).map((code) =>
  ERROR_CODES.indexOf(code) * BLAMES.length + BLAMES.indexOf("edge")
);

interface Sums {
  readonly atMs: number;
  readonly snapshot: MetricsSnapshot;
}

export class TrafficHistory {
  readonly #total: () => MetricsSnapshot;
  readonly #nowMs: () => number;
  /** Oldest first. */
  readonly #sums: Sums[] = [];

  /** `total`: over all workers, also those that are gone, so that a replaced worker is no dip. */
  constructor(total: () => MetricsSnapshot, nowMs: () => number) {
    this.#total = total;
    this.#nowMs = nowMs;
    this.sample();
  }

  /** To be called every STEP_MS. */
  sample(): void {
    const now = this.#now();
    this.#sums.push(now);
    while (now.atMs - this.#sums[0]!.atMs > HISTORY_MS) this.#sums.shift();
  }

  /** Those that end within the last `ms`, oldest first. */
  points(ms: number): TrafficPoint[] {
    const sinceMs = this.#nowMs() - ms;
    return this.#sums.flatMap((sums, index) => {
      const before = this.#sums[index - 1];
      return before === undefined || sums.atMs < sinceMs ? [] : [pointBetween(before, sums)];
    });
  }

  /** From the last sample that is at least `ms` old until now, or from the first. */
  latest(ms: number): TrafficPoint {
    const now = this.#now();
    const before = this.#sums.findLast(({ atMs }) => now.atMs - atMs >= ms) ?? this.#sums[0]!;
    return pointBetween(before, now);
  }

  #now(): Sums {
    return { atMs: this.#nowMs(), snapshot: this.#total() };
  }
}

function pointBetween(before: Sums, after: Sums): TrafficPoint {
  const { snapshot } = after;
  const was = before.snapshot;
  const requests = grown(was.requests, snapshot.requests);
  const ends = grown(was.badEnds, snapshot.badEnds);
  const durations = grown(was.durationBuckets, snapshot.durationBuckets);
  const byClass = STATUS_CLASSES.map((_, column) => every(requests, column, STATUS_CLASSES.length));
  const byBlame = BLAMES.map((_, column) => every(ends, column, BLAMES.length));
  return {
    atMs: after.atMs,
    spanMs: after.atMs - before.atMs,
    requests: sum(requests),
    byClass: named(STATUS_CLASSES, byClass),
    errors: sum(ends),
    byBlame: named(BLAMES, byBlame),
    ordered: ORDERED.reduce((sum, place) => sum + (ends[place] ?? 0), 0),
    p50Ms: quantileMs(durations, 0.5),
    p95Ms: quantileMs(durations, 0.95),
    p99Ms: quantileMs(durations, 0.99),
    bytesIn: Math.max(0, snapshot.bytesIn - was.bytesIn),
    bytesOut: Math.max(0, snapshot.bytesOut - was.bytesOut),
    connections: snapshot.connectionsOpen,
    tunnels: snapshot.tunnelsActive,
  };
}

/** Sums never go down; were one to, nobody must see a negative rate. */
function grown(before: readonly number[], after: readonly number[]): number[] {
  return after.map((value, index) => Math.max(0, value - (before[index] ?? 0)));
}

function every(counts: readonly number[], first: number, step: number): number {
  let total = 0;
  for (let i = first; i < counts.length; i += step) total += counts[i]!;
  return total;
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function named<Name extends string>(names: readonly Name[], values: readonly number[]): Record<Name, number> {
  return Object.fromEntries(names.map((name, index) => [name, values[index]!])) as Record<Name, number>;
}
