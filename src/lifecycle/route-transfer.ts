/** One delta, or the whole table, on its way to a worker: cut into batches one by one, as the worker takes them. */
import type { RouteRecord } from "../table/record.ts";
import { changes, type Routes } from "../table/routes.ts";
import { compactBatch } from "./route-batch.ts";
import type { DownMessage } from "./worker-channel.ts";

/** A table that does not change any more. */
export interface Snapshot {
  /** 0 before the first table. */
  readonly revision: number;
  readonly routes: Routes;
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

  private constructor(delta: { upserts: Sized<RouteRecord>; removals: Sized<string> }, base: number, revision: number) {
    this.base = base;
    this.revision = revision;
    this.#upserts = delta.upserts[Symbol.iterator]();
    this.#removals = delta.removals[Symbol.iterator]();
    this.#upsertsLeft = delta.upserts.length;
    this.#removalsLeft = delta.removals.length;
  }

  static ofTable({ routes, revision }: Snapshot): RouteTransfer {
    function* upserts(): Iterable<RouteRecord> {
      for (const [host, { endpoints }] of routes.entries()) yield { host, endpoints };
    }
    return new RouteTransfer(
      { upserts: { length: routes.size, [Symbol.iterator]: () => upserts()[Symbol.iterator]() }, removals: [] },
      0,
      revision,
    );
  }

  /** From one revision to another. */
  static between(before: Snapshot, after: Snapshot): RouteTransfer {
    const upserts: RouteRecord[] = [], removals: string[] = [];
    for (const { host, after: service } of changes(before.routes, after.routes)) {
      if (service === undefined) removals.push(host);
      else upserts.push({ host, endpoints: service.endpoints });
    }
    return new RouteTransfer({ upserts, removals }, before.revision, after.revision);
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
