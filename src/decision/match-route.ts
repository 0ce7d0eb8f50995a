/*  Which policy applies to a request: the best of the routes that match it, and the service that its split leads this client to.
 *
 *      rules of the host --> best by priority, host, path, matchers, age --.
 *      the host's bare route (priority 0, path `/`, no matcher, oldest) ---'--> route --> split --> service
 */
import type { SaidFields } from "../table/field-values.ts";
import { pathReadings } from "../table/path-reading.ts";
import type { PolicyService } from "../table/policies.ts";
import { OWN_VMS, PLAIN_SERVICE, type PolicyRoute, type SplitTarget } from "../table/policy.ts";
import { isOfDomain } from "../table/policy-order.ts";
import { hostRank, inOrder, matcherCount, pathRank, whyNot } from "../table/rule.ts";
import type { RuleSet } from "../table/rule-set.ts";
import { Subject } from "../table/subject.ts";
import { hashBegun, keyHash } from "../wire/key-hash.ts";
import { routeIsLeft, serviceIsLeft } from "./drains.ts";
import { type EdgeWord, edgeWordOf, toldOf, vouchedBy } from "./edge-word.ts";
import type { LimitVerdict } from "./policy-hooks.ts";
import { clientKey, keyWords, requestKey } from "./request-keys.ts";
import { previewHost, routeKeyOf, type Vouched } from "./route-key.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Trace } from "./trace.ts";

/** What of a request policies look at. */
export interface RequestView extends SaidFields {
  /** Normalised. */
  readonly host: string;
  /** As the client speaks to the first of the proxies that we believe. */
  readonly scheme: string;
  readonly method: string;
  /** Percent-encoding as it came; begins with `/` (or is `*`). */
  readonly path: string;
  /** Without the `?`; empty: none. */
  readonly query: string;
  /** The client as trusted proxies tell it. */
  readonly clientAddress: string;
  /** The connection's peer is a trusted proxy. */
  readonly trusted: boolean;
  readonly requestId: string;
}

/** Once per request: what it keeps, whatever is tried. */
export interface MatchedRoute {
  readonly route: PolicyRoute;
  /** As it is when it is decided; null: the route answers by itself. */
  service: PolicyService | null;
  /** The believed one; null: none. */
  readonly routeKey: string | null;
  /** Whose VMs are meant by `vms`: the host asked for, or the one that a preview host stands for. */
  readonly host: string;
  /** The name or wildcard of the routing table that it falls under; null: none. */
  readonly domain: string | null;
  readonly view: RequestView;
  /** It drains, takes this client no more, and nobody else is there to take it. */
  readonly drained: boolean;
  /** By the edge that sent it here; null: nothing. */
  readonly told: EdgeWord | null;
  /** Of the route's rate limit; null: not asked yet, or there is none. */
  limit: LimitVerdict | null;
}

/** Where all routes are for any path, so that nobody looks at the request's. */
const ANY_PATH: readonly string[] = ["/"];
/** What two servers may read as two things. */
const AMBIGUOUS_PATH = "The path leads to different routes, depending on how its dots and slashes are read";

/** null: no policy applies, the host's bare route is all there is. A text: why the request must be refused as malformed. */
export function matchRoute(view: RequestView, around: Surroundings, trace?: Trace): MatchedRoute | string | null {
  const { policies } = around.table;
  const word = edgeWordOf(view, around, trace);
  const vouched = vouchedBy(view, word);
  const preview = view.host.includes("--") ? previewOf(view, vouched, around) : null;
  const host = preview?.host ?? view.host;
  const domain = around.table.match(host) ?? null;
  const sets = policies.rulesOf(host, domain);
  if (sets === null) return null;
  const alone = sets.length === 1 && trace === undefined ? sets[0]! : null;
  if (alone !== null && alone.always !== null && !alone.keyed && !losesToBareRoute(alone.always, alone, domain)) {
    // The usual case: one route for all that is asked of the host
    const whose = { host, domain, view, routeKey: preview?.key ?? null, word };
    if (!routeIsLeft(alone.always, whose, around)) return matchedBy(alone.always, whose, around);
  }
  let keyed = false, byPath = false;
  for (const set of sets) {
    if (set.keyed) keyed = true;
    if (set.byPath) byPath = true;
  }
  const routeKey = preview?.key ?? (keyed ? routeKeyOf(view, policies.sandbox, around.secret, vouched, trace) : null);
  const readings = byPath ? pathReadings(view.path) : ANY_PATH;
  const subject = new Subject(view, readings[0]!, routeKey);
  const best = bestOf(sets, subject, domain);
  if (trace !== undefined) tell(sets, subject, best, trace);
  for (let i = 1; i < readings.length; i++) {
    if (bestOf(sets, new Subject(view, readings[i]!, routeKey), domain) !== best) return AMBIGUOUS_PATH;
  }
  const whose = { host, domain, view, routeKey, word };
  const left = best !== null && routeIsLeft(best, whose, around, trace);
  const route = left ? successor(best, sets, subject, whose, around, trace) : best;
  if (route !== null) return matchedBy(route, whose, around, trace, left && route === best);
  const underPolicy = domain !== null && !policies.service(OWN_VMS, domain)!.plain;
  return underPolicy || preview !== null ? matchedBy(BARE_ROUTE, whose, around, trace) : null;
}

