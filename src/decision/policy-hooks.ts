/*  What a decision under a policy asks of the worker, besides availability and load. The decision itself stays free of I/O and of state:
 *  whatever is taken (a place in a rate limit, a turn of a balancer) is taken in here, so that `explain` can pass hooks that only
 *  look. A request without a policy calls none of them.
 */
import type { PolicyService } from "../table/policies.ts";
import type { DrainPolicy, MaintenancePolicy, PolicyRoute, ServiceEndpoint } from "../table/policy.ts";
import type { OrderedKind } from "../table/policy-order.ts";
import type { MatchedRoute } from "./match-route.ts";

/** Of the route's rate limit, for one request; also what the RateLimit fields of the answer say. */
export interface LimitVerdict {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until all of it is there again. */
  readonly resetMs: number;
  /** Of a request that is not allowed: until one would be. */
  readonly retryAfterMs: number;
}

export interface PolicyHooks {
  /** In [0, 1), for a split without a key; null: any random number. */
  lot(route: PolicyRoute): number | null;
  /** Takes a place in the rate limit of the route (it has one). Asked once per request; what it says stays in `matched.limit`. */
  limit(matched: MatchedRoute): LimitVerdict;
  /** What operators have ordered while running, for a route or a service; null: nothing, so what the policy says holds. */
  maintenance(kind: OrderedKind, name: string): MaintenancePolicy | null;
  /** What of its requests it still takes, 1 to 0: by what operators have ordered, else by its policy. */
  share(kind: OrderedKind, name: string, drain: DrainPolicy | null): number;
  /** The key of the endpoint that the client sticks to, as its cookie says; null: none. Asked only where the service is sticky. */
  stickyKey(matched: MatchedRoute, service: PolicyService): string | null;
  /**
   * The balancer of the service: one of these, which can all take the request (at least two); null: power of two choices. It never
   * looks at health. `told`: why, in a few words.
   */
  balance(
    service: PolicyService,
    endpoints: readonly ServiceEndpoint[],
    matched: MatchedRoute,
    told?: (why: string) => void,
  ): ServiceEndpoint | null;
  /** Of all endpoints of a service one that is usable, as `balance` would choose it of those; null: all have to be looked at. */
  draw(
    service: PolicyService,
    all: readonly ServiceEndpoint[],
    matched: MatchedRoute,
    usable: (endpoint: ServiceEndpoint) => boolean,
  ): ServiceEndpoint | null;
  /** All endpoints of a service have been looked at. `judged`: nobody need wait for a verdict on any of them. */
  looked(all: readonly ServiceEndpoint[], judged: boolean): void;
}

const WITHOUT_LIMIT: LimitVerdict = { allowed: true, limit: 0, remaining: 0, resetMs: 0, retryAfterMs: 0 };

/** Nothing is limited, ordered or kept. */
export const NO_HOOKS: PolicyHooks = {
  lot: () => null,
  limit: () => WITHOUT_LIMIT,
  maintenance: () => null,
  share: () => 1,
  stickyKey: () => null,
  balance: () => null,
  draw: () => null,
  looked: () => {},
};
