/** What differs between two revisions, on its way to a worker: cut into batches one by one, as the worker takes them. */
import { changes, type RouteChange, type Routes } from "../table/routes.ts";
import { BatchWriter } from "./route-batch.ts";
import type { DownMessage } from "./worker-channel.ts";

/** A table that does not change any more. */
export interface Snapshot {
  /** 0 before the first table. */
  readonly revision: number;
  readonly routes: Routes;
}

/** Changes per message: some 0.1 ms to write, and 0.2 ms to read. */
export const BATCH = 512;

export class RouteTransfer {
  readonly #before: Snapshot;
  readonly #after: Snapshot;
  readonly #changes: Iterator<RouteChange>;
  readonly #writer: BatchWriter = new BatchWriter();
  #next: IteratorResult<RouteChange>;
  #first = true;

  constructor(before: Snapshot, after: Snapshot) {
    this.#before = before;
    this.#after = after;
    this.#changes = changes(before.routes, after.routes);
    this.#next = this.#changes.next();
  }

  get over(): boolean {
    return !this.#first && this.#next.done === true;
  }

  next(): Extract<DownMessage, { type: "routes" }> {
    const batch: RouteChange[] = [];
    for (; batch.length < BATCH && this.#next.done !== true; this.#next = this.#changes.next()) batch.push(this.#next.value);
    const first = this.#first;
    this.#first = false;
    const { revision } = this.#after;
    return { type: "routes", revision, base: this.#before.revision, first, last: this.over, ...this.#writer.write(batch) };
  }
}
