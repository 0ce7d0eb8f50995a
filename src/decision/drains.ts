/*  Routes and services that drain: of their clients more and more go elsewhere, each of them once. A client is known by what the route splits
 *  by, else by its address, so nobody goes back and forth while the share falls.
 *
 *      route     the next one that matches takes its place, or the host's bare route; if there is none, nobody: `drained`
 *      service   the other targets of the split, by their shares; if there are none, nobody: `drained`
 */
import { OWN_VMS, type PolicyRoute } from "../table/policy.ts";
import type { PolicyService } from "../table/policies.ts";
import { orderNameOf } from "../table/policy-order.ts";
import { keyHash } from "../wire/key-hash.ts";
import type { RequestView } from "./match-route.ts";
import { clientKey, requestKey } from "./request-keys.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Trace } from "./trace.ts";

/** A client of a route. */
export interface RouteClient {
  readonly view: RequestView;
  readonly routeKey: string | null;
}

/** Whether the route takes this client no more. */
export function routeIsLeft(route: PolicyRoute, client: RouteClient, { hooks }: Surroundings, trace?: Trace): boolean {
  const name = orderNameOf(route);
  const share = hooks.share("route", name, route.drain);
  const left = share < 1 && placeOfClient(`route ${name}`, route, client) >= share;
  if (left) trace?.({ kind: "note", text: `route ${name} drains, ${percent(share)} left: it takes this client no more` });
  return left;
}

/** Whether the service takes this client no more. */
export function serviceIsLeft(
  service: PolicyService,
  domain: string | null,
  route: PolicyRoute,
  client: RouteClient,
  { hooks }: Surroundings,
  trace?: Trace,
): boolean {
  const name = orderedService(service, domain);
  const share = hooks.share("service", name, service.policy.drain);
  const left = share < 1 && placeOfClient(`service ${name}`, route, client) >= share;
  if (left) trace?.({ kind: "note", text: `service ${name} drains, ${percent(share)} left: it takes this client no more` });
  return left;
}

/** Under which operators give orders of it: VMs of a domain under the domain. */
export function orderedService({ name }: PolicyService, domain: string | null): string {
  return name === OWN_VMS ? domain ?? name : name;
}

/** From 0 to 1, for what drains; the same for a client each time. */
function placeOfClient(what: string, { splitKey }: PolicyRoute, { view, routeKey }: RouteClient): number {
  const key = (splitKey === null ? null : requestKey(splitKey, view, routeKey)) ?? clientKey(view.clientAddress);
  return keyHash(`drain ${what}:${key}`) / 2 ** 32;
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}
