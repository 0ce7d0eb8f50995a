/*  The worker's end of the routes: brings its table to the revisions that it is told of, in slices that no request notices.
 *
 *           small, nothing waits: applied at once
 *   level <------------------------------------------.
 *     |  large, or others wait                        |
 *     '-----------------> drafting -- last batch --> settling ------> level
 *                          |    ^                       |
 *                          |    '------- more waits ----'
 *                          '-- it is for another revision: `resync`, then nothing counts until a whole table comes
 *
 *  Batches are worked in one after the other. Each is answered by `taken` when that is done, the last one of a revision when it is in
 *  force; what the table then moves about in memory holds up the next large delta, but not a small one.
 */
import type { RoutingTable, TableDraft } from "../table/routing-table.ts";
import { expandRoute } from "./route-batch.ts";
import type { DownMessage, UpMessage } from "./worker-channel.ts";

export interface RouteReceiverOptions {
  readonly table: RoutingTable;
  /** No route leads to these endpoints any more. */
  forget(keys: readonly string[]): void;
  send(message: UpMessage): void;
  /** Runs it in a later turn. */
  later(run: () => void): void;
  /** Also within a turn. */
  nowMs(): number;
}

type RoutesMessage = Extract<DownMessage, { type: "routes" }>;

/** What a turn may be longer for it. */
const SLICE_MS = 0.5;
/** Changes between two looks at the clock: some 20 us. */
const STEP = 32;
/** Changes that need no slices. */
const SMALL = 256;

export class RouteReceiver {
  readonly #options: RouteReceiverOptions;
  readonly #slice: () => void = () => this.#runSlice();
  #queue: RoutesMessage[] = [];
  /** Changes of the first in the queue that are done. */
  #done = 0;
  #draft: TableDraft | null = null;
  /** We have said `resync`. */
  #awaitsWhole = false;
  #armed = false;

  constructor(options: RouteReceiverOptions) {
    this.#options = options;
  }

  receive(message: RoutesMessage): void {
    if (this.#queue.length === 0 && this.#isSmall(message)) this.#takeAtOnce(message);
    else this.#queue.push(message);
    this.#arm();
  }

  #isSmall(message: RoutesMessage): boolean {
    return message.first && message.last && sizeOf(message) <= SMALL && (message.base !== 0 || this.#options.table.settled);
  }

  #takeAtOnce(message: RoutesMessage): void {
    const { table } = this.#options;
    this.#draft = null;
    if (message.base === 0) {
      this.#begin(message);
      this.#work(message, sizeOf(message));
      return this.#finish(message);
    }
    if (!this.#applies(message)) return this.#answer();
    const upserts = message.upserts.map((route) => expandRoute(route, message));
    this.#options.forget(table.apply({ upserts, removals: message.removals }, message.revision));
    this.#answer();
  }

  #arm(): void {
    if (this.#armed || !this.#hasWork) return;
    this.#armed = true;
    this.#options.later(this.#slice);
  }

  get #hasWork(): boolean {
    return this.#queue.length > 0 || !this.#options.table.settled;
  }

  #runSlice(): void {
    const { nowMs } = this.#options;
    const endAtMs = nowMs() + SLICE_MS;
    do this.#step(); while (this.#hasWork && nowMs() < endAtMs);
    this.#armed = false;
    this.#arm();
  }

  #step(): void {
    const { table, forget } = this.#options;
    if (!table.settled) return forget(table.settle(STEP));
    const message = this.#queue[0]!;
    if (this.#done === 0 && message.first) this.#begin(message);
    if (!this.#work(message, STEP)) return;
    this.#queue.shift();
    this.#finish(message);
  }

  #begin(message: RoutesMessage): void {
    this.#draft = this.#applies(message) ? this.#options.table.begin(message.base === 0) : null;
  }

  /** Whether the delta applies to the revision in force; if not, the control plane is told, once. */
  #applies({ base }: RoutesMessage): boolean {
    const { table } = this.#options;
    if (base === 0) this.#awaitsWhole = false;
    else if (base !== table.revision) this.#resync();
    return !this.#awaitsWhole;
  }

  #resync(): void {
    if (this.#awaitsWhole) return;
    this.#awaitsWhole = true;
    this.#options.send({ type: "resync", revision: this.#options.table.revision });
  }

  /** Up to `most` of the changes that are left; whether that was all of them. */
  #work(message: RoutesMessage, most: number): boolean {
    const draft = this.#draft;
    const { removals, upserts } = message;
    const end = draft === null ? sizeOf(message) : Math.min(this.#done + most, sizeOf(message));
    for (let at = this.#done; at < end && draft !== null; at++) {
      if (at < removals.length) draft.remove(removals[at]!);
      else draft.put(expandRoute(upserts[at - removals.length]!, message));
    }
    this.#done = end;
    return end === sizeOf(message);
  }

  #finish(message: RoutesMessage): void {
    this.#done = 0;
    if (this.#draft === null) this.#resync();
    else if (message.last) {
      this.#options.table.commit(this.#draft, message.revision);
      this.#draft = null;
    }
    this.#answer();
  }

  #answer(): void {
    this.#options.send({ type: "taken", revision: this.#options.table.revision });
  }
}

function sizeOf({ upserts, removals }: RoutesMessage): number {
  return upserts.length + removals.length;
}
