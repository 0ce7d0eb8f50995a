/** What a worker decides requests by: its table, verdicts, counts and operators' orders, for live requests and for whoever only looks. */
import { Lots } from "../decision/lots.ts";
import type { OrdersInForce } from "../decision/orders-in-force.ts";
import { NO_HOOKS, type PolicyHooks } from "../decision/policy-hooks.ts";
import type { RateLimits } from "../decision/rate-limits.ts";
import type { Surroundings } from "../decision/surroundings.ts";
import type { Sweep } from "../runtime/clock.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import type { Endpoints } from "../upstream/endpoint-state.ts";
import type { Balancing } from "./balancing.ts";

export interface SurroundingsParts {
  readonly table: RoutingTable;
  readonly endpoints: Endpoints;
  readonly balancing: Balancing;
  readonly limits: RateLimits;
  readonly ordered: OrdersInForce;
  readonly sweep: Sweep;
  readonly pseudonym: string;
  readonly secret: string;
}

/** Of requests that are to be answered. */
export function liveSurroundings(parts: SurroundingsParts): Surroundings {
  const { table, endpoints, sweep, pseudonym, secret } = parts;
  return {
    table,
    previous: (host) => table.previous(host),
    pseudonym,
    availability: (endpoint) => endpoints.of(endpoint).availability(sweep.nowMs),
    load: (endpoint) => endpoints.of(endpoint).inFlight,
    random: Math.random,
    secret,
    hooks: liveHooks(parts),
  };
}

/** The same, for who asks without sending a request. */
export function onlookersSurroundings(parts: SurroundingsParts): Surroundings {
  const { endpoints, balancing, limits } = parts;
  return {
    ...liveSurroundings(parts),
    availability: (endpoint) => endpoints.look(endpoint, performance.now()),
    load: ({ key }) => endpoints.loadOf(key),
    hooks: { ...NO_HOOKS, ...balancing.onlookers, ...orderedHooks(parts), limit: (matched) => limits.see(matched) },
  };
}

/** What takes something for a request under a policy; the onlooker's must only look. */
function liveHooks(parts: SurroundingsParts): PolicyHooks {
  const { draw: lot } = new Lots(Math.random);
  const limit: PolicyHooks["limit"] = (matched) => parts.limits.take(matched);
  return { ...parts.balancing.hooks, ...orderedHooks(parts), lot, limit };
}

/** What operators have decided: looking takes nothing of it. */
function orderedHooks({ ordered }: SurroundingsParts): Pick<PolicyHooks, "maintenance" | "share"> {
  return {
    maintenance: (kind, name) => ordered.maintenance(kind, name),
    share: (kind, name, drain) => ordered.share(kind, name, drain),
  };
}
