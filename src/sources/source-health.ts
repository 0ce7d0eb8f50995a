/** How the readings of a source went: counted, and told when an outage begins and when it is over. */
import type { Log, LogFields } from "../observation/log.ts";

export class SourceHealth {
  readonly #log: Log;
  readonly #source: string;
  refreshes = 0;
  failures = 0;
  /** Failures in a row, for the back-off. */
  misses = 0;
  /** null while all is well. */
  lastError: string | null = null;

  constructor(log: Log, source: string) {
    this.#log = log;
    this.#source = source;
  }

  succeeded(): void {
    if (this.lastError !== null) this.#log.info("source of routes is back", { source: this.#source, failures: this.misses });
    this.refreshes++;
    this.misses = 0;
    this.lastError = null;
  }

  /** An outage of an hour is one line, not one for each try. `fields`: what is served meanwhile. */
  failed(message: string, fields: LogFields): void {
    if (message !== this.lastError) this.#log.error("cannot read routes", { source: this.#source, error: message, ...fields });
    this.failures++;
    this.misses++;
    this.lastError = message;
  }
}
