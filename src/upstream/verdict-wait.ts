/** Waiting for a verdict on any of some VMs, but not for ever. */
import type { Sweep, Watched } from "../runtime/clock.ts";
import type { EndpointState } from "./endpoint-state.ts";

/** Calls back once, possibly at once: at the first verdict on any of them with true, with false when none has come in time. */
export function awaitVerdict(
  endpoints: readonly EndpointState[],
  sweep: Sweep,
  timeoutMs: number,
  callback: (timely: boolean) => void,
): void {
  new VerdictWait(sweep, timeoutMs, callback).at(endpoints);
}

class VerdictWait implements Watched {
  deadlineAtMs: number;
  readonly #sweep: Sweep;
  readonly #callback: (timely: boolean) => void;
  #leave: (() => void)[] = [];
  #over = false;

  constructor(sweep: Sweep, timeoutMs: number, callback: (timely: boolean) => void) {
    this.#sweep = sweep;
    this.#callback = callback;
    sweep.watch(this);
    this.deadlineAtMs = sweep.nowMs + timeoutMs;
  }

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

  #end(timely: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#sweep.unwatch(this);
    for (const leave of this.#leave) leave();
    this.#callback(timely);
  }
}
