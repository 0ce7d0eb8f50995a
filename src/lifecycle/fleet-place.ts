/** A place in the fleet: the number of a worker, who has it, and when the next one is started. */
import type { WorkerStatus } from "../observation/worker-status.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { FleetMember } from "./fleet-member.ts";

/** A worker that has lived this long was no failed start. */
const LONG_LIFE_MS = 10_000;
const FIRST_BACK_OFF_MS = 100;
const MOST_BACK_OFF_MS = 10_000;

export class FleetPlace {
  readonly worker: number;
  /** Who is meant to serve; null until the next one is started. */
  member: FleetMember | null = null;
  readonly #timers: Timers;
  #restarts = 0;
  /** When who was here last was started. */
  #lastStartedAtMs = 0;
  /** Ends in a row after a short life. */
  #misses = 0;
  #cancelRestart: CancelTimer = () => {};

  constructor(worker: number, timers: Timers) {
    this.worker = worker;
    this.#timers = timers;
  }

  /** How often in a row somebody here has ended soon after the start. */
  get misses(): number {
    return this.#misses;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** The member has ended, or is leaving: `start` is called at once, or after a back-off. */
  vacate({ listening, startedAtMs }: FleetMember, start: () => void): void {
    const lived = this.#timers.nowMs() - startedAtMs >= LONG_LIFE_MS && listening !== null;
    this.#misses = lived ? 0 : this.#misses + 1;
    this.member = null;
    this.#lastStartedAtMs = startedAtMs;
    const delayMs = this.#misses <= 1 ? 0 : Math.min(FIRST_BACK_OFF_MS * 2 ** (this.#misses - 2), MOST_BACK_OFF_MS);
    this.#cancelRestart = this.#timers.after(delayMs, () => {
      this.#restarts++;
      start();
    });
  }

  /** Nobody is started any more. */
  close(): void {
    this.#cancelRestart();
  }

  /** Of nobody. */
  status(revision: number): WorkerStatus {
    return {
      worker: this.worker,
      pid: null,
      state: "restarting",
      startedAtMs: this.#lastStartedAtMs,
      restarts: this.#restarts,
      revision: 0,
      revisionsBehind: revision,
      heardAtMs: null,
      answerMs: null,
      figures: null,
      longestStallSeconds: null,
      metrics: null,
      policed: null,
    };
  }
}
