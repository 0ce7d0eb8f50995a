/*  The level at which every process of this generation logs: as configured, or for a while as an operator has said.
 *
 *                set (another level)              set (the configured one), reset, time over
 *   configured --------------------> ordered -------------------------------------------------> configured
 *
 *  A new generation begins as configured: what somebody wanted to see of the old one is no reason to fill disks with the new one.
 */
import type { LogLevelStatus } from "../admin/deps.ts";
import { LEVELS, type Log, type LogLevel } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";

export interface LogLevelOptions {
  readonly configured: LogLevel;
  /** null: as configured. */
  readonly apply: (level: LogLevel | null) => void;
  readonly log: Log;
  readonly timers: Timers;
}

export class LogLevelOrder {
  readonly #options: LogLevelOptions;
  #ordered: { readonly level: LogLevel; readonly untilAtMs: number } | null = null;
  #cancel: CancelTimer = () => {};

  constructor(options: LogLevelOptions) {
    this.#options = options;
  }

  status(): LogLevelStatus {
    const { configured } = this.#options;
    return { level: this.#ordered?.level ?? configured, configured, untilAtMs: this.#ordered?.untilAtMs ?? null };
  }

  set(level: LogLevel, forMs: number): void {
    const { apply, configured, log, timers } = this.#options;
    if (level === configured) return this.reset("asked");
    this.#cancel();
    const from = this.status().level;
    this.#ordered = { level, untilAtMs: timers.nowMs() + forMs };
    this.#cancel = timers.after(forMs, () => this.reset("time over"));
    // While it is said: nobody is to silence the log unseen
    const quieter = LEVELS.indexOf(level) > LEVELS.indexOf(from);
    const tell = () => log.info("log level changed", { level, from, "for_ms": forMs });
    if (quieter) tell();
    apply(level);
    if (!quieter) tell();
  }

  reset(reason: string): void {
    if (this.#ordered === null) return;
    this.#cancel();
    this.#ordered = null;
    const { apply, configured, log } = this.#options;
    apply(null);
    log.info("log level is as configured again", { level: configured, reason });
  }

  close(): void {
    this.#cancel();
  }
}
