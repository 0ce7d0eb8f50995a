/*  Keeps the table as the source says it.
 *
 *           timer, refreshNow                ok: after the interval
 *   idle ---------------------> reading ---------------------------------> idle
 *                               |  ^  '-- failed: after a back-off ------> idle, the table stays as it was
 *          refreshNow meanwhile '--'      (exactly one more reading, however many ask)
 *   stop: stopped, final
 *
 *  Both delays have 10 % jitter, so that a fleet that lost its database does not come back in step.
 *  A reading becomes a delta against the table and is published as one revision; a reading that changes nothing is not.
 *
 *  The change feed (see `source.ts`) will add one arrow: hosts that the feed names are read alone and published the same way;
 *  the interval then only bounds how long a mistake of the feed can live. The last good table (`last-good`) will be a source
 *  that is read once, before the first reading here.
 */
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { BadRow } from "../table/compile.ts";
import { diffTable, type TableDiff } from "../table/diff.ts";
import type { RouteDelta, RouteRecord } from "../table/record.ts";
import { type BlastRadius, step } from "./blast-radius.ts";
import { describeError } from "./database-client.ts";
import type { RegionRow, Source, SourceReading } from "./source.ts";

export interface RefresherOptions {
  readonly source: Source;
  readonly intervalMs: number;
  readonly log: Log;
  readonly timers: Timers;
  /** 0 to 1. */
  readonly random: () => number;
  /** Called with each change, in order, when `table` has it already. `before`: the table without it, empty before revision 1. */
  readonly publish: (delta: RouteDelta, revision: number, before: ReadonlyMap<string, RouteRecord>) => void;
}

/** What readiness, metrics and the admin API show. */
export interface RefreshStatus {
  /** 0 before the first table. */
  readonly revision: number;
  readonly routes: number;
  /** When the table was last known to be what the source says. */
  readonly lastSuccessAtMs: number | null;
  readonly lastAttemptAtMs: number | null;
  /** null while all is well. */
  readonly lastError: string | null;
  readonly refreshes: number;
  readonly failures: number;
  /** Routes that a held reading would remove; 0 = nothing is held. */
  readonly held: number;
  readonly badRows: number;
  readonly lastDurationMs: number;
  readonly regions: readonly RegionRow[];
}

const FIRST_RETRY_MS = 250;
const JITTER = 0.1;
/** Per reading; the rest is one line with their number. */
const MOST_BAD_ROW_LINES = 20;

export class Refresher {
  /** Resolves once there is a table. */
  readonly loaded: Promise<void>;
  readonly #options: RefresherOptions;
  readonly #stopping = new AbortController();
  readonly #setLoaded: () => void;
  #table: ReadonlyMap<string, RouteRecord> = new Map();
  #guard: BlastRadius = { state: "open" };
  #regions: readonly RegionRow[] = [];
  #loggedBadRows: ReadonlySet<string> = new Set();
  #reading: Promise<void> | null = null;
  #queued: Promise<void> | null = null;
  #cancelTimer: CancelTimer = () => {};
  #revision = 0;
  #refreshes = 0;
  #failures = 0;
  /** In a row, for the back-off. */
  #misses = 0;
  #badRows = 0;
  #lastSuccessAtMs: number | null = null;
  #lastAttemptAtMs: number | null = null;
  #lastError: string | null = null;
  #lastDurationMs = 0;

  constructor(options: RefresherOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.loaded = promise;
    this.#setLoaded = resolve;
  }

  start(): void {
    void this.refreshNow("start");
  }

