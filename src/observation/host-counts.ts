/*  What a worker counts of single hosts: of those that have a route, by the key of that route, and of all others together.
 *
 *      exchange ended --> slot of its host? --yes--> add
 *                              | no: which route, then: a slot that is free? --yes--> taken, add
 *                              '----------------------------------------------no----> add to the others, slot 0
 *
 *  A name without a route never gets a slot, and all names under a wildcard have one slot together, so nobody can fill them from
 *  outside. When slots were wanting, some of the least busy are given up within a second: so whoever is busy has one soon, however
 *  late it came, and keeps it. What has been counted leaves with `take`, no more than some hosts a second; the rest waits, and goes on
 *  counting.
 */
import {
  BUCKET_COLUMN,
  BYTES_IN_COLUMN,
  BYTES_OUT_COLUMN,
  COLUMNS,
  ERROR_COLUMN,
  type HostReport,
  MS_COLUMN,
  sparse,
} from "./host-figures.ts";

/** Of the routing table, what is needed here. */
export interface HostTable {
  readonly revision: number;
  readonly routes: { readonly wildcards: number };
  /** The host or wildcard of the table under which a host is found. */
  match(host: string): string | undefined;
}

/** One exchange that has ended. */
export interface Counted {
  readonly status: number;
  /** Address of an endpoint that was asked; empty: none. */
  readonly upstream: string;
  readonly bodyBytesIn: number;
  readonly bodyBytesOut: number;
}

export interface HostCountsLimits {
  /** Hosts that are told apart. */
  readonly slots: number;
  /** Hosts in a report, and how many more may be reported each second. */
  readonly reported: number;
}

const LIMITS: HostCountsLimits = { slots: 4096, reported: 1000 };
/** Names under wildcards whose wildcard is remembered. */
const ALIASES = 8192;
const SWEEP_MS = 1000;
/** Share of the slots; half of them at once would stop a worker for up to 10 ms. */
const GIVEN_UP = 1 / 8;
/** Of what has no slot. */
const OTHERS = 0;

export class HostCounts {
  readonly #table: HostTable;
  readonly #limits: HostCountsLimits;
  readonly #slots: Map<string, number> = new Map();
  /** Slots of names that a wildcard matches. */
  readonly #aliases: Map<string, number> = new Map();
  readonly #keys: string[] = [""];
  readonly #free: number[] = [];
  /** One after the other, slot 0 first. */
  readonly #rows: Float64Array;
  /** How busy, by slot: exchanges, of the last second all, of each second before half as many. */
  readonly #busy: Float64Array;
  readonly #isPending: Uint8Array;
  #pending: number[] = [];
  #wanting = false;
  #revision = 0;
  #sweptAtMs = -Infinity;
  #allowed: number;
  #takenAtMs = 0;

  constructor(table: HostTable, limits: HostCountsLimits = LIMITS) {
    this.#table = table;
    this.#limits = limits;
    this.#allowed = limits.reported;
    this.#rows = new Float64Array((limits.slots + 1) * COLUMNS);
    this.#busy = new Float64Array(limits.slots + 1);
    this.#isPending = new Uint8Array(limits.slots + 1);
  }

  /** `blame`: -1 for a good end; `bucket`: of DURATION_BUCKETS, -1 for a tunnel. On the hot path. */
  count(host: string, counted: Counted, blame: number, ms: number, bucket: number): void {
    const slot = this.#slots.get(host) ?? this.#slotFor(host, counted);
    if (slot < 0) return;
    if (this.#isPending[slot] === 0) {
      this.#isPending[slot] = 1;
      this.#pending.push(slot);
    }
    this.#busy[slot]!++;
    const rows = this.#rows;
    const start = slot * COLUMNS;
    const { status, bodyBytesIn, bodyBytesOut } = counted;
    rows[start + (status >= 600 ? 5 : status / 100 | 0)]!++;
    if (blame >= 0) rows[start + ERROR_COLUMN + blame]!++;
    rows[start + BYTES_IN_COLUMN]! += bodyBytesIn;
    rows[start + BYTES_OUT_COLUMN]! += bodyBytesOut;
    if (bucket < 0) return;
    rows[start + MS_COLUMN]! += ms;
    rows[start + BUCKET_COLUMN + bucket]!++;
  }

