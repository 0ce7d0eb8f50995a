/** How the readings of a source went: counted, and told when an outage begins, while it lasts, and when it is over. */
import type { Log } from "../observation/log.ts";
import type { Timers } from "../runtime/timers.ts";

/** What is served meanwhile. */
interface Served {
  readonly routes: number;
  /** When it was last known to be what the source says; null: nothing is served yet. */
  readonly asOfMs: number | null;
}

/** For those who watch live: an outage, a reading that is held back, and the ends of both. */
export type TellState = (state: "failed" | "recovered" | "held" | "released", problem: string) => void;

/** In an outage: whoever looks into the log of the last minutes finds it. */
const REMINDER_MS = 10 * 60_000;

export class SourceHealth {
  readonly #log: Log;
  readonly #timers: Pick<Timers, "nowMs">;
  readonly #source: string;
  readonly #tell: TellState;
  #outageSinceMs = 0;
  #toldAtMs = 0;
  refreshes = 0;
  failures = 0;
  /** Failures in a row, for the back-off. */
  misses = 0;
  /** null while all is well. */
  lastError: string | null = null;

  constructor(log: Log, timers: Pick<Timers, "nowMs">, source: string, tell: TellState = () => {}) {
    this.#log = log;
    this.#timers = timers;
    this.#source = source;
    this.#tell = tell;
  }

  /** `served`: before this reading. */
  succeeded(served: Served): void {
    if (this.lastError !== null) {
      const outageMs = this.#timers.nowMs() - this.#outageSinceMs;
      const { routes, ...age } = this.#fieldsOf(served);
      const fields = { source: this.#source, failures: this.misses, "outage_seconds": Math.round(outageMs / 1000), ...age, routes };
      this.#log.info("source of routes is back", fields);
      this.#tell("recovered", this.lastError);
    }
    this.refreshes++;
    this.misses = 0;
    this.lastError = null;
  }

  /** An outage of an hour is a few lines, not one for each try. */
  failed(message: string, served: Served): void {
    const nowMs = this.#timers.nowMs();
    if (this.lastError === null) this.#outageSinceMs = nowMs;
    if (message !== this.lastError) this.#tell("failed", message);
    if (message !== this.lastError || nowMs - this.#toldAtMs >= REMINDER_MS) {
      this.#toldAtMs = nowMs;
      this.#log.error("cannot read routes", { source: this.#source, error: message, ...this.#fieldsOf(served) });
    }
    this.failures++;
    this.misses++;
    this.lastError = message;
  }

  #fieldsOf({ routes, asOfMs }: Served): { readonly routes: number; readonly "table_age_seconds"?: number } {
    if (asOfMs === null) return { routes };
    return { routes, "table_age_seconds": Math.round(Math.max(0, this.#timers.nowMs() - asOfMs) / 1000) };
  }
}
