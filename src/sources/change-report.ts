/*  The log lines "routes changed". The first is written at once; with a change feed there may be a hundred revisions a second, and what
 *  comes within a second of a line is summed up and written when the second is over. What has another reason (an operator's) than what
 *  waits is written at once, after it.
 */
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { RevisionRecord } from "./revision-history.ts";

/** A revision, or several that came one after another for the same reason. */
interface Change extends Pick<RevisionRecord, "revision" | "reason" | "source" | "tally"> {
  readonly revisions: number;
  readonly routes: number;
  /** Of the longest reading. */
  readonly durationMs: number;
}

const PAUSE_MS = 1000;

export class ChangeReport {
  readonly #log: Log;
  readonly #timers: Timers;
  #waiting: Change | null = null;
  #last: Change | null = null;
  #lastAtMs = -Infinity;
  #cancelTimer: CancelTimer = () => {};

  constructor(log: Log, timers: Timers) {
    this.#log = log;
    this.#timers = timers;
  }

  tell(revision: Omit<Change, "revisions">): void {
    const change = { ...revision, revisions: 1 };
    if (this.#waiting !== null && isAlike(this.#waiting, change)) {
      this.#waiting = sumOf(this.#waiting, change);
      return;
    }
    this.flush();
    const pauseMs = this.#lastAtMs + PAUSE_MS - this.#timers.nowMs();
    if (this.#last === null || !isAlike(this.#last, change) || pauseMs <= 0) return this.#write(change);
    this.#waiting = change;
    this.#cancelTimer = this.#timers.after(pauseMs, () => this.flush());
  }

  /** Nothing is left untold, and no timer runs. */
  flush(): void {
    this.#cancelTimer();
    if (this.#waiting !== null) this.#write(this.#waiting);
    this.#waiting = null;
  }

  #write(change: Change): void {
    const { revision, revisions, reason, source, tally: { added, removed, changed }, routes, durationMs } = change;
    this.#last = change;
    this.#lastAtMs = this.#timers.nowMs();
    const duration = { "duration_ms": Math.round(durationMs) };
    this.#log.info("routes changed", { added, removed, changed, routes, revision, revisions, ...duration, reason, source });
  }
}

function isAlike(one: Change, other: Change): boolean {
  return one.reason === other.reason && one.source === other.source;
}

function sumOf(before: Change, { tally, durationMs, ...latest }: Change): Change {
  return {
    ...latest,
    tally: {
      added: before.tally.added + tally.added,
      removed: before.tally.removed + tally.removed,
      changed: before.tally.changed + tally.changed,
    },
    revisions: before.revisions + 1,
    durationMs: Math.max(before.durationMs, durationMs),
  };
}
