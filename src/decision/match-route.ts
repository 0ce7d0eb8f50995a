/*  Which policy applies to a request: the best of the routes that match it, and the service that its split leads this client to.
 *
 *      rules of the host --> best by priority, host, path, matchers, age --.
 *      the host's bare route (priority 0, path `/`, no matcher, oldest) ---'--> route --> split --> service
 */
import type { PolicyService } from "../table/policies.ts";
import { OWN_VMS, PLAIN_SERVICE, type PolicyRoute, type SplitTarget } from "../table/policy.ts";
import { hostRank, inOrder, matcherCount, pathRank, type RuleSet, type Subject } from "../table/rule-set.ts";
import type { HeaderList } from "../wire/header-list.ts";
import { keyHash } from "../wire/key-hash.ts";
import type { Surroundings } from "./decide.ts";
import type { LimitVerdict } from "./policy-hooks.ts";
import { requestKey } from "./request-keys.ts";
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
  /** Whose VMs are meant by `vms`: the host asked for, or the one that a preview host stands for. */
  readonly host: string;
  /** The name or wildcard of the routing table that it falls under; null: none. */
  readonly domain: string | null;
  readonly view: RequestView;
  /** Of the route's rate limit; null: not asked yet, or there is none. */
  limit: LimitVerdict | null;
}

/** null: no policy applies, the host's bare route is all there is. A text: why the request must be refused as malformed. */
export function matchRoute(view: RequestView, around: Surroundings, trace?: Trace): MatchedRoute | string | null {
  const { table } = around;
  const { host } = view;
  const domain = table.match(host) ?? null;
  const sets = table.policies.rulesOf(host, domain);
  if (sets === null) return null;
  const subject: Subject = { method: view.method, path: view.path, query: view.query, fields: view.fields, routeKey: null };
  const route = bestOf(sets, subject, domain);
  if (route === null) return bareRoute(view, domain, around, trace);
  return matchedBy(route, view, { host, domain, routeKey: null }, around, trace);
}

interface Best {
  readonly route: PolicyRoute;
  readonly set: RuleSet;
}

/** The best of all sets; null: none, or the bare route of the domain is better. */
function bestOf(sets: readonly RuleSet[], subject: Subject, domain: string | null): PolicyRoute | null {
  let best: Best | null = null;
  for (const set of sets) {
    if (best !== null && isBelow(set, best)) continue;
    const route = set.best(subject)?.route;
    if (route === undefined) continue;
    const better = best === null || route.priority > best.route.priority ||
      set.rank === best.set.rank && inOrder(route, best.route) < 0;
    if (better) best = { route, set };
  }
  return best === null || domain !== null && losesToBareRoute(best, hostRank(domain)) ? null : best.route;
}

/** Nothing in there is better: sets of lower rank come later. */
function isBelow(set: RuleSet, { route, set: { rank } }: Best): boolean {
  return set.priority < route.priority || set.priority === route.priority && set.rank < rank;
}

/** That has the priority 0, no path and no matcher, and is older than the routes of the file. */
function losesToBareRoute({ route, set }: Best, bareRank: number): boolean {
  if (route.priority !== 0) return route.priority < 0;
  if (set.rank !== bareRank) return set.rank < bareRank;
  return !set.ofDomain && pathRank(route.match.path) === 0 && matcherCount(route) === 0;
}

/** Of the requested host and what it stands for. */
type Whose = Pick<MatchedRoute, "host" | "domain" | "routeKey">;

function matchedBy(route: PolicyRoute, view: RequestView, whose: Whose, around: Surroundings, trace?: Trace): MatchedRoute {
  const target = route.split.length === 0 ? null : targetOf(route, view, whose.routeKey, around);
  const service = target === null ? null : serviceOf(target.service, whose.domain, around);
  trace?.({ kind: "policy", id: route.id, origin: route.origin, service: service?.name ?? null });
  return { route, service, ...whose, view, limit: null };
}

/** Where its VMs are under a policy although no route says more of them. */
function bareRoute(view: RequestView, domain: string | null, around: Surroundings, trace?: Trace): MatchedRoute | null {
  if (domain === null || around.table.policies.service(OWN_VMS, domain)?.plain !== false) return null;
  return matchedBy(BARE_ROUTE, view, { host: view.host, domain, routeKey: null }, around, trace);
}

/** One that nobody knows (any more) has no endpoints. */
function serviceOf(name: string, domain: string | null, around: Surroundings): PolicyService {
  return around.table.policies.service(name, domain) ?? { name, policy: PLAIN_SERVICE, endpoints: [], plain: false };
}

function targetOf(route: PolicyRoute, view: RequestView, routeKey: string | null, around: Surroundings): SplitTarget {
  const { split, splitKey } = route;
  if (split.length === 1) return split[0]!;
  const key = splitKey === null ? null : requestKey(splitKey, view, routeKey) ?? view.clientAddress;
  let place = key === null ? Math.floor(around.random() * 10_000) : placeOf(key);
  for (const target of split) {
    if (place < target.share) return target;
    place -= target.share;
  }
  return split.at(-1)!;
}

/**
 * 0 to 9,999; the same for a key everywhere and always. Not the hash of the key alone: balancers hash that, and would find only one part
 * of all keys on each side.
 */
export function placeOf(key: string): number {
  return Math.floor(keyHash(`split:${key}`) / 2 ** 32 * 10_000);
}

const NO_EDITS = { set: [], add: [], remove: [] };

/** Of the routing table, as a policy would say it. */
export const BARE_ROUTE: PolicyRoute = {
  id: "",
  origin: "routing table",
  hosts: [],
  match: { path: { kind: "prefix", value: "/" }, methods: [], headers: [], cookies: [], query: [], routeKey: null },
  priority: 0,
  split: [{ service: OWN_VMS, share: 10_000 }],
  splitKey: null,
  redirect: null,
  respond: null,
  rewrite: null,
  requestFields: NO_EDITS,
  responseFields: NO_EDITS,
  rateLimit: null,
  maxBodyBytes: null,
  timeouts: PLAIN_SERVICE.timeouts,
  maintenance: null,
  drain: null,
  errors: [],
};
