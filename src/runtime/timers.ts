/** Time and timers of the control plane, as a value, so that a test can move the clock. */

/** Stops a timer that has not fired yet. */
export type CancelTimer = () => void;

export interface Timers {
  /** Milliseconds since 1970, never going backwards. */
  nowMs(): number;
  /** Runs once after the delay; does not keep the process alive. */
  after(delayMs: number, run: () => void): CancelTimer;
}

export const systemTimers: Timers = {
  nowMs: () => performance.timeOrigin + performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
