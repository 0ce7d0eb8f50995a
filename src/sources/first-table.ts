/*  The last good table at a start. It is read beside the first reading of the source, and either stands in for that or is compared
 *  with it:
 *
 *    the source fails, or takes longer    -> it is served until the source answers
 *    the source's table lacks most of it  -> it is served, and the guards hold that reading back (`blast-radius`): a database that is
 *                                            being restored when the edge starts must not blank it either
 *    else                                 -> it is not served
 */
import type { Timers } from "../runtime/timers.ts";
import type { Routes } from "../table/routes.ts";
import { removesMost } from "./blast-radius.ts";
import type { LastGood } from "./last-good.ts";
import type { SavedTable } from "./last-good-file.ts";
import { compare, type ServedTable } from "./served-table.ts";

/** How long a source may take for the first table. */
const PATIENCE_MS = 250;
/** How long the source's first table waits for the file to be compared with: a million routes are read in half a second. */
const DISK_PATIENCE_MS = 2000;
/** As the source of a table. */
export const LAST_GOOD = "last good table";

export interface FirstTableOptions {
  readonly lastGood: Pick<LastGood, "read">;
  readonly served: ServedTable;
  /** There is a table. */
  readonly loaded: Promise<void>;
  readonly stopping: AbortSignal;
  readonly timers: Timers;
  /** The saved table is served. `doubted`: because of what the source says. */
  readonly begun: (saved: SavedTable, doubted: boolean) => void;
}

export class FirstTable {
  readonly #options: FirstTableOptions;
  readonly #startMs: number;
  readonly #reading: Promise<SavedTable | null>;
  #saved: SavedTable | null = null;
  /** The source has a table. */
  #answered = false;

  /** Begins to read the file. */
  constructor(options: FirstTableOptions) {
    const { lastGood, loaded, stopping, timers } = options;
    this.#options = options;
    this.#startMs = timers.nowMs();
    const unneeded = new AbortController();
    void loaded.then(() => unneeded.abort(new Error("There is a table")));
    this.#reading = lastGood.read(AbortSignal.any([stopping, unneeded.signal])).then((saved) => this.#saved = saved);
  }

  /** What the file says, as soon as it is known. */
  get routes(): Routes | undefined {
    return this.#saved?.routes;
  }

  /** Serves the file's table when the first reading ends without one, or takes long. */
  async standInFor(first: Promise<void>): Promise<void> {
    const patience = this.#wait(PATIENCE_MS);
    const saved = await this.#reading;
    if (saved === null) return;
    await Promise.race([first, patience]);
    if (!this.#answered) await this.#serve(saved, false);
  }

  /** Before the first table of the source is offered: serves the file's if the guards have to decide. */
  async precede(routes: Routes): Promise<void> {
    this.#answered = true;
    const saved = await Promise.race([this.#reading, this.#wait(DISK_PATIENCE_MS)]);
    if (saved === null) return;
    const { removed } = await compare(saved.routes, routes);
    if (removesMost(removed, saved.routes.size)) await this.#serve(saved, true);
  }

  async #serve(saved: SavedTable, doubted: boolean): Promise<void> {
    const { begun, served, stopping, timers } = this.#options;
    if (stopping.aborted) return;
    const cause = { reason: "start", source: LAST_GOOD, durationMs: timers.nowMs() - this.#startMs };
    if (await served.begin(saved.routes, cause)) begun(saved, doubted);
  }

  #wait(ms: number): Promise<null> {
    return new Promise((resolve) => this.#options.timers.after(ms, () => resolve(null)));
  }
}
