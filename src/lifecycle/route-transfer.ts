/** One delta, or the whole table, on its way to a worker: cut into batches one by one, as the worker takes them. */
import type { RouteDelta, RouteRecord } from "../table/record.ts";
import { compactBatch } from "./route-batch.ts";
import type { DownMessage } from "./worker-channel.ts";

/** A table that does not change any more. */
export interface Snapshot {
  /** 0 before the first table. */
  readonly revision: number;
  readonly routes: ReadonlyMap<string, RouteRecord>;
}

/** Changes per message: some 50 us to write and read. */
export const BATCH = 256;

export class RouteTransfer {
  readonly base: number;
  readonly revision: number;
  readonly #upserts: Iterator<RouteRecord>;
  readonly #removals: Iterator<string>;
  #upsertsLeft: number;
  #removalsLeft: number;
  #first = true;

  constructor(delta: { upserts: Sized<RouteRecord>; removals: Sized<string> }, base: number, revision: number) {
    this.base = base;
    this.revision = revision;
    this.#upserts = delta.upserts[Symbol.iterator]();
    this.#removals = delta.removals[Symbol.iterator]();
    this.#upsertsLeft = delta.upserts.length;
    this.#removalsLeft = delta.removals.length;
  }

  static ofTable({ routes, revision }: Snapshot): RouteTransfer {
    const upserts = { length: routes.size, [Symbol.iterator]: () => routes.values() };
    return new RouteTransfer({ upserts, removals: [] }, 0, revision);
  }

  get over(): boolean {
    return !this.#first && this.#upsertsLeft + this.#removalsLeft === 0;
  }

  next(): Extract<DownMessage, { type: "routes" }> {
    const removals = take(this.#removals, Math.min(this.#removalsLeft, BATCH));
    const upserts = take(this.#upserts, Math.min(this.#upsertsLeft, BATCH - removals.length));
    this.#removalsLeft -= removals.length;
    this.#upsertsLeft -= upserts.length;
    const first = this.#first;
    this.#first = false;
    const { revision, base } = this;
    return { type: "routes", revision, base, first, last: this.over, ...compactBatch(upserts, removals) };
  }
}

interface Sized<T> extends Iterable<T> {
  readonly length: number;
}

function take<T>(values: Iterator<T>, count: number): T[] {
  return Array.from({ length: count }, () => values.next().value as T);
}

/** Several deltas in a row as one: what came last for a host counts. */
export function mergeDeltas(deltas: readonly RouteDelta[]): RouteDelta {
  if (deltas.length === 1) return deltas[0]!;
  const changes = new Map<string, RouteRecord | null>();
  for (const { upserts, removals } of deltas) {
    for (const host of removals) changes.set(host, null);
    for (const route of upserts) changes.set(route.host, route);
  }
  const upserts = [...changes.values()].filter((route) => route !== null);
  const removals = [...changes].flatMap(([host, route]) => route === null ? [host] : []);
  return { upserts, removals };
}
