/*  A breaker: keeps requests from an endpoint, or from a whole service, that only fails.
 *
 *                tripped                  cooled down, and somebody asks
 *     closed --------------> open ---------------------------------------> half-open
 *       ^                     ^ ^------------------ failed ------------------|  |
 *       |                     |                                                 |
 *       +----- reset ---------+-- (reset leads there from everywhere)           |
 *       +-------------------- enough times succeeded ---------------------------+     no final state
 *
 *  Tripped: by so many failures in a row, or by the share of failures among enough requests of the window. The window is looked at in
 *  halves, the one under way and the one before, so nothing counts for longer than a window, and everything for at least half of one.
 *
 *  `opened` counts how often it has opened. A result says in which of these times its attempt began, and counts in no other: what was
 *  sent before it opened neither closes it again nor keeps it open.
 */
import type { BreakerPolicy } from "../table/policy.ts";
import type { Cells } from "./cell-table.ts";

/** Results within half a window. */
export interface Tally {
  readonly requests: number;
  readonly failures: number;
}

export type Breaker =
  | {
    readonly state: "closed";
    readonly opened: number;
    /** Failures since the last success. */
    readonly row: number;
    /** When the half of the window that is under way began. */
    readonly halfAtMs: number;
    readonly half: Tally;
    readonly halfBefore: Tally;
  }
  | { readonly state: "open"; readonly opened: number; readonly untilMs: number }
  | { readonly state: "half-open"; readonly opened: number; readonly successes: number };

export type BreakerEvent =
  /** A request wishes to go there. */
  | { readonly kind: "asked"; readonly atMs: number }
  /** `opened`: as it was when the attempt began. */
  | { readonly kind: "succeeded" | "failed"; readonly atMs: number; readonly opened: number }
  | { readonly kind: "reset" };

const NOTHING: Tally = { requests: 0, failures: 0 };

export function step(breaker: Breaker, event: BreakerEvent, policy: BreakerPolicy): Breaker {
  switch (event.kind) {
    case "reset":
      return closed(breaker.opened);
    case "asked":
      if (breaker.state !== "open" || event.atMs < breaker.untilMs) return breaker;
      return { state: "half-open", opened: breaker.opened, successes: 0 };
    case "succeeded":
    case "failed":
      return event.opened === breaker.opened ? counted(breaker, event.kind === "failed", event.atMs, policy) : breaker;
  }
}

function counted(breaker: Breaker, failed: boolean, atMs: number, policy: BreakerPolicy): Breaker {
  switch (breaker.state) {
    case "open":
      return breaker;
    case "half-open": {
      if (failed) return open(breaker.opened, atMs, policy);
      const successes = breaker.successes + 1;
      return successes >= policy.halfOpenRequests ? closed(breaker.opened) : { ...breaker, successes };
    }
    case "closed": {
      const tallied = tally(breaker, failed, atMs, policy.windowMs / 2);
      return isTripped(tallied, policy) ? open(breaker.opened, atMs, policy) : tallied;
    }
  }
}

type Closed = Extract<Breaker, { state: "closed" }>;

function tally(breaker: Closed, failed: boolean, atMs: number, halfMs: number): Closed {
  const { halfAtMs, half, halfBefore, row, opened } = breaker;
  const halves = Math.floor((atMs - halfAtMs) / halfMs); // that have passed since
  const same = halves <= 0;
  const now = same ? half : NOTHING;
  return {
    state: "closed",
    opened,
    row: failed ? row + 1 : 0,
    halfAtMs: same ? halfAtMs : halves === 1 ? halfAtMs + halfMs : atMs,
    half: { requests: now.requests + 1, failures: now.failures + (failed ? 1 : 0) },
    halfBefore: same ? halfBefore : halves === 1 ? half : NOTHING,
  };
}

function isTripped({ row, half, halfBefore }: Closed, { failures, failureRate, minRequests }: BreakerPolicy): boolean {
  if (failures > 0 && row >= failures) return true;
  const requests = half.requests + halfBefore.requests;
  return failureRate > 0 && requests >= minRequests && (half.failures + halfBefore.failures) / requests >= failureRate;
}

function closed(opened: number): Breaker {
  return { state: "closed", opened, row: 0, halfAtMs: 0, half: NOTHING, halfBefore: NOTHING };
}

function open(opened: number, atMs: number, { openForMs }: BreakerPolicy): Breaker {
  return { state: "open", opened: opened + 1, untilMs: atMs + openForMs };
}

// ---- as numbers, for all workers: state, opened, then what the state carries; all zero is closed

const CLOSED = 0, OPEN = 1, HALF_OPEN = 2;
/** Of two counts in one number. */
const FIELD = 2 ** 26;

export function readBreaker(cells: Cells): Breaker {
  const [state, opened, a, b, c, d] = cells as unknown as [number, number, number, number, number, number];
  switch (state) {
    case OPEN:
      return { state: "open", opened, untilMs: a };
    case HALF_OPEN:
      return { state: "half-open", opened, successes: a };
    default:
      return { state: "closed", opened, row: a, halfAtMs: b, half: unpack(c), halfBefore: unpack(d) };
  }
}

/** The state last: who reads meanwhile sees the one before, or all of this one. */
export function writeBreaker(cells: Cells, breaker: Breaker): void {
  switch (breaker.state) {
    case "closed":
      cells[2] = breaker.row;
      cells[3] = breaker.halfAtMs;
      cells[4] = pack(breaker.half);
      cells[5] = pack(breaker.halfBefore);
      cells[1] = breaker.opened;
      cells[0] = CLOSED;
      return;
    case "open":
      cells[2] = breaker.untilMs;
      cells[1] = breaker.opened;
      cells[0] = OPEN;
      return;
    case "half-open":
      cells[2] = breaker.successes;
      cells[1] = breaker.opened;
      cells[0] = HALF_OPEN;
  }
}

function pack({ requests, failures }: Tally): number {
  return Math.min(requests, FIELD - 1) * FIELD + Math.min(failures, FIELD - 1);
}

function unpack(packed: number): Tally {
  return { requests: Math.floor(packed / FIELD), failures: packed % FIELD };
}
