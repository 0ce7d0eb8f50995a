/*  The guard against a half-restored database: a reading that would remove most of the routes must be said twice.
 *
 *            removes too much                        none of the held routes is back
 *  open ------------------------> holding(reading) ----------------------------------> open, the reading is applied
 *    ^                              |   ^     |
 *    |---- removes little ----------'   '-----'  some are back, but it still removes too much: held anew
 *
 *  A reading that is held changes nothing. There is no final state.
 */
import type { Routes } from "../table/routes.ts";

export type BlastRadius =
  | { readonly state: "open" }
  | { readonly state: "holding"; readonly reading: Routes; readonly removals: number };

/** A reading, compared with the routes that are served. */
export interface Reading {
  readonly routes: Routes;
  readonly removals: number;
  /** It has routes that the held reading would have removed. */
  readonly bringsBack: boolean;
  /** It was read from the tables, long enough after the one that is held. */
  readonly fresh: boolean;
}

export interface GuardStep {
  readonly guard: BlastRadius;
  readonly apply: boolean;
}

/** Both must be exceeded: small tables may be emptied, large ones may lose a customer. */
const MOST_REMOVALS = 100;
const MOST_SHARE = 0.5;

export const OPEN: BlastRadius = { state: "open" };

/** `routes`: how many are served now. */
export function step(guard: BlastRadius, routes: number, reading: Reading): GuardStep {
  const { removals } = reading;
  if (!removesMost(removals, routes)) return { guard: OPEN, apply: true };
  if (guard.state === "holding" && !reading.bringsBack) {
    return reading.fresh ? { guard: OPEN, apply: true } : { guard, apply: false };
  }
  return { guard: { state: "holding", reading: reading.routes, removals }, apply: false };
}

/** So many of the routes. */
export function removesMost(removals: number, routes: number): boolean {
  return removals > MOST_REMOVALS && removals > routes * MOST_SHARE;
}
