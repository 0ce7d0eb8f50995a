/*  What is served, revision by revision. A reading is compared in slices with the good table, which is what the source last said and the
 *  guards let pass; what they let through becomes the good table, and the next revision unless an old one is pinned:
 *
 *    reading --> compare (slices) --> blast radius --> flapping --> good --> prepare (slices) --> in force --> told (publish)
 *                                       |                             '----> pinned: served when the pin ends
 *                                       '-----> held, nothing changes
 *
 *  One thing is done at a time, in the order in which it was asked for. Whoever looks meanwhile sees the revision before, whole.
 */
import type { Log } from "../observation/log.ts";
import { inSlices, piecesInSlices } from "../runtime/in-slices.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import { changes, type RouteChange, Routes, serviceChanges } from "../table/routes.ts";
import type { Service } from "../table/services.ts";
import { type BlastRadius, OPEN, step } from "./blast-radius.ts";
import { ChangeReport } from "./change-report.ts";
import { Flapping, type FlappingHost } from "./flapping.ts";
import { FREE, type Pin, stepPin } from "./pin.ts";
import { RevisionHistory } from "./revision-history.ts";
import type { TellState } from "./source-health.ts";

export interface ServedTableOptions {
  readonly log: Log;
  readonly timers: Timers;
  /** How often a flapping host is followed. */
  readonly intervalMs: number;
  /** Before a revision is in force. Done when the promise is. */
  readonly prepare: (before: Routes, after: Routes) => Promise<void> | void;
  /** Called with each revision, in order, when it is in force. `before`: the routes without it, none before revision 1. */
  readonly publish: (before: Routes) => void;
  readonly tell?: TellState;
}

/** What differs between two revisions. */
export interface Tally {
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
}

/** For log and history. */
export interface Cause {
  readonly reason: string;
  /** Name of the source. */
  readonly source: string;
  readonly durationMs: number;
}

/** `gone`: its routes have been let go. */
export type PinAnswer = "pinned" | "unknown" | "gone";

/** The first reading of everything since the one that is held decides about it. */
interface Offer {
  readonly routes: Routes;
  /** What the guard looks at: also routes that are known to go, because it has been said twice that their policies are wrong. */
  readonly guarded?: Routes;
  readonly fresh: boolean;
}

export class ServedTable {
  readonly history: RevisionHistory = new RevisionHistory();
  readonly #options: ServedTableOptions;
  readonly #flapping: Flapping;
  readonly #report: ChangeReport;
  #routes: Routes = Routes.none;
  #good: Routes = Routes.none;
  #goodCause: Cause | null = null;
  #revision = 0;
  #guard: BlastRadius<Routes> = OPEN;
  #pin: Pin = FREE;
  #cancelPin: CancelTimer = () => {};
  /** What is done last of all that was asked for. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ServedTableOptions) {
    this.#options = options;
    this.#flapping = new Flapping(options.intervalMs);
    this.#report = new ChangeReport(options.log, options.timers);
  }

  get routes(): Routes {
    return this.#routes;
  }

  /** What the source last said and the guards let pass: not what is served while a revision is pinned. */
  get good(): Routes {
    return this.#good;
  }

  /** Whose words the good table is; null before the first. */
  get source(): string | null {
    return this.#goodCause?.source ?? null;
  }

  /** 0 before the first table. */
  get revision(): number {
    return this.#revision;
  }

  get pin(): Pin {
    return this.#pin;
  }

  /** Routes that a held reading would remove; 0 = nothing is held. */
  get held(): number {
    return this.#guard.state === "holding" ? this.#guard.removals : 0;
  }

  /** What is held; null: nothing. */
  get heldReading(): Routes | null {
    return this.#guard.state === "holding" ? this.#guard.reading : null;
  }

  get flapping(): readonly FlappingHost[] {
    return this.#flapping.list();
  }

