/*  The guard against a half-restored database: a reading that would remove most of the routes, or of the policies, must be said twice.
 *
 *            removes too much                        nothing of what is held is back
 *  open ------------------------> holding(reading) ----------------------------------> open, the reading is applied
 *    ^                              |   ^     |
 *    |---- removes little ----------'   '-----'  some are back, but it still removes too much: held anew
 *
 *  A reading that is held changes nothing. There is no final state.
 */
export type BlastRadius<Said> =
  | { readonly state: "open" }
  | { readonly state: "holding"; readonly reading: Said; readonly removals: number };

/** A reading, compared with what is served. */
export interface Reading<Said> {
  readonly reading: Said;
  readonly removals: number;
  /** It has what the held reading would have removed. */
  readonly bringsBack: boolean;
  /** It was read from the tables, long enough after the one that is held. */
  readonly fresh: boolean;
}

export interface GuardStep<Said> {
  readonly guard: BlastRadius<Said>;
  readonly apply: boolean;
}

/** Both must be exceeded: small tables may be emptied, large ones may lose a customer. */
const MOST_REMOVALS = 100;
const MOST_SHARE = 0.5;

export const OPEN: { readonly state: "open" } = { state: "open" };

/** `size`: how many are served now. */
export function step<Said>(guard: BlastRadius<Said>, size: number, said: Reading<Said>): GuardStep<Said> {
  const { reading, removals } = said;
  if (!removesMost(removals, size)) return { guard: OPEN, apply: true };
  if (guard.state === "holding" && !said.bringsBack) {
    return said.fresh ? { guard: OPEN, apply: true } : { guard, apply: false };
  }
  return { guard: { state: "holding", reading, removals }, apply: false };
}

/** So many of all. */
export function removesMost(removals: number, size: number): boolean {
  return removals > MOST_REMOVALS && removals > size * MOST_SHARE;
}
