/** Which policy applies to a request: the best of the routes that match it, and the service that its split leads this client to. */
import type { Policies, PolicyService } from "../table/policies.ts";
import type { PolicyRoute } from "../table/policy.ts";
import type { HeaderList } from "../wire/header-list.ts";
import type { Trace } from "./trace.ts";

/** What of a request policies look at. */
export interface RequestView {
  /** Normalised. */
  readonly host: string;
  readonly method: string;
  /** Percent-encoding as it came; begins with `/` (or is `*`). */
  readonly path: string;
  /** Without the `?`; empty: none. */
  readonly query: string;
  readonly fields: HeaderList;
  /** The client as trusted proxies tell it. */
  readonly clientAddress: string;
  /** The connection's peer is a trusted proxy. */
  readonly trusted: boolean;
}

/** Once per request: what it keeps, whatever is tried. */
export interface MatchedRoute {
  readonly route: PolicyRoute;
  /** null: the route answers by itself. */
  readonly service: PolicyService | null;
  /** The believed one; null: none. */
  readonly routeKey: string | null;
}

export interface Matching {
  readonly policies: Policies;
  /** The routing table has a route for the host. */
  readonly bareRoute: boolean;
  /** In [0, 1). */
  random(): number;
}

/** null: no policy applies, the host's bare route is all there is. */
export function matchRoute(_request: RequestView, _matching: Matching, _trace?: Trace): MatchedRoute | null {
  return null;
}
