/** The index over routes finds what looking at one after the other finds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Matcher, NamedMatcher, PolicyRoute } from "../../src/table/policy.ts";
import { fitsBeyondPath, pathFits, whyNot } from "../../src/table/rule.ts";
import { RuleSet } from "../../src/table/rule-set.ts";
import { Subject } from "../../src/table/subject.ts";
import { chance } from "../fixtures/chance.ts";
import { policyRoute, requestView } from "../fixtures/requests-under-policies.ts";

const PATHS = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/a/b/", "/caf\u00e9"];
const VALUES = ["", "x", "y", "xy"];
const PATTERNS = [
  "^x$",
  "^xy?$",
  "^xy*",
  "^xy+",
  "^xy{0,1}$",
  "^x|y",
  "^(?:x|y)$",
  "y$",
  "(?i)^X",
  "^xy(?s)*$",
  "^xy+(?s)?$",
  "^xy\\Q\\E?$",
  "^.y",
  "^x.",
  "^\\x78",
  "^",
  "",
];

function one<T>(values: readonly T[], random: () => number): T {
  return values[Math.floor(random() * values.length)]!;
}

function matcherOf(random: () => number): Matcher {
  const value = one(VALUES, random);
  const pattern = one(PATTERNS, random);
  return one<Matcher>(
    [{ kind: "equal", value }, { kind: "prefix", value }, { kind: "pattern", pattern }, { kind: "present" }],
    random,
  );
}

function named(names: readonly string[], random: () => number) {
  return names.filter(() => random() < 0.2).map((name) => ({ name, matcher: matcherOf(random) }));
}

function randomRoute(id: number, random: () => number): PolicyRoute {
  const value = one(PATHS, random).replace(/(.)\/$/, "$1");
  return policyRoute(String(id), {
    priority: random() < 0.8 ? 0 : Math.floor(random() * 3) - 1,
    match: {
      path: { kind: random() < 0.7 ? "prefix" : "exact", value },
      methods: random() < 0.2 ? ["POST"] : [],
      headers: named(["x-a", "x-b"], random),
      cookies: named(["c"], random),
      query: named(["q"], random),
      routeKey: random() < 0.2 ? one(["k", "l"], random) : null,
      ...random() < 0.1 ? { routeKeyLike: one<Matcher>([{ kind: "present" }, { kind: "prefix", value: "k" }], random) } : {},
    },
  });
}

function randomSubject(random: () => number): Subject {
  const fields: Record<string, string> = {};
  if (random() < 0.5) fields["X-A"] = one(VALUES, random);
  if (random() < 0.3) fields["X-B"] = one(VALUES, random);
  if (random() < 0.3) fields["Cookie"] = `d=1; c=${one(VALUES, random)}; c=x`;
  const query = random() < 0.3 ? `?p&q=${one(VALUES, random)}&q` : "";
  const view = requestView(`a.test/${query}`, { method: one(["GET", "POST"], random), fields });
  const path = one([...PATHS, "/a/x", "/b/a", "/a/b/c/d/e", "*"], random);
  return new Subject(view, path, random() < 0.5 ? null : one(["k", "l", "m"], random));
}

test("RuleSet.best() finds the first that fits of all in order", () => {
  let found = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const random = chance(seed);
    const set = new RuleSet(
      "a.test",
      Array.from({ length: 1 + Math.floor(random() * 40) }, (_, id) => randomRoute(id, random)),
      false,
    );
    for (let request = 0; request < 20; request++) {
      const subject = randomSubject(random);
      const first = set.rules.find((rule) => pathFits(rule.path, subject.path) && fitsBeyondPath(rule, subject)) ?? null;
      assert.equal(set.best(subject), first, `seed ${seed}, request ${request}`);
      for (const rule of set.rules) {
        assert.equal(whyNot(rule, subject) === null, pathFits(rule.path, subject.path) && fitsBeyondPath(rule, subject));
      }
      if (first !== null) found++;
    }
  }
  assert.ok(found > 2000 && found < 7900, `${found} of 8,000 found one`);
});

test("RuleSet puts routes that are equal in the order in which they are written", () => {
  const set = new RuleSet("*", [policyRoute("a"), policyRoute("b"), policyRoute("c", { priority: 1 })], false);
  assert.deepEqual(set.rules.map(({ route }) => route.id), ["c", "a", "b"]);
  assert.deepEqual([set.rank, set.priority, set.byPath, set.keyed], [0, 1, false, false]);
});

class CountingSubject extends Subject {
  looks = 0;

  override values(...which: Parameters<Subject["values"]>): readonly string[] {
    this.looks++;
    return super.values(...which);
  }
}

const ONE_OF_MANY: Readonly<Record<string, (index: number) => readonly NamedMatcher[]>> = {
  "an equal value": (i) => [{ name: "x-tenant", matcher: { kind: "equal", value: `t-${i}-x` } }],
  "an equal value beside one that all want": (i) => [
    { name: "x-env", matcher: { kind: "equal", value: "prod" } },
    { name: "x-tenant", matcher: { kind: "equal", value: `t-${i}-x` } },
  ],
  "a beginning": (i) => [{ name: "x-tenant", matcher: { kind: "prefix", value: `t-${i}-` } }],
  "a pattern that begins with plain letters": (
    i,
  ) => [{ name: "x-tenant", matcher: { kind: "pattern", pattern: `^t-${i}-[a-z]$` } }],
  "a pattern of a value that all have": (i) => [
    { name: "x-env", matcher: { kind: "pattern", pattern: "p.*d" } },
    { name: "x-tenant", matcher: { kind: "equal", value: `t-${i}-x` } },
  ],
};

for (const [what, headers] of Object.entries(ONE_OF_MANY)) {
  test(`RuleSet.best() finds one of 1,000 routes of a path by ${what}, without looking at the others`, () => {
    const routes = Array.from({ length: 1000 }, (_, i) => policyRoute(String(i), { match: { headers: headers(i) } }));
    const set = new RuleSet("a.test", routes, false);
    const view = requestView("a.test/", { fields: { "X-Env": "prod", "X-Tenant": "t-997-x" } });
    const subject = new CountingSubject(view, "/", null);
    assert.equal(set.best(subject)?.route.id, "997");
    assert.ok(subject.looks <= 5, `${subject.looks} looks`);
  });
}
