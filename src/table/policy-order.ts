/** What an operator has ordered of a route or a service while the proxy runs: it comes before what file and table say. Plain JSON. */
import type { DrainPolicy, MaintenancePolicy, PolicyRoute } from "./policy.ts";

export type OrderedKind = "route" | "service";

export interface PolicyOrder {
  readonly kind: OrderedKind;
  /** Of a service: as in the policies. Of a route: see `orderNameOf`. */
  readonly name: string;
  /** null: as the policy says. */
  readonly maintenance: MaintenancePolicy | null;
  /** null: as the policy says. */
  readonly drain: DrainPolicy | null;
  readonly sinceAtMs: number;
  /** Since 1970, by the wall clock; null: until it is taken back. */
  readonly untilAtMs: number | null;
  readonly reason: string;
  /** Address of the operator, or `unix socket`. */
  readonly by: string;
}

/** Of the file: its id. Of a domain's policy: `domain/id`, since two domains may use the same id. */
export function orderNameOf(route: PolicyRoute): string {
  return isOfDomain(route) ? `${route.hosts[0]}/${route.id}` : route.id;
}

/** From the policy of a domain. */
export function isOfDomain({ origin }: PolicyRoute): boolean {
  return origin.startsWith("route_policies ");
}

/** Of the requests that it would have: 1 before it begins, 0 when it is over. */
export function drainShare({ startAtMs, overMs }: DrainPolicy, wallMs: number): number {
  if (wallMs < startAtMs) return 1;
  return overMs <= 0 ? 0 : Math.max(0, 1 - (wallMs - startAtMs) / overMs);
}