/**
 * The host that a preview host stands for, and the key. Only where nobody has claimed the preview host itself, its key is believed, and
 * the other host has routes for keys: else it is a host like any other.
 */
function previewOf(view: RequestView, vouched: Vouched, { table, secret }: Surroundings): BelievedPreview | null {
  if (table.match(view.host) === view.host || table.policies.names(view.host)) return null;
  const preview = previewHost(view, table.policies.sandbox, secret, vouched);
  if (preview === null || preview.key === null) return null;
  const { host, key } = preview;
  const rules = table.policies.rulesOf(host, table.match(host) ?? null);
  return rules?.some((set) => set.keyed) === true ? { host, key } : null;
}

interface BelievedPreview {
  readonly host: string;
  readonly key: string;
}

/** How many are named that are not taken. */
const MOST_TOLD = 20;

/** Why better routes are not taken, from the best on. */
function tell(sets: readonly RuleSet[], subject: Subject, taken: PolicyRoute | null, trace: Trace): void {
  let told = 0;
  for (const { rules } of sets) {
    for (const rule of rules) {
      if (rule.route === taken) break;
      const why = whyNot(rule, subject) ?? "another comes first";
      if (++told > MOST_TOLD) return trace({ kind: "note", text: "more routes have been looked at" });
      trace({ kind: "note", text: `not ${rule.route.id} (${rule.route.origin}): ${why}` });
    }
  }
}

/** Who takes the clients of a route that drains: itself if nobody does; null: the host's bare route. */
function successor(
  left: PolicyRoute,
  sets: readonly RuleSet[],
  subject: Subject,
  whose: Whose,
  around: Surroundings,
  trace?: Trace,
): PolicyRoute | null {
  const { domain } = whose;
  const gone = new Set([left]);
  while (true) {
    const next = bestOf(sets, subject, domain, gone);
    // The VMs of a domain are what the bare route leads to, too
    if (next === null) return domain === null || isOfDomain(left) ? left : null;
    if (!routeIsLeft(next, whose, around, trace)) return next;
    gone.add(next);
  }
}

interface Best {
  readonly route: PolicyRoute;
  readonly set: RuleSet;
}

/** The best of all sets; null: none, or the bare route of the domain is better. */
function bestOf(
  sets: readonly RuleSet[],
  subject: Subject,
  domain: string | null,
  gone: ReadonlySet<PolicyRoute> | null = null,
): PolicyRoute | null {
  let best: Best | null = null;
  for (const set of sets) {
    if (best !== null && isBelow(set, best)) continue;
    const rule = gone === null
      ? set.best(subject)
      : set.rules.find((each) => !gone.has(each.route) && whyNot(each, subject) === null);
    const route = rule?.route;
    if (route === undefined) continue;
    const better = best === null || route.priority > best.route.priority ||
      set.rank === best.set.rank && inOrder(route, best.route) < 0;
    if (better) best = { route, set };
  }
  return best === null || losesToBareRoute(best.route, best.set, domain) ? null : best.route;
}

/** Nothing in there is better: sets of lower rank come later. */
function isBelow(set: RuleSet, { route, set: { rank } }: Best): boolean {
  return set.priority < route.priority || set.priority === route.priority && set.rank < rank;
}

