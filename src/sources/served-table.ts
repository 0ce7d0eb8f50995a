/*  What is served, revision by revision. A reading is compared with it in slices; what the guard lets through becomes the next revision:
 *
 *    reading --> compare (slices) --> guard --> prepare (slices) --> in force --> told (publish)
 *                                       '-----> held, nothing changes
 *
 *  Readings come one at a time. Whoever looks meanwhile sees the revision before, whole.
 */
import type { Log } from "../observation/log.ts";
import { inSlices } from "../runtime/in-slices.ts";
import { changes, Routes } from "../table/routes.ts";
import { type BlastRadius, OPEN, step } from "./blast-radius.ts";

export interface ServedTableOptions {
  readonly log: Log;
  /** Before a revision is in force. Done when the promise is. */
  readonly prepare: (before: Routes, after: Routes) => Promise<void> | void;
  /** Called with each revision, in order, when it is in force. `before`: the routes without it, none before revision 1. */
  readonly publish: (before: Routes) => void;
}

/** What differs between two revisions. */
export interface Tally {
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
}

/** For the log. */
export interface Cause {
  readonly reason: string;
  readonly durationMs: number;
}

/** The first reading of everything since the one that is held decides about it. */
interface Offer {
  readonly routes: Routes;
  readonly fresh: boolean;
}

export class ServedTable {
  readonly #options: ServedTableOptions;
  #routes: Routes = Routes.none;
  #revision = 0;
  #guard: BlastRadius = OPEN;

  constructor(options: ServedTableOptions) {
    this.#options = options;
  }

  get routes(): Routes {
    return this.#routes;
  }

  /** 0 before the first table. */
  get revision(): number {
    return this.#revision;
  }

  /** Routes that a held reading would remove; 0 = nothing is held. */
  get held(): number {
    return this.#guard.state === "holding" ? this.#guard.removals : 0;
  }

  /** Whether it is now what is served. `fresh`: everything was read, after any reading that is held. */
  async offer({ routes, fresh }: Offer, cause: Cause): Promise<boolean> {
    if (routes === this.#routes && this.#revision > 0) {
      this.#guard = OPEN;
      return true;
    }
    const tally = await compare(this.#routes, routes);
    const bringsBack = await this.#bringsBack(routes);
    const { guard, apply } = step(this.#guard, this.#routes.size, { routes, removals: tally.removed, bringsBack, fresh });
    const news = guard !== this.#guard;
    this.#guard = guard;
    if (apply) await this.#publish(routes, tally, cause);
    else if (news) this.#logHeld(tally);
    return apply;
  }

  async #publish(routes: Routes, tally: Tally, cause: Cause): Promise<void> {
    const { log, prepare, publish } = this.#options;
    const before = this.#routes;
    const { added, removed, changed } = tally;
    if (this.#revision > 0 && added + removed + changed === 0) return;
    const preparing = prepare(before, routes);
    if (preparing !== undefined) await preparing;
    this.#routes = routes;
    this.#revision++;
    publish(before);
    log.info("routes changed", {
      added,
      removed,
      changed,
      routes: routes.size,
      revision: this.#revision,
      duration_ms: Math.round(cause.durationMs),
      reason: cause.reason,
    });
  }

  async #bringsBack(routes: Routes): Promise<boolean> {
    if (this.#guard.state === "open") return false;
    let back = false;
    await inSlices(changes(this.#guard.reading, routes), ({ host, before }) => {
      if (before === undefined && this.#routes.get(host) !== undefined) back = true;
    });
    return back;
  }

  #logHeld({ added, removed, changed }: Tally): void {
    this.#options.log.warn("refresh held back: it would remove most of the routes", {
      removed,
      routes: this.#routes.size,
      added,
      changed,
    });
  }
}

export async function compare(before: Routes, after: Routes): Promise<Tally> {
  const tally = { added: 0, removed: 0, changed: 0 };
  await inSlices(changes(before, after), (change) => {
    if (change.before === undefined) tally.added++;
    else if (change.after === undefined) tally.removed++;
    else tally.changed++;
  });
  return tally;
}
