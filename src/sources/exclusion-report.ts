/** What the table leaves out, or serves otherwise than its source says, and why: for the log once, for operators at any time. */
import type { Log } from "../observation/log.ts";
import type { FlappingHost } from "./flapping.ts";
import type { Exclusion, SourceReading } from "./source.ts";

/** Per reading; the rest is one line with their number. */
const MOST_LINES = 20;

export type ExclusionCounts = Readonly<Record<Exclusion["code"], number>>;

export class ExclusionReport {
  readonly #log: Log;
  #read: readonly Exclusion[] = [];
  #logged: ReadonlySet<string> = new Set();
  /** All that the source has, also those beyond the first, which it tells. */
  count = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Those of a reading. */
  take({ excluded, excludedCount }: Pick<SourceReading, "excluded" | "excludedCount">): void {
    this.count = excludedCount;
    if (excluded === this.#read) return;
    this.#read = excluded;
    const seen = new Set<string>();
    const fresh: Exclusion[] = [];
    for (const exclusion of excluded) {
      const identity = `${exclusion.domain}\n${exclusion.reason}`;
      if (!seen.has(identity) && !this.#logged.has(identity)) fresh.push(exclusion);
      seen.add(identity);
    }
    this.#logged = seen;
    for (const exclusion of fresh.slice(0, MOST_LINES)) this.#warn(exclusion);
    if (fresh.length > MOST_LINES) this.#log.warn("more domains excluded", { count: fresh.length - MOST_LINES });
  }

  #warn({ domain, code, reason }: Exclusion): void {
    if (code === "bad_row") this.#log.warn("bad row skipped", { domain, reason });
    else this.#log.warn("domain excluded", { domain, code, reason });
  }

  /** The first of them, and all hosts that are flapping. */
  list(flapping: readonly FlappingHost[]): readonly Exclusion[] {
    return [...flapping.map(flappingExclusion), ...this.#read];
  }

  /** Those that were not told one by one count as bad rows. */
  counts(flapping: readonly FlappingHost[]): ExclusionCounts {
    const conflicts = this.#read.filter(({ code }) => code === "conflict").length;
    const policies = this.#read.filter(({ code }) => code === "bad_policy").length;
    const rows = Math.max(0, this.count - conflicts - policies);
    return { "bad_row": rows, conflict: conflicts, flapping: flapping.length, "bad_policy": policies };
  }
}

function flappingExclusion({ host, changes, intervalMs }: FlappingHost): Exclusion {
  const reason = `it has changed ${changes} times in a row; a change of it is taken once in ${
    intervalMs / 1000
  } s until it is calm`;
  return { domain: host, host, code: "flapping", reason };
}
