/*  What all workers have counted of single hosts (or of targets of routes, whose rows are longer): in total, in the last minute, and as
 *  metric series of the busiest.
 *
 *      report of a worker --> watched, if there is room (else: the others)
 *                               | fewer than 1000 series, or twice as busy as the least busy one that has some
 *                               v
 *                             has series, from 0 on -- an idler one is needed for another, or the route is gone --> none
 *
 *  A series never goes down while it lives. What is counted of a host without series is counted in `other`, for good; so the sum over
 *  all series grows by what happens, and by nothing else, until a series ends.
 *  The last minute is six slots of ten seconds, the last of them under way.
 */
import {
  addRow,
  addSparse,
  COLUMNS,
  emptyRow,
  type HostReport,
  requestsOf,
  type Row,
  sparseRequests,
  type SparseRow,
} from "./host-figures.ts";

export interface HostTrafficOptions {
  /** Of the table as of now. */
  readonly revision: () => number;
  readonly hasRoute: (key: string) => boolean;
  readonly nowMs: () => number;
  readonly limits?: HostTrafficLimits;
  /** Of a row; absent: those of a host. */
  readonly columns?: number;
  /** What all others are called together; absent: `other`, which is no host's name. */
  readonly others?: string;
}

export interface HostTrafficLimits {
  /** Hosts with metric series. */
  readonly series: number;
  /** Hosts that are told apart. */
  readonly watched: number;
}

/** One host, for people. */
export interface HostTotals {
  readonly host: string;
  /** Since it has been watched. */
  readonly total: Row;
  readonly lastMinute: Row;
}

/** What is exported. */
export interface HostSeries {
  readonly host: string;
  readonly counts: Row;
}

interface Watched {
  readonly host: string;
  readonly total: Row;
  /** `total` when its series began; null: it has none. */
  base: Row | null;
  /** By place of the slot; null: nothing happened then. */
  readonly slots: (Row | null)[];
}

const LIMITS: HostTrafficLimits = { series: 1000, watched: 3000 };
const SLOT_MS = 10_000;
const SLOTS = 6;
/** Between two looks at who is busy. */
const REVIEW_MS = 1000;
/** Of those without series, how many make room for others when there is none. */
const GIVEN_UP = 1 / 4;
/** How much busier one must be to take the series of another, and by how many requests a minute. */
const TIMES = 2;
const MORE = 10;

export class HostTraffic {
  readonly #options: HostTrafficOptions;
  readonly #limits: HostTrafficLimits;
  readonly #watched: Map<string, Watched> = new Map();
  readonly #columns: number;
  readonly #other: Row;
  readonly #startedAtMs: number;
  #withSeries = 0;
  #wanting = false;
  #revision = 0;
  /** Slots are numbered from 0, since the start. */
  #slot = 0;
  #reviewedAtMs = -Infinity;

  constructor(options: HostTrafficOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.#columns = options.columns ?? COLUMNS;
    this.#other = emptyRow(this.#columns);
    this.#startedAtMs = options.nowMs();
  }

