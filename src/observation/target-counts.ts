/*  What a worker counts of the targets of routes: by route and by the service that its split has led to. A request is given the row of its
 *  target when it is matched, and counts there when it has ended, so that it counts where it was led, whatever came into force meanwhile.
 *
 *  Of 100,000 domains with policies only some rows are kept at a time: when they are wanting, all are let go of, and who has requests takes
 *  one again. What has been counted is kept until it is taken, no more than some rows at a time.
 */
import {
  addRow,
  BUCKET_COLUMN,
  BYTES_IN_COLUMN,
  BYTES_OUT_COLUMN,
  emptyRow,
  ERROR_COLUMN,
  type HostReport,
  MS_COLUMN,
  NOTHING_COUNTED,
  sparse,
} from "./host-figures.ts";
import type { ErrorCode } from "./proxy-error.ts";
import {
  type Refusal,
  REFUSAL_COLUMN,
  REFUSALS,
  RETRY_COLUMN,
  TARGET_COLUMNS,
  targetKey,
  WAIT_COLUMN,
  WAIT_MS_COLUMN,
} from "./target-figures.ts";

/** One exchange that has ended. */
export interface CountedTarget {
  readonly status: number;
  readonly code: ErrorCode | null;
  readonly bodyBytesIn: number;
  readonly bodyBytesOut: number;
  readonly attempts: number;
  readonly queueWaitMs: number;
}

export interface TargetCountsLimits {
  readonly rows: number;
  /** At a time. */
  readonly taken: number;
}

const LIMITS: TargetCountsLimits = { rows: 4096, taken: 500 };

export class TargetRow {
  readonly key: string;
  readonly counts: Float64Array = new Float64Array(TARGET_COLUMNS);
  /** Has counted something that has not been taken. */
  pending = false;

  constructor(key: string) {
    this.key = key;
  }
}

export class TargetCounts {
  readonly #limits: TargetCountsLimits;
  /** By route, which is the same object as long as its policies are in force, then by service. */
  #byRoute: WeakMap<object, Map<string, TargetRow>> = new WeakMap();
  #rows = 0;
  #wanting = false;
  /** Of all others. */
  readonly #other: TargetRow = new TargetRow("");
  readonly #pending: TargetRow[] = [];

  constructor(limits: TargetCountsLimits = LIMITS) {
    this.#limits = limits;
  }

  /** `nameOf`: how operators call the route. On the hot path of requests under policies. */
  rowOf<Route extends object>(route: Route, service: string, nameOf: (route: Route) => string): TargetRow {
    let rows = this.#byRoute.get(route);
    const known = rows?.get(service);
    if (known !== undefined) return known;
    if (this.#rows >= this.#limits.rows) {
      this.#wanting = true;
      return this.#other;
    }
    if (rows === undefined) this.#byRoute.set(route, rows = new Map());
    const row = new TargetRow(targetKey({ route: nameOf(route), service }));
    rows.set(service, row);
    this.#rows++;
    return row;
  }

  /** `blame`: -1 for a good end; `bucket`: of DURATION_BUCKETS, -1 for a tunnel. */
  count(row: TargetRow, counted: CountedTarget, blame: number, ms: number, bucket: number): void {
    if (!row.pending) {
      row.pending = true;
      this.#pending.push(row);
    }
    const { counts } = row;
    const { status, code, attempts, queueWaitMs } = counted;
    counts[status >= 600 ? 5 : status / 100 | 0]!++;
    counts[BYTES_IN_COLUMN]! += counted.bodyBytesIn;
    counts[BYTES_OUT_COLUMN]! += counted.bodyBytesOut;
    if (attempts > 1) counts[RETRY_COLUMN]! += attempts - 1;
    if (queueWaitMs > 0) {
      counts[WAIT_COLUMN]!++;
      counts[WAIT_MS_COLUMN]! += queueWaitMs;
    }
    if (blame >= 0) counts[ERROR_COLUMN + blame]!++;
    if (code !== null) {
      const refusal = REFUSALS.indexOf(code as Refusal); // -1 where it is another
      if (refusal >= 0) counts[REFUSAL_COLUMN + refusal]!++;
    }
    if (bucket < 0) return;
    counts[MS_COLUMN]! += ms;
    counts[BUCKET_COLUMN + bucket]!++;
  }

  /** What was counted since the last time, at most some rows of it; all of it when it is the last time. */
  take(last = false): HostReport {
    if (this.#wanting) this.tidy();
    if (this.#pending.length === 0) return NOTHING_COUNTED;
    const left = this.#pending;
    const taken = left.splice(0, last ? left.length : this.#limits.taken);
    // Each second may have rows of its own: what would wait ever longer is not told apart
    const surplus = left.splice(0, Math.max(0, left.length - this.#limits.rows));
    const hosts: [string, number[]][] = [];
    const other = emptyRow(TARGET_COLUMNS);
    for (const row of taken) {
      if (row === this.#other) addRow(other, row.counts);
      else hosts.push([row.key, sparse(row.counts, 0, TARGET_COLUMNS)]);
    }
    for (const row of surplus) addRow(other, row.counts);
    for (const row of [...taken, ...surplus]) {
      row.counts.fill(0);
      row.pending = false;
    }
    return { hosts, other: sparse(other, 0, TARGET_COLUMNS) };
  }

  /** Lets go of all rows: other policies are in force, or there are too many. Who holds one may still count there. */
  tidy(): void {
    this.#byRoute = new WeakMap();
    this.#rows = 0;
    this.#wanting = false;
  }
}
