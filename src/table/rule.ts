/** One route, compiled: its conditions, and its place in the order of routes. */
import { type Condition, conditionOf, conditionText, holds } from "./matchers.ts";
import { pathAsSent } from "./path-reading.ts";
import { type PathMatch, type PolicyRoute, type RedirectPolicy, wantsRouteKey } from "./policy.ts";
import type { Subject } from "./subject.ts";

export interface Rule {
  readonly route: PolicyRoute;
  /** Place in its set: 0 is the best. */
  readonly place: number;
  readonly path: PathMatch;
  readonly conditions: readonly Condition[];
  /** Where it redirects to with path and query as they are; null: elsewhere, or it is no redirect. */
  readonly moves: Move | null;
}

/** null: as requested. */
interface Move {
  readonly scheme: string | null;
  readonly host: string | null;
}

export function ruleOf(route: PolicyRoute, place: number): Rule {
  const { headers, cookies, query, path, routeKeyLike } = route.match;
  const conditions = [
    ...headers.map((each) => conditionOf("header", each)),
    ...cookies.map((each) => conditionOf("cookie", each)),
    ...query.map((each) => conditionOf("query", each)),
    ...routeKeyLike === undefined ? [] : [conditionOf("route key", { name: "", matcher: routeKeyLike })],
  ];
  return {
    route,
    place,
    path: { kind: path.kind, value: pathAsSent(bytesOf(path.value)) },
    conditions,
    moves: moveOf(route.redirect),
  };
}

function moveOf(redirect: RedirectPolicy | null): Move | null {
  if (redirect === null || redirect.to === null) return redirect;
  const [, scheme, host] = /^(https?|\{scheme\}):\/\/([^/{}]+|\{host\})\{path\}(?:\?\{query\})?$/i.exec(redirect.to) ?? [];
  if (scheme === undefined || host === undefined) return null;
  return { scheme: scheme.startsWith("{") ? null : scheme.toLowerCase(), host: host.startsWith("{") ? null : host.toLowerCase() };
}

/** The request has come where it would be redirected to: as after TLS has ended in front of us. It goes on, else it would go in circles. */
function isThere({ scheme, host }: Move, subject: Subject): boolean {
  return (scheme === null || scheme === subject.scheme) && (host === null || host === subject.host);
}

/** Operators write UTF-8. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** A name before a wildcard, the longer before the shorter, any host (`*`) last. */
export function hostRank(host: string): number {
  return host.startsWith("*") ? host.length - 1 : 1000;
}

/** Of two routes of hosts of equal rank; negative: `a` first. 0: the one that was there first. */
export function inOrder(a: PolicyRoute, b: PolicyRoute): number {
  return b.priority - a.priority || pathRank(b.match.path) - pathRank(a.match.path) || matcherCount(b) - matcherCount(a);
}

/** Exact before prefix, longer before shorter. */
export function pathRank({ kind, value }: PathMatch): number {
  return kind === "exact" ? 1e6 + value.length : value === "/" ? 0 : value.length;
}

/** Methods count as one. */
export function matcherCount({ match }: PolicyRoute): number {
  const { headers, cookies, query, methods } = match;
  return headers.length + cookies.length + query.length + (methods.length > 0 ? 1 : 0) + (wantsRouteKey(match) ? 1 : 0);
}

/** By segments: `/api` fits `/api` and `/api/x`, not `/apix`. */
export function pathFits({ kind, value }: PathMatch, path: string): boolean {
  if (kind === "exact") return path === value;
  return value === "/" || path.startsWith(value) && (path.length === value.length || path.charCodeAt(value.length) === 0x2f);
}

/** Whose path fits. */
export function fitsBeyondPath({ route: { match }, conditions, moves }: Rule, subject: Subject): boolean {
  if (moves !== null && isThere(moves, subject)) return false;
  if (match.routeKey !== null && match.routeKey !== subject.routeKey) return false;
  if (match.methods.length > 0 && !match.methods.includes(subject.method)) return false;
  for (const condition of conditions) if (!holds(condition, subject)) return false;
  return true;
}

/** Why it is not taken, the first reason that there is, for people; null: it fits. */
export function whyNot(rule: Rule, subject: Subject): string | null {
  const { match } = rule.route;
  if (!pathFits(rule.path, subject.path)) {
    return `the path is ${match.path.kind === "exact" ? "not" : "not below"} ${rule.path.value}`;
  }
  if (rule.moves !== null && isThere(rule.moves, subject)) return "the request is where it would be redirected to";
  if (match.methods.length > 0 && !match.methods.includes(subject.method)) return `the method is not ${match.methods.join(" or ")}`;
  if (match.routeKey !== null && match.routeKey !== subject.routeKey) {
    return `the route key ${subject.routeKey === null ? "is missing" : `is "${subject.routeKey}"`}, not "${match.routeKey}"`;
  }
  const failing = rule.conditions.findIndex((condition) => !holds(condition, subject));
  return failing < 0 ? null : `not so: ${conditionTexts(rule.route)[failing]}`;
}

function conditionTexts({ match: { headers, cookies, query, routeKeyLike } }: PolicyRoute): string[] {
  return [
    ...headers.map((each) => conditionText(each, "header")),
    ...cookies.map((each) => conditionText(each, "cookie")),
    ...query.map((each) => conditionText(each, "query")),
    ...routeKeyLike === undefined ? [] : [conditionText({ name: "", matcher: routeKeyLike }, "route key")],
  ];
}