/** That has the priority 0, no path and no matcher, and is older than the routes of the file. */
function losesToBareRoute(route: PolicyRoute, set: RuleSet, domain: string | null): boolean {
  if (domain === null) return false;
  if (route.priority !== 0) return route.priority < 0;
  const bareRank = hostRank(domain);
  if (set.rank !== bareRank) return set.rank < bareRank;
  return !set.ofDomain && pathRank(route.match.path) === 0 && matcherCount(route) === 0;
}

/** Of the request: its host, and what that stands for. */
interface Whose extends Pick<MatchedRoute, "host" | "domain" | "view" | "routeKey"> {
  readonly word: EdgeWord | null;
}

function matchedBy(route: PolicyRoute, whose: Whose, around: Surroundings, trace?: Trace, left = false): MatchedRoute {
  const { host, domain, view, routeKey, word } = whose;
  const told = word === null ? null : toldOf(word, route, trace);
  const target = route.split.length === 0 ? null : targetOf(route, route.split, whose, around, told, trace);
  const service = target?.service ?? null;
  trace?.({ kind: "policy", id: route.id, origin: route.origin, service: service?.name ?? null });
  return { route, service, routeKey, host, domain, view, drained: left || target?.left === true, told, limit: null };
}

/** One that nobody knows (any more) has no endpoints. */
function serviceOf(name: string, domain: string | null, around: Surroundings): PolicyService {
  return around.table.policies.service(name, domain) ?? { name, policy: PLAIN_SERVICE, endpoints: [], plain: false };
}

interface Target {
  readonly service: PolicyService;
  /** It drains, and none of the others takes this client. */
  readonly left: boolean;
}

/** Of `split`, those that are left of the route's. */
function targetOf(
  route: PolicyRoute,
  split: readonly SplitTarget[],
  whose: Whose,
  around: Surroundings,
  told: EdgeWord | null,
  trace?: Trace,
): Target {
  const drawnBefore = told === null ? undefined : split.find(({ service, share }) => share > 0 && service === told.service);
  const target = drawnBefore ?? drawn(route, split, whose, around);
  if (trace !== undefined && split.length > 1 && drawnBefore === undefined) tellDraw(route, target, whose, trace);
  const service = serviceOf(target.service, whose.domain, around);
  if (!serviceIsLeft(service, whose.domain, route, whose, around, trace)) return { service, left: false };
  const rest = split.filter((each) => each !== target && each.share > 0);
  return rest.length === 0 ? { service, left: true } : targetOf(route, rest, whose, around, null, trace);
}

function drawn(route: PolicyRoute, split: readonly SplitTarget[], { view, routeKey }: Whose, around: Surroundings): SplitTarget {
  if (split.length === 1) return split[0]!;
  const { splitKey } = route;
  const key = splitKey === null ? null : requestKey(splitKey, view, routeKey) ?? clientKey(view.clientAddress);
  let place = key === null ? Math.floor((around.hooks.lot(route) ?? around.random()) * 10_000) : placeOf(key);
  let all = 0;
  for (const { share } of split) all += share;
  // Of those that are left, the place within what they have together, told apart by another hash: the first has chosen whom it left
  if (all < 10_000) place = Math.floor((key === null ? place : placeOf(`${split.length} ${key}`)) * all / 10_000);
  for (const target of split) {
    if (place < target.share) return target;
    place -= target.share;
  }
  return split.at(-1)!;
}

function tellDraw({ splitKey }: PolicyRoute, { service, share }: SplitTarget, { view, routeKey }: Whose, trace: Trace): void {
  const by = splitKey === null ? "by chance" : keyWords(splitKey, requestKey(splitKey, view, routeKey));
  trace({ kind: "note", text: `of the split ${service} is drawn, ${by}, which has ${share / 100} %` });
}

const SPLIT = hashBegun("split:");

/**
 * 0 to 9,999; the same for a key everywhere and always. Not the hash of the key alone: balancers hash that, and would find only one part
 * of all keys on each side.
 */
export function placeOf(key: string): number {
  return Math.floor(keyHash(key, SPLIT) / 2 ** 32 * 10_000);
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
