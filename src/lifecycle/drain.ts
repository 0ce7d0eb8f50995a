/*  The end of a generation, phase by phase. It does not know where workers run: what happens to them it gets as functions.
 *
 *              begin                 delay over, or succeeded               nothing left, or all is cut
 *   (serving) -------> lame-duck -----------------------------> finishing ------------------------------> drained    final
 *                 |                                              ^    |                                     ^
 *                 '------ no delay, or succeeded already --------'    '--- grace over ---> cutting ---------'
 *
 *  Readiness is false from `begin` on. In lame-duck everything is accepted as before, so that load balancers find out by their own
 *  health checks; a generation that a successor has taken over from skips that: the addresses are still answered. `finishing` closes
 *  the listeners and what idles; the grace counts from there. Workers cut by themselves when it is over, and one that has not ended
 *  a moment later is ended from outside.
 */
import type { DrainPhase, DrainStatus, WorkLeft } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";

/** What the sequence does to the workers of this generation. */
export interface DrainWork {
  /**
   * They begin nothing new, close what idles, and cut what is left after `graceMs`; resolves when all of them are through, to the
   * number of exchanges cut. `succeeded`: others accept from the same sockets, whose queues are left alone.
   */
  readonly finish: (graceMs: number, succeeded: boolean) => Promise<number>;
  /** As they last reported. */
  readonly left: () => WorkLeft;
  /** Has them report now; resolves when they have, or when it is not worth waiting any longer. */
  readonly collect: () => Promise<unknown>;
  /** Ends those that did not end by themselves. */
  readonly kill: () => void;
}

export interface DrainOptions {
  readonly delayMs: number;
  readonly graceMs: number;
  readonly log: Log;
  readonly timers: Timers;
}

export interface DrainManner {
  /** Others have taken over the listening sockets, so there is no lame duck, and their queues are left alone. */
  readonly succeeded?: boolean;
  /** No lame duck: there is nobody who could notice. */
  readonly atOnce?: boolean;
}

/** What workers may take beyond the grace, and whoever owns them, to cut what is left and to say so. */
const OVERRUN_MS = 5000;
/** How often the log says what is left. */
const PROGRESS_MS = 5000;

export class Drain {
  readonly #work: DrainWork;
  readonly #options: DrainOptions;
  readonly #over: PromiseWithResolvers<number> = Promise.withResolvers();
  /** Null before `begin`. */
  #state: Omit<DrainStatus, "left"> | null = null;
  #cancelTimer: CancelTimer = () => {};
  #cancelProgress: CancelTimer = () => {};

  constructor(work: DrainWork, options: DrainOptions) {
    this.#work = work;
    this.#options = options;
  }

  /** Null while the generation serves. */
  get status(): DrainStatus | null {
    if (this.#state === null) return null;
    return { ...this.#state, left: this.#work.left() };
  }

  /** How long all of it may take. */
  get mostMs(): number {
    return this.#options.delayMs + this.#options.graceMs + OVERRUN_MS;
  }

  /** Resolves when nothing is left, to the number of exchanges cut. A successor ends the lame duck that a signal has begun. */
  begin(reason: string, { succeeded = false, atOnce = false }: DrainManner = {}): Promise<number> {
    if (this.#state === null) this.#start(reason, succeeded, succeeded || atOnce ? 0 : this.#options.delayMs);
    else if (succeeded && this.#state.phase === "lame-duck") {
      this.#state = { ...this.#state, reason };
      this.#finish(true);
    }
    return this.#over.promise;
  }

  #start(reason: string, succeeded: boolean, delayMs: number): void {
    const { graceMs, log, timers } = this.#options;
    const nowMs = timers.nowMs();
    const deadlineAtMs = nowMs + delayMs + graceMs;
    this.#state = { phase: "lame-duck", reason, sinceAtMs: nowMs, phaseSinceAtMs: nowMs, deadlineAtMs };
    // Asked before they are told to drain, so that the line says what there was
    const say = () =>
      log.info("draining", { reason, ...(delayMs > 0 && { lame_duck_ms: delayMs }), grace_ms: graceMs, ...this.#work.left() });
    this.#work.collect().then(say, say);
    this.#watchProgress();
    if (delayMs > 0) this.#cancelTimer = timers.after(delayMs, () => this.#finish(false));
    else this.#finish(succeeded);
  }

  #finish(succeeded: boolean): void {
    const { graceMs, timers } = this.#options;
    this.#cancelTimer();
    this.#enter("finishing", timers.nowMs() + graceMs);
    this.#cancelTimer = timers.after(graceMs, () => this.#cut());
    this.#work.finish(graceMs, succeeded).then(
      (cut) => this.#end(cut),
      (error) => {
        this.#options.log.error("drain failed", { error });
        this.#end(0);
      },
    );
  }

  #cut(): void {
    this.#enter("cutting");
    this.#cancelTimer = this.#options.timers.after(OVERRUN_MS, () => {
      this.#options.log.error("workers did not end", { ...this.#work.left() });
      this.#work.kill();
      const { exchanges, tunnels } = this.#work.left();
      this.#end(exchanges + tunnels);
    });
  }

  #end(cut: number): void {
    if (this.#state?.phase === "drained") return;
    this.#cancelTimer();
    this.#cancelProgress();
    this.#enter("drained");
    this.#over.resolve(cut);
  }

  #enter(phase: DrainPhase, deadlineAtMs: number = this.#state!.deadlineAtMs): void {
    this.#state = { ...this.#state!, phase, phaseSinceAtMs: this.#options.timers.nowMs(), deadlineAtMs };
  }

  #watchProgress(): void {
    const { log, timers } = this.#options;
    this.#cancelProgress = timers.after(PROGRESS_MS, () => {
      const { phase, deadlineAtMs } = this.#state!;
      log.info("draining", { phase, ...this.#work.left(), left_ms: Math.max(0, Math.round(deadlineAtMs - timers.nowMs())) });
      this.#watchProgress();
    });
  }
}
