/** What a decision is made of: the request, as far as it matters, and what it is looked at beside. */
import type { EndpointRecord } from "../table/record.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import type { Service } from "../table/services.ts";
import type { Availability } from "../upstream/availability.ts";
import type { MatchedRoute } from "./match-route.ts";
import type { PolicyHooks } from "./policy-hooks.ts";

/** What of a request matters. */
export interface Asked {
  /** Normalised; under a policy that of `matched`. */
  readonly host: string;
  /** The joined Via field; null without one. */
  readonly via: string | null;
  /** Endpoints that have been tried for this request. */
  readonly tried: ReadonlySet<string> | null;
  /** null: no policy applies. */
  readonly matched: MatchedRoute | null;
}

/** What the decision looks at besides the request. */
export interface Surroundings {
  readonly table: RoutingTable;
  /** What the host led to before, as far as that has changed in the last seconds; the last one first. */
  previous(host: string): readonly Service[];
  /** This region's pseudonym in Via. */
  readonly pseudonym: string;
  availability(endpoint: EndpointRecord): Availability;
  /** Attempts under way at an endpoint. */
  load(endpoint: EndpointRecord): number;
  /** In [0, 1). */
  random(): number;
  /** Of signed route keys; empty: none is believed. */
  readonly secret: string;
  /** For requests under a policy. */
  readonly hooks: PolicyHooks;
}