  /** What a worker has counted. */
  add({ hosts, other }: HostReport): void {
    this.#catchUp();
    addSparse(this.#other, other);
    const isTight = this.#watched.size + hosts.length > this.#limits.watched;
    for (const [host, counts] of isTight ? busiestFirst(hosts) : hosts) this.#count(host, counts);
  }

  /** In no particular order. */
  list(): HostTotals[] {
    this.#catchUp();
    return [...this.#watched.values()].map((watched) => ({
      host: watched.host,
      total: watched.total,
      lastMinute: this.#lastMinuteOf(watched),
    }));
  }

  find(host: string): HostTotals | null {
    this.#catchUp();
    const watched = this.#watched.get(host);
    return watched === undefined ? null : { host, total: watched.total, lastMinute: this.#lastMinuteOf(watched) };
  }

  /** How long the last minute was: less at the start, and never quite a minute. */
  get lastMinuteSeconds(): number {
    const sinceMs = this.#options.nowMs() - this.#startedAtMs;
    return Math.max(1, Math.min(sinceMs, (SLOTS - 1) * SLOT_MS + sinceMs % SLOT_MS) / 1000);
  }

  /** Of the busiest, and of all others together. */
  series(): HostSeries[] {
    this.#catchUp();
    const series = [...this.#watched.values()].flatMap(({ host, total, base }) =>
      base === null ? [] : [{ host, counts: total.map((value, column) => value - base[column]!) }]
    );
    return [...series, { host: this.#options.others ?? "other", counts: this.#other }];
  }

  #count(host: string, counts: SparseRow): void {
    const watched = this.#watched.get(host) ?? this.#watch(host);
    if (watched === null) return addSparse(this.#other, counts);
    addSparse(watched.total, counts);
    addSparse(watched.slots[this.#slot % SLOTS] ??= emptyRow(this.#columns), counts);
    if (watched.base === null) addSparse(this.#other, counts);
  }

  /** null: there is no room, or a worker speaks of a route that is gone. */
  #watch(host: string): Watched | null {
    if (!this.#options.hasRoute(host)) return null;
    if (this.#watched.size >= this.#limits.watched) {
      this.#wanting = true;
      return null;
    }
    const watched: Watched = { host, total: emptyRow(this.#columns), base: null, slots: new Array(SLOTS).fill(null) };
    this.#watched.set(host, watched);
    if (this.#withSeries < this.#limits.series) this.#beginSeries(watched);
    return watched;
  }

  #beginSeries(watched: Watched): void {
    watched.base = watched.total.slice();
    this.#withSeries++;
  }

  #endSeries(watched: Watched): void {
    watched.base = null;
    this.#withSeries--;
  }

  /** Whatever time and the table have changed. */
  #catchUp(): void {
    const { nowMs, revision } = this.#options;
    if (this.#revision !== revision()) this.#leaveRoutesThatAreGone(revision());
    const now = nowMs();
    this.#turnTo(Math.floor((now - this.#startedAtMs) / SLOT_MS));
    if (now - this.#reviewedAtMs < REVIEW_MS) return;
    this.#reviewedAtMs = now;
    if (this.#wanting || this.#withSeries >= this.#limits.series) this.#review();
  }

  #leaveRoutesThatAreGone(revision: number): void {
    this.#revision = revision;
    for (const watched of this.#watched.values()) {
      if (this.#options.hasRoute(watched.host)) continue;
      if (watched.base !== null) this.#endSeries(watched);
      this.#watched.delete(watched.host);
    }
  }

  #turnTo(slot: number): void {
    const from = Math.max(this.#slot + 1, slot - SLOTS + 1);
    for (let each = from; each <= slot; each++) {
      for (const { slots } of this.#watched.values()) slots[each % SLOTS] = null;
    }
    this.#slot = Math.max(this.#slot, slot);
  }

  #lastMinuteOf({ slots }: Watched): Row {
    const sum = emptyRow(this.#columns);
    for (const slot of slots) if (slot !== null) addRow(sum, slot);
    return sum;
  }

  /** The busiest without series take those of the least busy; the least busy without any make room. */
  #review(): void {
    const all = [...this.#watched.values()].map((watched) => ({ watched, busy: requestsInLastMinute(watched) }));
    all.sort((one, other) => one.busy - other.busy);
    const holders = all.filter(({ watched }) => watched.base !== null);
    const others = all.filter(({ watched }) => watched.base === null);
    for (const candidate of others.toReversed()) {
      const [idlest] = holders;
      const free = this.#withSeries < this.#limits.series;
      if (!free && (idlest === undefined || candidate.busy <= TIMES * idlest.busy + MORE)) break;
      if (!free) this.#endSeries(holders.shift()!.watched);
      this.#beginSeries(candidate.watched);
    }
    if (!this.#wanting) return;
    this.#wanting = false;
    const idle = all.filter(({ watched }) => watched.base === null);
    for (const { watched } of idle.slice(0, Math.ceil(idle.length * GIVEN_UP))) this.#watched.delete(watched.host);
  }
}

/** Where there is not room for all. */
function busiestFirst(hosts: HostReport["hosts"]): HostReport["hosts"] {
  const busy = hosts.map((host) => ({ host, requests: sparseRequests(host[1]) }));
  return busy.sort((one, other) => other.requests - one.requests).map(({ host }) => host);
}

function requestsInLastMinute({ slots }: Watched): number {
  let sum = 0;
  for (const slot of slots) if (slot !== null) sum += requestsOf(slot);
  return sum;
}
