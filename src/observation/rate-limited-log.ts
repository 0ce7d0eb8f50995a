/** Warnings that traffic can cause at will, held to a few lines per window; what was left out is counted. */
import type { Log, LogFields, LogLevel } from "./log.ts";

export interface RateLimit {
  readonly lines: number;
  readonly windowMs: number;
}

/**
 * Lets at most `lines` lines pass per window, per message and error code. The first line after a window that suppressed some carries
 * `suppressed`: their count. There is no timer, so the last count shows with the next line.
 */
export class RateLimitedLog implements Log {
  readonly #log: Log;
  readonly #limit: RateLimit;
  readonly #nowMs: () => number;
  readonly #windows = new Map<string, { startedAtMs: number; lines: number; suppressed: number }>();

  constructor(log: Log, limit: RateLimit = { lines: 10, windowMs: 10_000 }, nowMs: () => number = Date.now) {
    this.#log = log;
    this.#limit = limit;
    this.#nowMs = nowMs;
  }

  debug(msg: string, fields?: LogFields): void {
    this.#pass("debug", msg, fields);
  }

  info(msg: string, fields?: LogFields): void {
    this.#pass("info", msg, fields);
  }

  warn(msg: string, fields?: LogFields): void {
    this.#pass("warn", msg, fields);
  }

  error(msg: string, fields?: LogFields): void {
    this.#pass("error", msg, fields);
  }

  enabled(level: LogLevel): boolean {
    return this.#log.enabled(level);
  }

  /** Messages and codes are fixed, so the map stays as small as the program's vocabulary. */
  #pass(level: LogLevel, msg: string, fields: LogFields | undefined): void {
    if (!this.#log.enabled(level)) return;
    const nowMs = this.#nowMs();
    const kind = `${msg} ${fields?.["code"] ?? ""}`;
    let window = this.#windows.get(kind);
    if (window === undefined) this.#windows.set(kind, window = { startedAtMs: nowMs, lines: 0, suppressed: 0 });
    if (nowMs - window.startedAtMs >= this.#limit.windowMs) {
      window.startedAtMs = nowMs;
      window.lines = 0;
    }
    if (window.lines >= this.#limit.lines) {
      window.suppressed++;
      return;
    }
    window.lines++;
    if (window.suppressed === 0) return this.#log[level](msg, fields);
    const { suppressed } = window;
    window.suppressed = 0;
    this.#log[level](msg, { ...fields, suppressed });
  }
}