  /** What was counted since the last time, at most some hosts of it. */
  take(nowMs: number): HostReport {
    const { reported } = this.#limits;
    this.#allowed = Math.min(reported, this.#allowed + (nowMs - this.#takenAtMs) * reported / 1000);
    this.#takenAtMs = nowMs;
    const hosts: [string, number[]][] = [];
    const waiting: number[] = [];
    let other: number[] = [];
    for (const slot of this.#pending) {
      if (slot === OTHERS) other = this.#takeRow(slot);
      else if (hosts.length < Math.floor(this.#allowed)) hosts.push([this.#keys[slot]!, this.#takeRow(slot)]);
      else waiting.push(slot);
    }
    this.#pending = waiting;
    this.#allowed -= hosts.length;
    if (nowMs - this.#sweptAtMs >= SWEEP_MS) this.#sweep(nowMs);
    return { hosts, other };
  }

  /** -1: it has no route. */
  #slotFor(host: string, { upstream }: Counted): number {
    const alias = this.#aliases.get(host);
    if (alias !== undefined) return alias;
    const isFull = this.#slots.size >= this.#limits.slots;
    if (isFull) this.#wanting = true;
    // Whoever was forwarded has a route; whether it is a wildcard's matters only where there are some
    if (isFull && upstream !== "" && this.#table.routes.wildcards === 0) return OTHERS;
    const key = this.#table.match(host);
    if (key === undefined) return -1;
    const slot = this.#slots.get(key) ?? (isFull ? OTHERS : this.#occupy(key));
    if (key !== host && slot !== OTHERS) {
      if (this.#aliases.size >= ALIASES) this.#aliases.clear();
      this.#aliases.set(host, slot);
    }
    return slot;
  }

  #occupy(key: string): number {
    const slot = this.#free.pop() ?? this.#keys.length;
    this.#keys[slot] = key;
    this.#slots.set(key, slot);
    return slot;
  }

  #takeRow(slot: number): number[] {
    const start = slot * COLUMNS;
    const counts = sparse(this.#rows, start);
    this.#rows.fill(0, start, start + COLUMNS);
    this.#isPending[slot] = 0;
    return counts;
  }

  /** Gives up slots of routes that are gone and, where slots are wanting, some of the least busy. */
  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    const { revision } = this.#table;
    if (revision !== this.#revision) {
      for (const [key, slot] of this.#slots) if (this.#table.match(key) !== key) this.#vacate(key, slot);
      this.#aliases.clear();
      this.#revision = revision;
    }
    if (this.#wanting) this.#vacateSome();
    this.#pending = this.#pending.filter((slot) => this.#isPending[slot] === 1);
    for (const slot of this.#slots.values()) this.#busy[slot]! /= 2;
  }

  #vacateSome(): void {
    const busy = Float64Array.from(this.#slots.values(), (slot) => this.#busy[slot]!).sort();
    let left = Math.ceil(busy.length * GIVEN_UP);
    const most = busy[left - 1] ?? 0;
    for (const [key, slot] of this.#slots) {
      if (left === 0) break;
      if (this.#busy[slot]! > most) continue;
      this.#vacate(key, slot);
      left--;
    }
    this.#aliases.clear();
    this.#wanting = false;
  }

  /** What it has counted and not told is told of the others. */
  #vacate(key: string, slot: number): void {
    if (this.#isPending[slot] === 1) this.#tellOthers(slot);
    this.#slots.delete(key);
    this.#keys[slot] = "";
    this.#busy[slot] = 0;
    this.#free.push(slot);
  }

  #tellOthers(slot: number): void {
    const rows = this.#rows;
    for (let column = 0; column < COLUMNS; column++) rows[column]! += rows[slot * COLUMNS + column]!;
    rows.fill(0, slot * COLUMNS, (slot + 1) * COLUMNS);
    this.#isPending[slot] = 0;
    if (this.#isPending[OTHERS] === 1) return;
    this.#isPending[OTHERS] = 1;
    this.#pending.push(OTHERS);
  }
}
