/*  The routes of one path, found by what they want of one value: all of it (`is`), or how it begins.
 *
 *      x-env is prod, x-tenant is t7  --.                          .- whole "t7" -> [rules, best first]
 *      x-tenant begins with t7-       --+-> the rarest wish: x-tenant
 *      x-tenant matches ^t[0-9]+$     --'                          '- 1 byte "t", 3 bytes "t7-" -> [rules, best first]
 *
 *  A request then pays for each name that is asked for, and for each length of beginnings, not for each route. One by one are looked at
 *  only routes that share a wish: the same value, the name alone (present, patterns without a fixed beginning), or none (methods).
 */
import type { Wish } from "./matchers.ts";
import { fitsBeyondPath, type Rule } from "./rule.ts";
import type { Place, Subject } from "./subject.ts";

/** Rules that want something of the value of one name. */
interface ByName {
  readonly place: Place;
  readonly name: string;
  readonly whole: Map<string, Rule[]>;
  /** By length. */
  readonly begins: Map<number, Map<string, Rule[]>>;
}

export class RuleGroup {
  /** null: none, as for most paths. */
  #byKey: Map<string, Rule[]> | null = null;
  #byName: ByName[] | null = null;
  readonly #others: Rule[] = [];

  /** `rules`: of one path, best first. */
  constructor(rules: readonly Rule[]) {
    const counts = rules.length === 1 ? null : countsOf(rules);
    for (const rule of rules) this.#add(rule, counts === null ? wishesOf(rule)[0] : rarest(wishesOf(rule), counts));
  }

  /** The better of `best` and the best of these. The subject's path fits. */
  best(subject: Subject, best: Rule | null): Rule | null {
    if (this.#byKey !== null && subject.routeKey !== null) best = bestIn(this.#byKey.get(subject.routeKey), subject, best);
    if (this.#byName !== null) { for (const named of this.#byName) best = bestOfName(named, subject, best); }
    return bestIn(this.#others, subject, best);
  }

  #add(rule: Rule, wish: RuleWish | undefined): void {
    if (wish === undefined) return void this.#others.push(rule);
    if (wish.place === "key") return append(this.#byKey ??= new Map(), wish.text, rule);
    const { whole, begins } = this.#ofName(wish.place, wish.name);
    if (wish.whole) return append(whole, wish.text, rule);
    const { length } = wish.text;
    let ofLength = begins.get(length);
    if (ofLength === undefined) begins.set(length, ofLength = new Map());
    append(ofLength, wish.text, rule);
  }

  #ofName(place: Place, name: string): ByName {
    const names = this.#byName ??= [];
    let found = names.find((each) => each.place === place && each.name === name);
    if (found === undefined) names.push(found = { place, name, whole: new Map(), begins: new Map() });
    return found;
  }
}

function bestOfName({ place, name, whole, begins }: ByName, subject: Subject, best: Rule | null): Rule | null {
  for (const value of subject.values(place, name)) {
    best = bestIn(whole.get(value), subject, best);
    for (const [length, rules] of begins) best = bestIn(rules.get(value.slice(0, length)), subject, best);
  }
  return best;
}

interface RuleWish extends Wish {
  readonly place: Place | "key";
  readonly name: string;
}

function wishesOf({ route: { match: { routeKey } }, conditions }: Rule): RuleWish[] {
  const wishes: RuleWish[] = conditions.map(({ place, name, wish }) => ({ place, name, ...wish }));
  if (routeKey !== null) wishes.unshift({ place: "key", name: "", whole: true, text: routeKey });
  return wishes;
}

function countsOf(rules: readonly Rule[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const rule of rules) for (const wish of wishesOf(rule)) counts.set(nameOf(wish), (counts.get(nameOf(wish)) ?? 0) + 1);
  return counts;
}

/** The first of those that the fewest rules share: equal values before beginnings, where that is a tie. */
function rarest(wishes: readonly RuleWish[], counts: ReadonlyMap<string, number>): RuleWish | undefined {
  let found: RuleWish | undefined, fewest = Infinity;
  for (const wish of wishes) {
    const count = counts.get(nameOf(wish))! + (wish.whole ? 0 : 0.5);
    if (count < fewest) [found, fewest] = [wish, count];
  }
  return found;
}

function nameOf({ place, name, whole, text }: RuleWish): string {
  return `${place} ${name} ${whole} ${text}`;
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
