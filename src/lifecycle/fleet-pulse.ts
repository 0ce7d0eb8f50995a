/** Asks the workers of a fleet for their figures, once a second and whenever somebody wants them: who does not answer is silent, and ended at last. */
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { FleetMember, Stats } from "./fleet-member.ts";

export interface FleetPulseOptions {
  readonly members: Iterable<FleetMember>;
  /** It has fallen silent, or answers again. */
  readonly turned: (member: FleetMember, state: "silent" | "serving", reason: string) => void;
  readonly log: Log;
  readonly timers: Timers;
}

const TICK_MS = 1000;

export class FleetPulse {
  readonly #options: FleetPulseOptions;
  #cancelTick: CancelTimer = () => {};
  #serial = 0;

  constructor(options: FleetPulseOptions) {
    this.#options = options;
  }

  start(): void {
    this.#cancelTick = this.#options.timers.after(TICK_MS, () => {
      for (const member of this.#options.members) this.#watch(member);
      this.ask();
      this.start();
    });
  }

  stop(): void {
    this.#cancelTick();
  }

  /** Answers the serial that answers to this have. */
  ask(): number {
    const { members, timers } = this.#options;
    this.#serial++;
    for (const member of members) member.collect(this.#serial, timers.nowMs());
    return this.#serial;
  }

  /** `taken` is called once the member has its figures, before anybody learns that it answers again. */
  heard(member: FleetMember, stats: Stats, taken: () => void): void {
    const { log, timers, turned } = this.#options;
    const wasSilent = member.state === "silent";
    member.hear(stats, timers.nowMs());
    taken();
    if (!wasSilent) return;
    log.info("worker answers again", { worker: member.worker, pid: member.end.pid });
    turned(member, "serving", "answers again");
  }

  #watch(member: FleetMember): void {
    const { log, turned } = this.#options;
    const before = member.state;
    if (member.tick()) {
      log.error("worker does not answer and is ended", { worker: member.worker, pid: member.end.pid });
      return member.giveUp();
    }
    if (before === "silent" || member.state !== "silent") return;
    log.warn("worker does not answer", { worker: member.worker, pid: member.end.pid });
    turned(member, "silent", "");
  }
}
