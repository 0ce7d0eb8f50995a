/*  The worker's end of the routes: brings its table to the revisions that it is told of, in slices that no request notices.
 *
 *           small, nothing waits: applied at once
 *   level <----------------------------------------------------.
 *     |  large, or others wait                                  |
 *     '-----------------> drafting -- last batch --> finishing -'
 *                           |  ^                        |
 *                           |  '------ more waits ------'
 *                           '-- it is for another revision: `resync`, then nothing counts until a whole table comes
 *
 *  Batches are worked in one after the other. Each is answered by `taken` when that is done, the last one of a revision when it is in
 *  force.
 */
import { type Routes, RoutesDraft } from "../table/routes.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import { Services } from "../table/services.ts";
import { BatchReader } from "./route-batch.ts";
import type { DownMessage, UpMessage } from "./worker-channel.ts";

export interface RouteReceiverOptions {
  readonly table: RoutingTable;
  /** A revision has come into force. */
  committed(): void;
  send(message: UpMessage): void;
  /** Runs it in a later turn. */
  later(run: () => void): void;
  /** Also within a turn. */
  nowMs(): number;
  /** Called now and then while a large first table is worked in: nobody is served yet, so it may take its time. */
  tidy?(): void;
}

type RoutesMessage = Extract<DownMessage, { type: "routes" }>;

/** A revision that is being made. */
interface Drafting {
  readonly draft: RoutesDraft;
  readonly reader: BatchReader;
  /** Once all of it has been read. */
  finishing: Iterator<void, Routes> | null;
}

/** What a turn may be longer for it. */
const SLICE_MS = 0.5;
/** Changes between two looks at the clock. */
const STEP = 64;
/** Changes that need no slices: 0.5 ms in a table of a million. */
const SMALL = 64;
/** Routes of a first table after which it is time to tidy up: some 10 MB of them. */
const TIDY = 200_000;

export class RouteReceiver {
  readonly #options: RouteReceiverOptions;
  readonly #slice: () => void = () => this.#runSlice();
  readonly #services: Services = new Services();
  /** The first is being worked in. */
  #queue: RoutesMessage[] = [];
  #begun = false;
  #drafting: Drafting | null = null;
  /** We have said `resync`. */
  #awaitsWhole = false;
  #armed = false;
  #untidied = 0;

  constructor(options: RouteReceiverOptions) {
    this.#options = options;
  }

  receive(message: RoutesMessage): void {
    this.#queue.push(message);
    const small = this.#queue.length === 1 && message.first && message.last && message.size <= SMALL;
    if (small) { while (this.#queue[0] === message) this.#step(); }
    this.#arm();
  }

  #arm(): void {
    if (this.#armed || this.#queue.length === 0) return;
    this.#armed = true;
    this.#options.later(this.#slice);
  }

  #runSlice(): void {
    const { nowMs } = this.#options;
    const endAtMs = nowMs() + SLICE_MS;
    do this.#step(); while (this.#queue.length > 0 && nowMs() < endAtMs);
    this.#armed = false;
    this.#arm();
  }

  #step(): void {
    const message = this.#queue[0]!;
    if (!this.#begun) this.#begin(message);
    const drafting = this.#drafting;
    if (drafting === null) return this.#end();
    if (drafting.finishing === null) {
      if (!drafting.reader.read(STEP)) return;
      if (!message.last) return this.#end();
      drafting.finishing = drafting.draft.finishing(this.#options.table.routes);
    }
    const next = drafting.finishing.next();
    if (next.done !== true) return;
    this.#drafting = null;
    this.#options.table.commit(next.value, message.revision, this.#options.nowMs());
    this.#options.committed();
    this.#end();
  }

  #begin(message: RoutesMessage): void {
    this.#begun = true;
    if (message.first) this.#drafting = this.#applies(message) ? this.#newDraft(message) : null;
    if (this.#drafting === null) this.#resync();
    else this.#drafting.reader.begin(message);
  }

  #newDraft({ base }: RoutesMessage): Drafting {
    const draft = base === 0 ? new RoutesDraft() : this.#options.table.routes.draft();
    return { draft, reader: new BatchReader(draft, this.#services), finishing: null };
  }

  /** Whether the delta applies to the revision in force. */
  #applies({ base }: RoutesMessage): boolean {
    if (base === 0) this.#awaitsWhole = false;
    return base === 0 || !this.#awaitsWhole && base === this.#options.table.revision;
  }

  /** Tells the control plane, once. */
  #resync(): void {
    if (this.#awaitsWhole) return;
    this.#awaitsWhole = true;
    this.#options.send({ type: "resync", revision: this.#options.table.revision });
  }

  /** The message has been worked in, or does not count. */
  #end(): void {
    this.#begun = false;
    this.#untidied += this.#queue.shift()!.size;
    if (this.#untidied >= TIDY) {
      this.#untidied = 0;
      if (this.#options.table.revision === 0) this.#options.tidy?.();
    }
    this.#options.send({ type: "taken", revision: this.#options.table.revision });
  }
}
