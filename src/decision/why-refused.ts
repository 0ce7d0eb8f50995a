/** What a refusal that was decided on says besides its code. */
import type { RoutingTable } from "../table/routing-table.ts";
import type { Endpoints } from "../upstream/endpoint-state.ts";
import { whyUnavailable } from "../upstream/why-unavailable.ts";
import { endpointsMeant } from "./by-policy.ts";
import type { RefusalCode } from "./decision.ts";
import type { MatchedRoute } from "./match-route.ts";

export interface Refused {
  readonly host: string;
  /** null: no policy applies. */
  readonly matched: MatchedRoute | null;
  /** What is known already: something has been tried and has said more; empty: nothing. */
  readonly problem: string;
}

export function whyRefused(
  code: RefusalCode,
  { host, matched, problem }: Refused,
  table: RoutingTable,
  endpoints: Endpoints,
): string {
  const name = matched?.service?.name ?? "";
  if (code === "no_endpoints" && matched !== null) {
    return `Service ${name} of route ${matched.route.id} has no endpoint that takes requests`;
  }
  if (code === "queue_full") return whyFull(name);
  if (problem !== "") return problem;
  if (code === "breaker_open") return `The breaker of what could take it of service ${name} is open`;
  if (code !== "vm_unhealthy" && code !== "vm_cordoned") return "";
  const meant = matched === null ? table.find(host)?.endpoints : endpointsMeant(matched, table);
  return whyUnavailable(meant ?? [], code === "vm_cordoned", endpoints);
}

/** No place to wait for one, or not in time. */
export function whyFull(service: string): string {
  return `What could take it of service ${service} carries as many requests as it may`;
}
