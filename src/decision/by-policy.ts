/** The decision on a request that a policy applies to. */
import type { Asked, Surroundings } from "./decide.ts";
import type { Decision } from "./decision.ts";
import type { MatchedRoute } from "./match-route.ts";
import type { Trace } from "./trace.ts";

/** null: as without a policy. */
export function decideByPolicy(
  _matched: MatchedRoute,
  _asked: Asked,
  _edges: readonly string[],
  _around: Surroundings,
  _trace?: Trace,
): Decision | null {
  return null;
}
