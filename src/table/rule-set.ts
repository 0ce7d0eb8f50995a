/*  The routes of one name, wildcard, or of any host, compiled: the best of those that match a request is found without looking at all.
 *
 *      path     each prefix and each exact path is a key; a request has as many as segments, at most as many as the deepest route
 *      value    of the routes of one path, those that want an equal value (route key, field, cookie, parameter) are keyed by it
 *      list     the rest, best first: patterns, prefixes, methods. Only these are looked at one by one, until none can be better
 *
 *  Compiled when it is first asked: of 100,000 domains with policies few are asked in a worker's lifetime.
 */
import type { Condition } from "./matchers.ts";
import type { PolicyRoute } from "./policy.ts";
import { fitsBeyondPath, hostRank, inOrder, type Rule, ruleOf } from "./rule.ts";
import type { Place, Subject } from "./subject.ts";

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
    this.keyed = routes.some(({ match }) => match.routeKey !== null);
  }

  /** Best first. */
  get rules(): readonly Rule[] {
    return this.#compiled().rules;
  }

  best(subject: Subject): Rule | null {
    return this.#compiled().best(subject);
  }

  #compiled(): PathIndex {
    return this.#index ??= new PathIndex(this.routes.toSorted(inOrder).map(ruleOf));
  }
}

class PathIndex {
  readonly rules: readonly Rule[];
  readonly #exact: Map<string, RuleGroup> = new Map();
  /** By prefix; of `/` under the empty one. */
  readonly #below: Map<string, RuleGroup> = new Map();
  /** Segments of the longest prefix. */
  #depth = 0;

  constructor(rules: readonly Rule[]) {
    this.rules = rules;
    for (const rule of rules) {
      const { kind, value } = rule.path;
      const prefix = value === "/" ? "" : value;
      if (kind === "prefix") this.#depth = Math.max(this.#depth, prefix.split("/").length - 1);
      groupAt(kind === "exact" ? this.#exact : this.#below, kind === "exact" ? value : prefix).add(rule);
    }
  }

  best(subject: Subject): Rule | null {
    const { path } = subject;
    let best = this.#exact.get(path)?.best(subject, null) ?? null;
    best = this.#below.get("")?.best(subject, best) ?? best;
    let end = 0;
    for (let depth = 0; depth < this.#depth && end < path.length; depth++) {
      end = nextSlash(path, end + 1);
      best = this.#below.get(end === path.length ? path : path.slice(0, end))?.best(subject, best) ?? best;
    }
    return best;
  }
}

function groupAt(groups: Map<string, RuleGroup>, key: string): RuleGroup {
  let group = groups.get(key);
  if (group === undefined) groups.set(key, group = new RuleGroup());
  return group;
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf("/", from);
  return at < 0 ? path.length : at;
}

/** Rules that want one value to be equal to something, by what it has to be. */
interface ByValue {
  readonly place: Place;
  readonly name: string;
  readonly rules: Map<string, Rule[]>;
}

/** The rules of one path, which fits. */
class RuleGroup {
  readonly #byKey: Map<string, Rule[]> = new Map();
  readonly #byValue: ByValue[] = [];
  readonly #others: Rule[] = [];

  /** Best first. */
  add(rule: Rule): void {
    const { routeKey } = rule.route.match;
    const condition = rule.conditions.find(({ equal }) => equal !== null);
    if (routeKey !== null) append(this.#byKey, routeKey, rule);
    else if (condition !== undefined) append(this.#ofValue(condition), condition.equal!, rule);
    else this.#others.push(rule);
  }

  /** The better of `best` and the best of these. */
  best(subject: Subject, best: Rule | null): Rule | null {
    if (subject.routeKey !== null) best = bestIn(this.#byKey.get(subject.routeKey), subject, best);
    for (const { place, name, rules } of this.#byValue) {
      for (const value of subject.values(place, name)) best = bestIn(rules.get(value), subject, best);
    }
    return bestIn(this.#others, subject, best);
  }

  #ofValue({ place, name }: Condition): Map<string, Rule[]> {
    let found = this.#byValue.find((each) => each.place === place && each.name === name);
    if (found === undefined) this.#byValue.push(found = { place, name, rules: new Map() });
    return found.rules;
  }
}

function append(lists: Map<string, Rule[]>, key: string, rule: Rule): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [rule]);
  else list.push(rule);
}

/** `rules`: best first, with paths that fit. */
function bestIn(rules: readonly Rule[] | undefined, subject: Subject, best: Rule | null): Rule | null {
  if (rules === undefined) return best;
  for (const rule of rules) {
    if (best !== null && rule.place > best.place) return best;
    if (fitsBeyondPath(rule, subject)) return rule;
  }
  return best;
}
