/*  The last good table: kept on disk after changes, read at a start while the database is silent.
 *
 *             keep: other routes, after 1 s and a pause of 5 s or more; only younger ones, after 2 min
 *   idle ---------------------------------------------------------------> writing
 *     ^                                                                      |
 *     |------------------------------- written ------------------------------|
 *     '--- failed: again after 5 s, doubling up to 5 min, told once ---------'
 *   close: what is unsaved is written within 2 s; retire: nothing is written any more. Both final
 *
 *  What is kept is what the source last said and the guards let pass: a pinned revision is what an operator wants now, not what the next
 *  process should begin with, and a reading that is held back may be a half-restored database.
 *  Nothing that fails here is more than a warning: traffic does not need the disk.
 */
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { Routes } from "../table/routes.ts";
import type { Services } from "../table/services.ts";
import type { SavedTable } from "./last-good-file.ts";
import type { LastGoodFolder } from "./last-good-folder.ts";

export interface LastGoodOptions {
  readonly folder: Pick<LastGoodFolder, "path" | "read" | "write">;
  /** Of the source, so that what it says can be compared with the file. */
  readonly services: Services;
  readonly log: Log;
  readonly timers: Timers;
}

/** A table that is worth keeping. */
export interface GoodTable {
  readonly routes: Routes;
  readonly revision: number;
  /** When it was last known to be what the source says. */
  readonly asOfMs: number;
  /** Name of the source. */
  readonly source: string;
}

export interface LastGoodFigures {
  readonly path: string;
  readonly writes: number;
  readonly failures: number;
  readonly lastWriteAtMs: number | null;
  /** null while all is well. */
  readonly lastError: string | null;
}

/** Changes seldom come alone. */
const FIRST_MS = 1000;
const PAUSE_MS = 5000;
/** The pause is as many times as long as the last write, if that is more: large tables that always change must not keep the disk busy. */
const PAUSE_TIMES = 30;
/** How much too old the file may call a table that stays as it is. */
const AGE_MS = 2 * 60_000;
const MOST_RETRY_MS = 5 * 60_000;
const CLOSE_MS = 2000;

export class LastGood {
  readonly #folder: LastGoodOptions["folder"];
  readonly #services: Services;
  readonly #log: Log;
  readonly #timers: Timers;
  /** Ends a write that is under way. */
  readonly #ending = new AbortController();
  #table: GoodTable | null = null;
  #written: Routes | null = null;
  #writing: Promise<void> | null = null;
  #cancelTimer: CancelTimer = () => {};
  #dueAtMs = Infinity;
  #isOver = false;
  #notBeforeMs = 0;
  #writes = 0;
  #failures = 0;
  /** In a row. */
  #misses = 0;
  #lastWriteAtMs: number | null = null;
  /** How long it took. */
  #lastWriteMs = 0;
  #lastError: string | null = null;

  constructor({ folder, services, log, timers }: LastGoodOptions) {
    this.#folder = folder;
    this.#services = services;
    this.#log = log;
    this.#timers = timers;
  }

  /** Resolves with null where there is none that can be believed; the log then says why. */
  async read(signal: AbortSignal): Promise<SavedTable | null> {
    const startMs = this.#timers.nowMs();
    const found = await this.#folder.read(this.#services, signal).catch((error: Error) => error.message);
    if (signal.aborted) return null;
    const file = this.#folder.path;
    if (typeof found === "string") this.#log.warn("last good table not used", { file, reason: found });
    if (found === null || typeof found === "string") return null;
    const nowMs = this.#timers.nowMs();
    this.#log.info("last good table read", {
      file,
      routes: found.routes.size,
      "age_seconds": Math.round(Math.max(0, nowMs - found.header.asOfMs) / 1000),
      "duration_ms": Math.round(nowMs - startMs),
    });
    this.#written = found.routes;
    this.#lastWriteAtMs = nowMs;
    return found;
  }

  /** Told after every reading that is good, also when nothing has changed; the latest one is what is written. */
  keep(table: GoodTable): void {
    if (this.#isOver) return;
    this.#table = table;
    if (this.#writing === null) this.#schedule();
  }

  figures(): LastGoodFigures {
    return {
      path: this.#folder.path,
      writes: this.#writes,
      failures: this.#failures,
      lastWriteAtMs: this.#lastWriteAtMs,
      lastError: this.#lastError,
    };
  }

  /** A successor serves, whose file this is now. */
  retire(): void {
    this.#isOver = true;
    this.#cancelTimer();
    this.#ending.abort(new Error("A successor writes the table"));
  }

  /** Resolves within two seconds, also when a call to the disk never returns. */
  async close(): Promise<void> {
    this.#cancelTimer();
    const { promise: tooLate, resolve } = Promise.withResolvers<void>();
    const cancel = this.#timers.after(CLOSE_MS, () => {
      this.#ending.abort(new Error("There is no more time to write the table"));
      resolve();
    });
    await Promise.race([this.#writeLast(), tooLate]);
    cancel();
    this.retire();
  }

  async #writeLast(): Promise<void> {
    await this.#writing;
    const table = this.#table;
    if (this.#ending.signal.aborted || table === null || table.routes === this.#written) return;
    this.#writing = this.#write(table);
    await this.#writing;
  }

  #schedule(): void {
    const table = this.#table;
    if (this.#isOver || table === null) return;
    const nowMs = this.#timers.nowMs();
    const last = this.#lastWriteAtMs ?? -Infinity;
    const pauseMs = Math.min(Math.max(PAUSE_MS, PAUSE_TIMES * this.#lastWriteMs), AGE_MS);
    const wishMs = table.routes === this.#written ? Math.max(last + AGE_MS, nowMs) : Math.max(last + pauseMs, nowMs + FIRST_MS);
    const dueAtMs = Math.max(wishMs, this.#notBeforeMs);
    if (dueAtMs >= this.#dueAtMs) return;
    this.#cancelTimer();
    this.#dueAtMs = dueAtMs;
    this.#cancelTimer = this.#timers.after(dueAtMs - nowMs, () => this.#begin());
  }

  #begin(): void {
    this.#dueAtMs = Infinity;
    const table = this.#table;
    if (table === null || this.#isOver) return;
    this.#writing = this.#write(table).then(() => {
      this.#writing = null;
      // What has been told meanwhile
      if (this.#table !== table || this.#misses > 0) this.#schedule();
    });
  }

  async #write(table: GoodTable): Promise<void> {
    const { routes, ...header } = table;
    try {
      const savedAtMs = this.#timers.nowMs();
      const written = await this.#folder.write({ ...header, savedAtMs }, routes, this.#ending.signal);
      if (written) this.#writes++;
      this.#lastWriteMs = this.#timers.nowMs() - savedAtMs;
      this.#written = routes;
      this.#succeed();
    } catch (error) {
      if (!this.#isOver) this.#fail((error as Error).message);
    }
  }

  #succeed(): void {
    if (this.#lastError !== null) this.#log.info("last good table kept again", { file: this.#folder.path, failures: this.#misses });
    this.#lastWriteAtMs = this.#timers.nowMs();
    this.#lastError = null;
    this.#misses = 0;
  }

  /** One line until it has worked again. */
  #fail(message: string): void {
    if (this.#lastError === null) this.#log.warn("cannot keep the last good table", { file: this.#folder.path, error: message });
    this.#lastError = message;
    this.#failures++;
    this.#notBeforeMs = this.#timers.nowMs() + Math.min(PAUSE_MS * 2 ** this.#misses++, MOST_RETRY_MS);
  }
}
