/*  The guard against a half-restored database: a reading that would remove most of the routes must be said twice.
 *
 *            removes too much                        none of the held routes is back
 *  open ------------------------> holding(removals) ---------------------------------> open, the reading is applied
 *    ^                              |   ^     |
 *    |---- removes little ----------'   '-----'  some are back, but it still removes too much: held anew
 *
 *  A reading that is held changes nothing. There is no final state.
 */

export type BlastRadius =
  | { readonly state: "open" }
  | { readonly state: "holding"; readonly removals: ReadonlySet<string> };

export interface GuardStep {
  readonly guard: BlastRadius;
  readonly apply: boolean;
}

/** Both must be exceeded: small tables may be emptied, large ones may lose a customer. */
const MOST_REMOVALS = 100;
const MOST_SHARE = 0.5;

const OPEN: BlastRadius = { state: "open" };

/** `routes` is the size of the table now, `removals` what the reading would take from it. */
export function step(guard: BlastRadius, routes: number, removals: readonly string[]): GuardStep {
  if (removals.length <= MOST_REMOVALS || removals.length <= routes * MOST_SHARE) return { guard: OPEN, apply: true };
  if (guard.state === "holding" && isSubset(guard.removals, removals)) return { guard: OPEN, apply: true };
  return { guard: { state: "holding", removals: new Set(removals) }, apply: false };
}

function isSubset(part: ReadonlySet<string>, whole: readonly string[]): boolean {
  const all = new Set(whole);
  for (const host of part) {
    if (!all.has(host)) return false;
  }
  return true;
}
