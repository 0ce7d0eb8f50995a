/** The routes of one name, wildcard, or of any host, compiled: the best of those that match a request. */
import type { HeaderList } from "../wire/header-list.ts";
import { cookieValues } from "../wire/cookies.ts";
import { queryValues } from "../wire/query.ts";
import { compiledMatcher, type ValueTest } from "./matchers.ts";
import type { NamedMatcher, PathMatch, PolicyRoute } from "./policy.ts";

/** What of a request routes are matched against. */
export interface Subject {
  readonly method: string;
  /** As `pathReading` gives it. */
  readonly path: string;
  /** Without the `?`. */
  readonly query: string;
  readonly fields: HeaderList;
  /** The believed one; null: none. */
  readonly routeKey: string | null;
}

interface NamedTest {
  readonly name: string;
  readonly test: ValueTest;
}

export interface Rule {
  readonly route: PolicyRoute;
  readonly headers: readonly NamedTest[];
  readonly cookies: readonly NamedTest[];
  readonly query: readonly NamedTest[];
}

export class RuleSet {
  /** Of the host that they are about: see `hostRank`. */
  readonly rank: number;
  /** The highest of its routes. */
  readonly priority: number;
  /** Best first. */
  readonly rules: readonly Rule[];
  /** Some route looks at the path. */
  readonly byPath: boolean;

  /** From the policy of a domain: its bare route stands in the place of the one of the routing table. */
  readonly ofDomain: boolean;

  /** `host`: a name, a wildcard, or `*` for any. `routes`: of equal ones the first is the oldest. */
  constructor(host: string, routes: readonly PolicyRoute[], ofDomain: boolean) {
    this.ofDomain = ofDomain;
    this.rank = hostRank(host);
    this.priority = Math.max(...routes.map(({ priority }) => priority));
    this.rules = routes.map(compiled).sort((a, b) => inOrder(a.route, b.route));
    this.byPath = routes.some(({ match }) => match.path.kind === "exact" || match.path.value !== "/");
  }

  best(subject: Subject): Rule | null {
    return this.rules.find((rule) => fits(rule, subject)) ?? null;
  }
}

/** A name before a wildcard, the longer before the shorter, any host last. */
export function hostRank(host: string): number {
  return host.startsWith("*") ? host.length - 1 : 1000;
}

/** Of two routes of hosts of equal rank; negative: `a` first. Stable: 0 keeps the order in which they were written. */
export function inOrder(a: PolicyRoute, b: PolicyRoute): number {
  return b.priority - a.priority || pathRank(b.match.path) - pathRank(a.match.path) || matcherCount(b) - matcherCount(a);
}

/** Exact before prefix, longer before shorter. */
export function pathRank({ kind, value }: PathMatch): number {
  return kind === "exact" ? 1e6 + value.length : value === "/" ? 0 : value.length;
}

/** Methods count as one. */
export function matcherCount({ match }: PolicyRoute): number {
  const { headers, cookies, query, methods, routeKey } = match;
  return headers.length + cookies.length + query.length + (methods.length > 0 ? 1 : 0) + (routeKey === null ? 0 : 1);
}

export function pathFits({ kind, value }: PathMatch, path: string): boolean {
  if (kind === "exact") return path === value;
  return value === "/" || path.startsWith(value) && (path.length === value.length || path.charCodeAt(value.length) === 0x2f);
}

function compiled(route: PolicyRoute): Rule {
  const { headers, cookies, query } = route.match;
  return { route, headers: headers.map(named), cookies: cookies.map(named), query: query.map(named) };
}

function named({ name, matcher }: NamedMatcher): NamedTest {
  return { name, test: compiledMatcher(matcher) };
}

export function fits({ route: { match }, headers, cookies, query }: Rule, subject: Subject): boolean {
  return pathFits(match.path, subject.path) &&
    (match.routeKey === null || match.routeKey === subject.routeKey) &&
    (match.methods.length === 0 || match.methods.includes(subject.method)) &&
    headers.every(({ name, test }) => fieldFits(subject.fields, name, test)) &&
    cookies.every(({ name, test }) => cookieValues(subject.fields, name).some(test)) &&
    query.every(({ name, test }) => queryValues(subject.query, name).some(test));
}

/** Of several fields of that name one suffices. */
function fieldFits(fields: HeaderList, name: string, test: ValueTest): boolean {
  for (let i = 0; i < fields.count; i++) if (fields.nameIs(i, name) && test(fields.value(i))) return true;
  return false;
}
