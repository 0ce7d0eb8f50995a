/** Waiting for a verdict on any of some VMs: not for ever, and no longer than the one who asked. */
import { nowMs, type Sweep, type Watched } from "../runtime/clock.ts";
import type { EndpointState } from "./endpoint-state.ts";

/** What is written down of the waiting. */
export interface ProbeWait {
  probeWaitMs: number;
  /** 0: does not wait now. */
  probeSinceMs: number;
}

export class VerdictWait implements Watched {
  deadlineAtMs: number;
  readonly #sweep: Sweep;
  readonly #record: ProbeWait;
  readonly #callback: (timely: boolean) => void;
  #leave: (() => void)[] = [];
  #over = false;

  /** Calls back once, unless given up: at the first verdict with true, with false when none has come in time. */
  constructor(sweep: Sweep, record: ProbeWait, timeoutMs: number, callback: (timely: boolean) => void) {
    this.#sweep = sweep;
    this.#record = record;
    record.probeSinceMs = nowMs();
    this.#callback = callback;
    sweep.watch(this);
    this.deadlineAtMs = sweep.nowMs + timeoutMs;
  }

  /** Begins to wait; there may be a verdict at once. */
  at(endpoints: readonly EndpointState[]): void {
    for (const endpoint of endpoints) {
      const leave = endpoint.whenProbed(() => this.#end(true));
      if (this.#over) return leave();
      this.#leave.push(leave);
    }
  }

  onDeadline(): void {
    this.#end(false);
  }

  giveUp(): void {
    if (this.#over) return;
    this.#over = true;
    this.#record.probeWaitMs += nowMs() - this.#record.probeSinceMs;
    this.#record.probeSinceMs = 0;
    this.#sweep.unwatch(this);
    for (const leave of this.#leave) leave();
  }

  #end(timely: boolean): void {
    if (this.#over) return;
    this.giveUp();
    this.#callback(timely);
  }
}
