/*  The routes of one name, wildcard, or of any host, compiled: the best of those that match a request is found without looking at all.
 *
 *      path     each prefix and each exact path is a key; a request has as many as segments, at most as many as the deepest route
 *      value    the routes of one path are keyed by what they want of a value (route key, field, cookie, parameter): see `RuleGroup`
 *      list     the rest, best first, is looked at one by one, until none can be better
 *
 *  Compiled when it is first asked: of 100,000 domains with policies few are asked in a worker's lifetime.
 */
import { type PolicyRoute, wantsRouteKey } from "./policy.ts";
import { RuleGroup } from "./rule-group.ts";
import { hostRank, inOrder, matcherCount, pathRank, type Rule, ruleOf } from "./rule.ts";
import type { Subject } from "./subject.ts";

export class RuleSet {
  readonly routes: readonly PolicyRoute[];
  /** Of the host that they are about: see `hostRank`. */
  readonly rank: number;
  /** The highest of its routes. */
  readonly priority: number;
  /** Some of its routes look at the path. */
  readonly byPath: boolean;
  /** Some of its routes are for a route key. */
  readonly keyed: boolean;
  /** From the policy of a domain: its bare route stands in the place of the one of the routing table. */
  readonly ofDomain: boolean;
  #index: PathIndex | null = null;

  /** `host`: a name, a wildcard, or `*` for any. `routes`: of equal ones the first is the oldest. */
  constructor(host: string, routes: readonly PolicyRoute[], ofDomain: boolean) {
    this.routes = routes;
    this.rank = hostRank(host);
    this.ofDomain = ofDomain;
    this.priority = routes.reduce((most, { priority }) => Math.max(most, priority), -Infinity);
    this.byPath = routes.some(({ match: { path } }) => path.kind === "exact" || path.value !== "/");
    this.keyed = routes.some(({ match }) => wantsRouteKey(match));
  }

  /** Best first. */
  get rules(): readonly Rule[] {
    return this.#compiled().rules;
  }

  best(subject: Subject): Rule | null {
    return this.#compiled().best(subject);
  }

  /** The best of its routes takes every request, whatever it is. null: it depends on the request. */
  get always(): PolicyRoute | null {
    return this.#compiled().always;
  }

  #compiled(): PathIndex {
    return this.#index ??= new PathIndex(this.routes.toSorted(inOrder).map(ruleOf));
  }
}

class PathIndex {
  readonly rules: readonly Rule[];
  readonly #exact: Map<string, RuleGroup> = new Map();
  /** Below `/`: what most requests are looked for in alone, so without a text to look up. */
  readonly #all: RuleGroup;
  /** By other prefixes. */
  readonly #below: Map<string, RuleGroup> = new Map();
  readonly always: PolicyRoute | null;
  /** Segments of the longest prefix. */
  #depth = 0;

  constructor(rules: readonly Rule[]) {
    this.rules = rules;
    const first = rules[0];
    this.always = first !== undefined && pathRank(first.path) === 0 && matcherCount(first.route) === 0 && first.moves === null
      ? first.route
      : null;
    const exact = new Map<string, Rule[]>(), below = new Map<string, Rule[]>();
    const all: Rule[] = [];
    for (const rule of rules) {
      const { kind, value } = rule.path;
      if (kind === "exact") listAt(exact, value).push(rule);
      else if (value === "/") all.push(rule);
      else {
        this.#depth = Math.max(this.#depth, value.split("/").length - 1);
        listAt(below, value).push(rule);
      }
    }
    for (const [path, list] of exact) this.#exact.set(path, new RuleGroup(list));
    for (const [path, list] of below) this.#below.set(path, new RuleGroup(list));
    this.#all = new RuleGroup(all);
  }

  best(subject: Subject): Rule | null {
    const { path } = subject;
    let best = this.#exact.size === 0 ? null : this.#exact.get(path)?.best(subject, null) ?? null;
    best = this.#all.best(subject, best);
    let end = 0;
    for (let depth = 0; depth < this.#depth && end < path.length; depth++) {
      end = nextSlash(path, end + 1);
      best = this.#below.get(end === path.length ? path : path.slice(0, end))?.best(subject, best) ?? best;
    }
    return best;
  }
}

function listAt(lists: Map<string, Rule[]>, key: string): Rule[] {
  let list = lists.get(key);
  if (list === undefined) lists.set(key, list = []);
  return list;
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf("/", from);
  return at < 0 ? path.length : at;
}
