/** What the policy of its route and service makes of an attempt; null stands for a request without one, and costs nothing. */
import type { MatchedRoute } from "../decision/match-route.ts";
import type { FieldEdits, TimeoutPolicy } from "../table/policy.ts";
import type { ExchangeView } from "./request-view.ts";

export interface AttemptPlan {
  readonly matched: MatchedRoute;
  /** Origin form; null: as it came. */
  readonly target: string | null;
  readonly requestFields: FieldEdits | null;
  readonly responseFields: FieldEdits | null;
  /** The route's, else the service's. */
  readonly timeouts: TimeoutPolicy;
}

/** The reason when its rewritten target is none that may be sent. */
export function planOf(matched: MatchedRoute, _view: ExchangeView): AttemptPlan | string {
  const { timeouts } = matched.route;
  return { matched, target: null, requestFields: null, responseFields: null, timeouts };
}
