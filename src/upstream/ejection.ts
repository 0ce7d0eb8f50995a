/*  Passive ejection: an endpoint that real requests see fail, whatever its probes say, is out for a time.
 *
 *            failed, often enough in the window, and not too many others are out
 *      in ------------------------------------------------------------------------> out
 *       ^                                                                            |
 *       '---- its time is over; or a request that was let in on trial has succeeded -'       no final state
 *
 *  - Errors are counted in windows; of the window before, the part that a window ending now would still cover counts, too.
 *  - The time doubles with each ejection, up to five minutes, and is as at first when the endpoint was good for as long as it was out
 *    last (and for a window at least).
 *  - While it is out, one request a second may try it: only where nothing else can take that request.
 *
 *  The numbers are in cells that all workers share, so what one of them learns holds for all. Times are those of the cells' clock.
 */
import type { EjectionPolicy } from "../table/policy.ts";
import type { Cells } from "./cell-table.ts";

export type Ejection =
  /** `returnedAtMs`: 0 = it was never out. `before`: errors of the window before the one that began at `windowAtMs`. */
  | {
    readonly state: "in";
    readonly errors: number;
    readonly before: number;
    readonly windowAtMs: number;
    readonly times: number;
    readonly returnedAtMs: number;
  }
  /** `trialAtMs`: of the last one; 0 = none yet. */
  | {
    readonly state: "out";
    readonly times: number;
    readonly sinceAtMs: number;
    readonly untilAtMs: number;
    readonly trialAtMs: number;
  };

export type EjectionEvent =
  /** A request has failed by the endpoint's doing. `mayEject`: asked only when that would put it out. */
  | { readonly kind: "failed"; readonly atMs: number; readonly mayEject: () => boolean }
  | { readonly kind: "succeeded"; readonly atMs: number; readonly beganAtMs: number }
  /** Somebody wants to know what is the case now. */
  | { readonly kind: "looked"; readonly atMs: number }
  | { readonly kind: "tried"; readonly atMs: number };

const LONGEST_MS = 300_000;
/** Between two requests on trial. */
const TRIAL_MS = 1000;

export function step(ejection: Ejection, event: EjectionEvent, policy: EjectionPolicy): Ejection {
  if (ejection.state === "in") return event.kind === "failed" ? failed(ejection, event, policy) : ejection;
  if (event.atMs >= ejection.untilAtMs) return step(returned(ejection, ejection.untilAtMs), event, policy);
  switch (event.kind) {
    case "succeeded": // unless it began when the endpoint was not out yet, and says nothing of now
      return event.beganAtMs >= ejection.sinceAtMs ? returned(ejection, event.atMs) : ejection;
    case "tried":
      return mayTry(ejection, event.atMs) ? { ...ejection, trialAtMs: event.atMs } : ejection;
    case "failed":
    case "looked":
      return ejection;
  }
}

export function mayTry(ejection: Ejection, nowMs: number): boolean {
  return ejection.state === "out" && nowMs - ejection.trialAtMs >= TRIAL_MS;
}

/** Of so many endpoints of a service; a lone one may be out, since it is tried. */
export function mostEjected(endpoints: number, maxShare: number): number {
  return maxShare === 0 ? 0 : Math.max(1, Math.floor(endpoints * maxShare));
}

function failed(
  ejection: Extract<Ejection, { state: "in" }>,
  { atMs, mayEject }: Extract<EjectionEvent, { kind: "failed" }>,
  policy: EjectionPolicy,
): Ejection {
  const { windowMs } = policy;
  // Not before 0: the clock of the worker that began the window may be a little ahead of ours
  const windows = Math.max(0, Math.floor((atMs - ejection.windowAtMs) / windowMs));
  const windowAtMs = windows <= 1 ? ejection.windowAtMs + windows * windowMs : atMs;
  const errors = (windows === 0 ? ejection.errors : 0) + 1;
  const before = windows === 0 ? ejection.before : windows === 1 ? ejection.errors : 0;
  const covered = before * (1 - Math.max(0, atMs - windowAtMs) / windowMs);
  if (errors + covered < policy.errors || !mayEject()) return { ...ejection, errors, before, windowAtMs };
  const times = timesNow(ejection, atMs, policy);
  return { state: "out", times, sinceAtMs: atMs, untilAtMs: atMs + outMs(times, policy), trialAtMs: 0 };
}

/** This one included. */
function timesNow({ times, returnedAtMs }: Extract<Ejection, { state: "in" }>, nowMs: number, policy: EjectionPolicy): number {
  const forgetMs = Math.max(policy.windowMs, outMs(times, policy));
  return times === 0 || nowMs - returnedAtMs >= forgetMs ? 1 : times + 1;
}

function outMs(times: number, { timeMs }: EjectionPolicy): number {
  return Math.max(timeMs, Math.min(timeMs * 2 ** (times - 1), LONGEST_MS));
}

function returned({ times }: Ejection, atMs: number): Ejection {
  return { state: "in", errors: 0, before: 0, windowAtMs: atMs, times, returnedAtMs: atMs };
}

// ---- in cells: in [0, errors, before, window's beginning, times, return]; out [since, until, trial, 0, times, 0]
// The first one tells them apart: it is 0, or a moment.

export function readEjection(cells: Cells): Ejection {
  const [sinceAtMs = 0, two = 0, three = 0, windowAtMs = 0, times = 0, returnedAtMs = 0] = cells;
  if (sinceAtMs > 0) return { state: "out", times, sinceAtMs, untilAtMs: two, trialAtMs: three };
  return { state: "in", errors: two, before: three, windowAtMs, times, returnedAtMs };
}

export function writeEjection(cells: Cells, ejection: Ejection): void {
  if (ejection.state === "out") cells.set([ejection.sinceAtMs, ejection.untilAtMs, ejection.trialAtMs, 0, ejection.times, 0]);
  else cells.set([0, ejection.errors, ejection.before, ejection.windowAtMs, ejection.times, ejection.returnedAtMs]);
}