  /** Resolves, never rejects, after a reading that began after this call. */
  refreshNow(reason: string): Promise<void> {
    if (this.#reading === null) return this.#begin(reason);
    this.#queued ??= this.#reading.then(() => {
      this.#queued = null;
      return this.#begin(reason);
    });
    return this.#queued;
  }

  /** The records served now; a reader may keep it, it does not change. */
  get table(): ReadonlyMap<string, RouteRecord> {
    return this.#table;
  }

  /** Of the records served now; 0 before the first table. */
  get revision(): number {
    return this.#revision;
  }

  status(): RefreshStatus {
    return {
      revision: this.#revision,
      routes: this.#table.size,
      lastSuccessAtMs: this.#lastSuccessAtMs,
      lastAttemptAtMs: this.#lastAttemptAtMs,
      lastError: this.#lastError,
      refreshes: this.#refreshes,
      failures: this.#failures,
      held: this.#guard.state === "holding" ? this.#guard.removals.size : 0,
      badRows: this.#badRows,
      lastDurationMs: this.#lastDurationMs,
      regions: this.#regions,
    };
  }

  /** Gives up a running reading. The source is closed by whoever made it. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("The refresher is stopped"));
    this.#cancelTimer();
    await this.#reading;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  #begin(reason: string): Promise<void> {
    this.#cancelTimer();
    if (this.#stopped) return Promise.resolve();
    this.#reading = this.#refresh(reason).then(() => {
      this.#reading = null;
      if (this.#queued === null) this.#schedule();
    });
    return this.#reading;
  }

  #schedule(): void {
    if (this.#stopped) return;
    const { intervalMs, random, timers } = this.#options;
    const delayMs = this.#misses === 0 ? intervalMs : Math.min(FIRST_RETRY_MS * 2 ** (this.#misses - 1), intervalMs);
    const jittered = delayMs * (1 - JITTER + 2 * JITTER * random());
    this.#cancelTimer = timers.after(jittered, () => void this.refreshNow(this.#misses === 0 ? "interval" : "retry"));
  }

  async #refresh(reason: string): Promise<void> {
    const { source, timers } = this.#options;
    const startMs = timers.nowMs();
    this.#lastAttemptAtMs = startMs;
    try {
      const reading = await source.read(this.#stopping.signal);
      if (this.#stopped) return;
      this.#lastDurationMs = timers.nowMs() - startMs;
      this.#take(reading, reason);
      this.#recordSuccess();
    } catch (error) {
      if (!this.#stopped) this.#recordFailure(describeError(error));
    }
  }

  #take(reading: SourceReading, reason: string): void {
    this.#regions = reading.regions;
    this.#badRows = reading.badRowCount;
    this.#logBadRows(reading);
    const diff = diffTable(this.#table, reading.routes);
    const { guard, apply } = step(this.#guard, this.#table.size, diff.delta.removals);
    this.#guard = guard;
    if (!apply) return this.#logHeld(diff);
    this.#publish(diff, reason);
    this.#lastSuccessAtMs = this.#options.timers.nowMs();
  }

  #publish(diff: TableDiff, reason: string): void {
    const { added, removed, changed, table, delta } = diff;
    const first = this.#revision === 0;
    if (!first && added + removed + changed === 0) return;
    const before = this.#table;
    this.#revision++;
    this.#table = table;
    this.#options.publish(delta, this.#revision, before);
    this.#options.log.info("routes changed", {
      added,
      removed,
      changed,
      routes: table.size,
      revision: this.#revision,
      duration_ms: Math.round(this.#lastDurationMs),
      reason,
    });
    if (first) this.#setLoaded();
  }

  #recordSuccess(): void {
    const { log, source } = this.#options;
    if (this.#lastError !== null) log.info("source of routes is back", { source: source.name, failures: this.#misses });
    this.#refreshes++;
    this.#misses = 0;
    this.#lastError = null;
  }

  /** An outage of an hour is one line, not one for each try. */
  #recordFailure(message: string): void {
    const { log, source } = this.#options;
    if (message !== this.#lastError) {
      log.error("cannot read routes", { source: source.name, error: message, routes: this.#table.size });
    }
    this.#failures++;
    this.#misses++;
    this.#lastError = message;
  }

  #logHeld(diff: TableDiff): void {
    this.#options.log.warn("refresh held back: it would remove most of the routes", {
      removed: diff.removed,
      routes: this.#table.size,
      added: diff.added,
      changed: diff.changed,
    });
  }

  #logBadRows(reading: SourceReading): void {
    const { log } = this.#options;
    const seen = new Set<string>();
    const fresh: BadRow[] = [];
    for (const row of reading.badRows) {
      const identity = `${row.domain}\n${row.reason}`;
      if (!seen.has(identity) && !this.#loggedBadRows.has(identity)) fresh.push(row);
      seen.add(identity);
    }
    this.#loggedBadRows = seen;
    for (const row of fresh.slice(0, MOST_BAD_ROW_LINES)) log.warn("bad row skipped", { domain: row.domain, reason: row.reason });
    if (fresh.length > MOST_BAD_ROW_LINES) log.warn("more bad rows skipped", { count: fresh.length - MOST_BAD_ROW_LINES });
  }
}
