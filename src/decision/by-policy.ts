/*  The decision on a request that a policy applies to:
 *
 *      drained, and nobody else there --> as in maintenance
 *      maintenance --> its answer, or another service
 *      rate limit --> refused
 *      redirect, fixed answer
 *      service: nothing there --> refused; else its endpoints, by the rules of `choice`
 */
import { ownEndpoints, type PolicyService } from "../table/policies.ts";
import { type MaintenancePolicy, PLAIN_SERVICE, type ServiceEndpoint } from "../table/policy.ts";
import { decideByHost } from "./by-host.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import { Choice } from "./choice.ts";
import { orderNameOf } from "../table/policy-order.ts";
import { orderedService } from "./drains.ts";
import type { Decision } from "./decision.ts";
import type { MatchedRoute } from "./match-route.ts";
import { isAmbiguous, keyWords, requestKey } from "./request-keys.ts";
import type { Asked, Surroundings } from "./surroundings.ts";
import type { Trace } from "./trace.ts";

const NO_ENDPOINTS: Decision = { kind: "refuse", code: "no_endpoints" };
const NO_ROUTE: Decision = { kind: "refuse", code: "no_route" };
/** As in maintenance, in the proxy's own words. */
const DRAINED: Decision = {
  kind: "respond",
  answer: { status: 503, body: "", headers: [["Retry-After", "30"]] },
  why: "maintenance",
};
const RATE_LIMITED: Decision = { kind: "refuse", code: "rate_limited" };

export function decideByPolicy(
  matched: MatchedRoute,
  asked: Asked,
  edges: readonly string[],
  around: Surroundings,
  trace?: Trace,
): Decision {
  const { route } = matched;
  if (matched.drained) return DRAINED;
  const maintenance = maintenanceOf(matched, around);
  if (maintenance !== null) {
    const { service, answer } = maintenance;
    trace?.({ kind: "note", text: `in maintenance${service === null ? "" : `: service ${service} answers`}` });
    if (service === null) return { kind: "respond", answer, why: "maintenance" };
    return chooseOf(serviceNamed(service, matched, around), matched, asked, edges, around, trace);
  }
  if (route.rateLimit !== null && !isAllowed(matched, around, trace)) return RATE_LIMITED;
  if (route.redirect !== null) {
    return { kind: "respond", answer: { status: route.redirect.status, body: "", headers: [] }, why: "redirect" };
  }
  if (route.respond !== null) return { kind: "respond", answer: route.respond, why: "respond" };
  return matched.service === null ? NO_ENDPOINTS : chooseOf(matched.service, matched, asked, edges, around, trace);
}

function chooseOf(
  service: PolicyService,
  matched: MatchedRoute,
  asked: Asked,
  edges: readonly string[],
  around: Surroundings,
  trace?: Trace,
): Decision {
  if (service.plain) return decideByHost(asked, edges, around, trace);
  const endpoints = endpointsOf(service, asked.host, around.table);
  if (endpoints === null) {
    trace?.({ kind: "no-route", host: asked.host });
    return NO_ROUTE;
  }
  trace?.({ kind: "note", text: `service ${service.name} with ${endpoints.length} endpoint(s)` });
  if (!endpoints.some(({ weight }) => weight > 0)) {
    return new Choice(asked, edges, around, trace, { service, matched }).stuckTo(endpoints) ?? NO_ENDPOINTS;
  }
  // As in `decide`: one VM, here
  const only = endpoints[0]!;
  if (endpoints.length === 1 && asked.tried === null && trace === undefined && only.kind === "vm") {
    if (around.availability(only) === "available") return { kind: "forward", endpoint: only };
  }
  return new Choice(asked, edges, around, trace, { service, matched }).among(endpoints);
}

/** null: the VMs of a host that the routing table does not know. */
function endpointsOf(service: PolicyService, host: string, table: RoutingTable): readonly ServiceEndpoint[] | null {
  if (service.endpoints !== null) return service.endpoints;
  const vms = table.find(host);
  return vms === undefined ? null : ownEndpoints(service, vms);
}

/** Of the service that the route leads to. */
export function endpointsMeant({ service, host }: MatchedRoute, table: RoutingTable): readonly EndpointRecord[] {
  return service === null ? [] : endpointsOf(service, host, table) ?? [];
}

function serviceNamed(name: string, { domain }: MatchedRoute, around: Surroundings): PolicyService {
  return around.table.policies.service(name, domain) ?? { name, policy: PLAIN_SERVICE, endpoints: [], plain: false };
}

/** Whose endpoints take it: in a maintenance, those of the service that answers instead. null: nobody's. */
export function servingOf(matched: MatchedRoute, around: Surroundings): PolicyService | null {
  const instead = maintenanceOf(matched, around)?.service ?? null;
  return instead === null ? matched.service : serviceNamed(instead, matched, around);
}

/** That is in force now: what operators have ordered comes before what the policy says, and the route before its service. */
export function maintenanceOf({ route, service, domain }: MatchedRoute, { hooks }: Surroundings): MaintenancePolicy | null {
  const ofRoute = hooks.maintenance("route", orderNameOf(route)) ?? route.maintenance;
  if (ofRoute?.enabled === true) return ofRoute;
  if (service === null) return null;
  const ofService = hooks.maintenance("service", orderedService(service, domain)) ?? service.policy.maintenance;
  return ofService?.enabled === true ? ofService : null;
}

/** Once per request, also when it is decided again. */
function isAllowed(matched: MatchedRoute, { hooks }: Surroundings, trace?: Trace): boolean {
  if (matched.told?.counted === true) return true;
  const verdict = matched.limit ??= hooks.limit(matched);
  const { allowed, remaining, limit } = verdict;
  trace?.({ kind: "limit", allowed, remaining, limit, by: countedBy(matched) });
  return allowed;
}

function countedBy({ route, view, routeKey }: MatchedRoute): string {
  const { key } = route.rateLimit!;
  if (key === null) return "all together";
  return keyWords(key, isAmbiguous(key, view) ? null : requestKey(key, view, routeKey));
}
