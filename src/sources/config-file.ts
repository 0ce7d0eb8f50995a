/*  The routes file on disk: read whole, within bounds, again when it changes and when somebody asks. What it says is in force as soon as it
 *  has been read; a bad one changes nothing, and everybody who looks is told why.
 */
import type { Log } from "../observation/log.ts";
import { OneAtATime } from "../runtime/one-at-a-time.ts";
import type { Timers } from "../runtime/timers.ts";
import { readAside } from "./aside-reading.ts";
import type { GoodFile } from "./file-reading.ts";
import { FileWatch } from "./file-watch.ts";

/** In one line of the log. */
const MOST_LOGGED = 100;

/** How a reading has ended. */
export type FileResult = "changed" | "unchanged" | "refused";

export interface ConfigFileOptions {
  readonly path: string;
  readonly regionId: string;
  /** What was read at the start. */
  readonly first: FirstFile;
  readonly log: Log;
  readonly timers: Timers;
  /** What it says from now on. */
  taken(file: GoodFile, reason: string): Promise<void> | void;
  tell?(result: "refused" | "recovered", problem: string): void;
}

/** `problems`: of the file that is there now; then the good one is what was in force before this process. Empty: there are none. */
export interface FirstFile {
  readonly good: GoodFile;
  readonly problems: readonly string[];
}

/** For readiness, metrics and the admin API. */
export interface ConfigFileStatus {
  readonly path: string;
  /** Of the last reading; empty: it was good. */
  readonly problems: readonly string[];
  /** Of what is in force. */
  readonly warnings: readonly string[];
  /** When what is in force was read first. */
  readonly loadedAtMs: number;
  readonly readAtMs: number;
  /** Since when it has been bad. */
  readonly badSinceMs: number | null;
  readonly results: Readonly<Record<FileResult, number>>;
}

export class ConfigFile {
  readonly #options: ConfigFileOptions;
  readonly #watch: FileWatch;
  readonly #readings: OneAtATime = new OneAtATime(() => this.#read());
  #reason = "change";
  #digest: string;
  #status: ConfigFileStatus;
  readonly #closing: AbortController = new AbortController();

  constructor(options: ConfigFileOptions) {
    const { path, first, timers } = options;
    this.#options = options;
    this.#digest = first.good.digest;
    const nowMs = timers.nowMs();
    this.#status = {
      path,
      problems: first.problems,
      warnings: first.good.warnings,
      loadedAtMs: nowMs,
      readAtMs: nowMs,
      badSinceMs: first.problems.length === 0 ? null : nowMs,
      results: { changed: 0, unchanged: 0, refused: 0 },
    };
    this.#watch = new FileWatch({ path, timers, changed: () => void this.reload("change") });
  }

  get status(): ConfigFileStatus {
    return this.#status;
  }

  start(): void {
    const { first } = this.#options;
    if (first.problems.length > 0) this.#complain(first.problems, "start");
    this.#watch.start();
  }

  /** Resolves after a reading that began after this call, when what it found has been taken. */
  reload(reason: string): Promise<void> {
    this.#reason = reason;
    return this.#readings.run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#watch.close();
    await this.#readings.running;
  }

  async #read(): Promise<void> {
    const { path, regionId, log, timers } = this.#options;
    const { signal } = this.#closing;
    const reason = this.#reason;
    try {
      const parsed = await readAside({ path, regionId, timers, signal });
      if (signal.aborted) return;
      if ("problems" in parsed) this.#refuse(parsed.problems, reason);
      else await this.#take(parsed, reason);
    } catch (error) {
      log.error("cannot take the routes file", { file: path, reason, error });
    }
  }

  #refuse(problems: readonly string[], reason: string): void {
    const known = problems.join("\n") === this.#status.problems.join("\n");
    this.#ended("refused", { problems, badSinceMs: this.#status.badSinceMs ?? this.#options.timers.nowMs() });
    if (known && reason === "change") return; // touched, and as bad as before
    this.#complain(problems, reason);
  }

  #complain(problems: readonly string[], reason: string): void {
    const { log, path, tell } = this.#options;
    const more = problems.length - MOST_LOGGED;
    log.error("the routes file is wrong: the one before stays in force", {
      file: path,
      reason,
      problems: problems.slice(0, MOST_LOGGED),
      ...more > 0 && { "more_problems": more },
    });
    tell?.("refused", problems[0] ?? "");
  }

  async #take(file: GoodFile, reason: string): Promise<void> {
    const { digest, warnings } = file;
    const { log, path, taken, tell, timers } = this.#options;
    const recovered = this.#status.badSinceMs !== null;
    const changed = digest !== this.#digest;
    if (changed) {
      this.#digest = digest;
      await taken(file, reason);
      for (const warning of warnings) log.warn("routes file", { problem: warning });
    }
    const loadedAtMs = changed ? timers.nowMs() : this.#status.loadedAtMs;
    this.#ended(changed ? "changed" : "unchanged", { problems: [], warnings, loadedAtMs, badSinceMs: null });
    if (!recovered) return;
    log.info("the routes file is right again", { file: path, reason });
    tell?.("recovered", "");
  }

  #ended(result: FileResult, news: Partial<ConfigFileStatus>): void {
    const { results } = this.#status;
    const readAtMs = this.#options.timers.nowMs();
    this.#status = { ...this.#status, ...news, readAtMs, results: { ...results, [result]: results[result] + 1 } };
  }
}