  /** The first table of all; where there is one already, nothing happens. */
  begin(routes: Routes, cause: Cause): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#revision > 0) return false;
      await this.#take(routes, cause);
      return true;
    });
  }

  /** Whether the guards let it pass. `fresh`: everything was read, long enough after a reading that is held. */
  offer(offer: Offer, cause: Cause): Promise<boolean> {
    return this.#inTurn(() => this.#offer(offer, cause));
  }

  /** Serves an old revision from now on, whatever the source says. */
  pinTo(revision: number, forMs: number): Promise<PinAnswer> {
    return this.#inTurn(async () => {
      const found = this.history.find(revision);
      if (found === undefined) return "unknown";
      if (found.after === null) return "gone";
      const { log, timers } = this.#options;
      const nowMs = timers.nowMs();
      this.#pin = stepPin(this.#pin, { type: "pin", revision, nowMs, untilAtMs: nowMs + forMs });
      this.#cancelPin();
      this.#cancelPin = timers.after(forMs, () => void this.#expire());
      this.#report.flush(); // in the order of what happened
      log.warn("revision pinned: the table does not follow its source", { revision, until: new Date(nowMs + forMs).toISOString() });
      await this.#publish(found.after, { reason: `pin of ${revision}`, source: found.source, durationMs: 0 });
      return "pinned";
    });
  }

  /** Serves what the source says now. Whether there was a pin. */
  unpin(): Promise<boolean> {
    return this.#inTurn(() => this.#unpin("unpin"));
  }

  /** No timer runs any more. */
  close(): void {
    this.#cancelPin();
    this.#report.flush();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {}); // whoever asked hears of it
    return done;
  }

  async #offer({ routes, guarded = routes, fresh }: Offer, cause: Cause): Promise<boolean> {
    if (this.#revision === 0) {
      await this.#take(routes, cause);
      return true;
    }
    const tally = await compare(this.#good, guarded);
    if (!await this.#passesGuard(guarded, fresh, tally)) return false;
    const calmed = await this.#calmed(routes);
    await this.#take(calmed, cause, calmed === guarded && this.#routes === this.#good ? tally : null);
    return true;
  }

  async #passesGuard(routes: Routes, fresh: boolean, tally: Tally): Promise<boolean> {
    const bringsBack = await this.#bringsBack(routes);
    const { guard, apply } = step(this.#guard, this.#good.size, { reading: routes, removals: tally.removed, bringsBack, fresh });
    if (!apply && guard !== this.#guard) this.#tellHeld(tally);
    if (apply && this.#guard.state === "holding") this.#options.tell?.("released", "");
    this.#guard = guard;
    return apply;
  }

  /** The reading without the changes of flapping hosts that are not to be taken now. */
  async #calmed(reading: Routes): Promise<Routes> {
    const nowMs = this.#options.timers.nowMs();
    const refused: RouteChange[] = [];
    await inSlices(changes(this.#good, reading), (change) => {
      if (!this.#flapping.admits(change, nowMs)) refused.push(change);
    });
    this.#logFlapping(reading, nowMs);
    if (refused.length === 0) return reading;
    const draft = reading.draft();
    for (const { host, before } of refused) {
      if (before === undefined) draft.remove(host);
      else draft.put(host, before);
    }
    return await piecesInSlices(draft.finishing(this.#good));
  }

  /** `tally`: what differs from the served routes, where that is known. */
  async #take(routes: Routes, cause: Cause, tally: Tally | null = null): Promise<void> {
    this.#good = routes;
    this.#goodCause = cause;
    if (this.#pin.state === "free") await this.#publish(routes, cause, tally);
  }

  async #publish(routes: Routes, cause: Cause, known: Tally | null = null): Promise<void> {
    const { prepare, publish, timers } = this.#options;
    const before = this.#routes;
    const tally = known ?? await compare(before, routes);
    const { added, removed, changed } = tally;
    if (this.#revision > 0 && added + removed + changed === 0) {
      this.#routes = routes;
      return;
    }
    const preparing = prepare(before, routes);
    if (preparing !== undefined) await preparing;
    this.#routes = routes;
    this.#revision++;
    const { reason, source, durationMs } = cause;
    this.history.record({ revision: this.#revision, atMs: timers.nowMs(), reason, source, tally, before, after: routes });
    publish(before);
    this.#report.tell({ revision: this.#revision, reason, source, tally, routes: routes.size, durationMs });
  }

  async #expire(): Promise<void> {
    await this.#inTurn(async () => {
      if (stepPin(this.#pin, { type: "tick", nowMs: this.#options.timers.nowMs() }) !== this.#pin) await this.#unpin("pin expired");
    }).catch((error) => this.#options.log.error("cannot end a pin", { error }));
  }

  async #unpin(reason: string): Promise<boolean> {
    if (this.#pin.state === "free") return false;
    this.#options.log.warn("revision no longer pinned: the table follows its source again", {
      revision: this.#pin.revision,
      reason,
    });
    this.#pin = stepPin(this.#pin, { type: "unpin" });
    this.#cancelPin();
    await this.#publish(this.#good, { ...this.#goodCause!, reason }); // it was pinned after the first table
    return true;
  }

  async #bringsBack(routes: Routes): Promise<boolean> {
    if (this.#guard.state === "open") return false;
    let back = false;
    await inSlices(changes(this.#guard.reading, routes), ({ host, before }) => {
      if (before === undefined && this.#good.get(host) !== undefined) back = true;
    });
    return back;
  }

  #tellHeld({ added, removed, changed }: Tally): void {
    this.#options.tell?.("held", `would remove ${removed} of ${this.#good.size} routes`);
    this.#options.log.warn("refresh held back: it would remove most of the routes", {
      removed,
      routes: this.#good.size,
      added,
      changed,
    });
  }

  #logFlapping(reading: Routes, nowMs: number): void {
    const { log } = this.#options;
    const { begun, ended } = this.#flapping.settle(reading, nowMs);
    for (const { host, changes, intervalMs } of begun) {
      log.warn("a route changes too often and is followed once per interval", { host, changes, interval_ms: intervalMs });
    }
    for (const { host, changes } of ended) log.info("a route is calm again", { host, changes });
  }
}

export async function compare(before: Routes, after: Routes): Promise<Tally> {
  const tally = { added: 0, removed: 0, changed: 0 };
  const count = (was: Service | undefined, is: Service | undefined): void => {
    if (was === undefined) tally.added++;
    else if (is === undefined) tally.removed++;
    else tally.changed++;
  };
  await piecesInSlices(serviceChanges(before, after, count));
  return tally;
}
