/** What the policy of its route means for one request. A plain request has none of these, and pays for none. */
import { servingOf } from "../decision/by-policy.ts";
import type { Decision } from "../decision/decision.ts";
import { type MatchedRoute, matchRoute } from "../decision/match-route.ts";
import { limitFields } from "../decision/rate-limits.ts";
import type { Surroundings } from "../decision/surroundings.ts";
import type { Exchange } from "../downstream/exchange.ts";
import type { OwnAnswer } from "../downstream/own-answer.ts";
import type { Metrics } from "../observation/metrics.ts";
import type { TargetCounts } from "../observation/target-counts.ts";
import type { Policies, PolicyService } from "../table/policies.ts";
import { OWN_VMS } from "../table/policy.ts";
import { orderNameOf } from "../table/policy-order.ts";
import { type AttemptPlan, planOf } from "./attempt-plan.ts";
import type { ForwardingIdentity } from "./request-fields.ts";
import { ExchangeView } from "./request-view.ts";
import type { RetryBudgets } from "../upstream/retry-budget.ts";
import { Retries } from "./retries.ts";

export interface PolicyParts {
  readonly surroundings: Surroundings;
  readonly identity: ForwardingIdentity;
  readonly metrics: Metrics;
  readonly budgets: RetryBudgets;
  readonly targets: TargetCounts;
}

export class UnderPolicy {
  readonly matched: MatchedRoute;
  readonly plan: AttemptPlan;
  /** null: its service has no retry policy. */
  readonly retries: Retries | null;
  /** The answer says what is left of the route's rate limit. */
  #limitTold = false;
  #decided = false;

  constructor(matched: MatchedRoute, plan: AttemptPlan, retries: Retries | null) {
    this.matched = matched;
    this.plan = plan;
    this.retries = plan.retries = retries;
  }

  /** To decide by: who has waited for a place, or has met a failure, goes to endpoints that there are now. */
  matchedNow(policies: Policies): MatchedRoute {
    const { matched } = this;
    if (this.#decided && matched.service !== null) matched.service = policies.serviceNow(matched.service);
    this.#decided = true;
    return matched;
  }

  /**
   * What is left of the rate limit, whatever the answer will be, as soon as half of it is used up: to say it costs a sixth of a plain
   * request.
   */
  tellLimit(exchange: Exchange): void {
    const { limit, route: { rateLimit } } = this.matched;
    if (limit === null || this.#limitTold) return;
    this.#limitTold = true;
    if (2 * limit.remaining > limit.limit) return;
    exchange.answerFields += limitFields(limit, rateLimit!.windowMs);
  }

  /** The answer that an operator has written; null: ours, with the fields of theirs. */
  ownAnswer(exchange: Exchange, { answer, why }: Extract<Decision, { kind: "respond" }>): OwnAnswer | null {
    const own = this.plan.ownAnswer(answer, why);
    if (own === null) exchange.answerFields += this.plan.fieldsOf(answer);
    return own;
  }
}

/** null: no policy applies. A text: what is wrong with the request. */
export function underPolicy(exchange: Exchange, parts: PolicyParts): UnderPolicy | string | null {
  const { surroundings, identity, targets } = parts;
  const view = new ExchangeView(exchange, identity.isTrusted);
  const matched = matchRoute(view, surroundings);
  if (matched === null || typeof matched === "string") return matched;
  const { record } = exchange;
  record.policy = matched.route.id;
  record.service = matched.service?.name ?? "";
  record.target = targets.rowOf(matched.route, targetName(matched), orderNameOf);
  if (matched.told !== null) record.decidedBy = matched.told.edge;
  const serving = servingOf(matched, surroundings);
  const plan = planOf(matched, serving, view, identity);
  if (typeof plan === "string") return plan;
  exchange.takeTerms(plan);
  return new UnderPolicy(matched, plan, retriesOf(serving, plan, exchange, parts));
}

function retriesOf(
  serving: PolicyService | null,
  { requestFields }: AttemptPlan,
  exchange: Exchange,
  parts: PolicyParts,
): Retries | null {
  const retry = serving?.policy.retry ?? null;
  if (serving === null || retry === null) return null;
  const { budgets, metrics, surroundings: { random } } = parts;
  return new Retries(exchange, retry, budgets.of(serving.name), { changes: requestFields, metrics, random });
}

/** As its split names it, so that a route to the VMs of whichever domain has one. */
function targetName({ service }: MatchedRoute): string {
  if (service === null) return "";
  return service.endpoints === null ? OWN_VMS : service.name;
}
