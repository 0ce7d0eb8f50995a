/** Patterns are measured before they are compiled. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RE2JS } from "re2js";
import { parseDomainPolicy } from "../../src/sources/domain-policy.ts";
import { patternSteps } from "../../src/sources/pattern-size.ts";
import { patternProblem } from "../../src/sources/policy-values.ts";

test("patternSteps() counts repetitions of what they repeat", () => {
  const cases: readonly [pattern: string, steps: number][] = [
    ["abc", 3],
    ["a{5}b", 6],
    ["[a-z{9}]{10}", 10],
    ["(?:ab){100}", 500],
    ["((a{10}){10}){10}", 1110],
    ["a{2,}b{0,7}", 10],
    ["\\pL{3}\\p{Greek}{3}\\x{263a}{3}", 9],
    ["\\{5}", 3],
  ];
  for (const [pattern, steps] of cases) assert.equal(patternSteps(pattern), steps, pattern);
});

test("patternSteps() is not led astray by what only looks like groups and classes", () => {
  for (const pattern of ["\\Q[(\\E(?:x{10}){100}", "[[:alpha:](](?:x{10}){100}", "(a\\Q)\\Ex{10}){100}", "[]([](?:x{10}){100}"]) {
    const { length } = RE2JS.compile(pattern).pattern();
    assert.ok(length > 0 && patternSteps(pattern) >= 1000, `${pattern}: ${patternSteps(pattern)}`);
  }
});

test("a pattern that would take long to compile is refused without", () => {
  const compile = RE2JS.compile;
  try {
    RE2JS.compile = () => assert.fail("compiled");
    for (const bomb of [`(?:${"ab".repeat(490)}){1000}`, "x{1000}".repeat(142), `(?:${"(a|)".repeat(240)}){1000}`]) {
      assert.match(patternProblem(bomb) ?? "", /simpler pattern/);
    }
  } finally {
    RE2JS.compile = compile;
  }
  for (const usual of ["^[A-Za-z0-9_-]{1,128}\\.[A-Za-z0-9_-]{1,128}$", "(?i)mobile|android", "[\\pL\\pN]{1000}"]) {
    assert.equal(patternProblem(usual), null, usual);
  }
});

test("the patterns of a domain are bounded together, since one request may meet them all", () => {
  const policy = (count: number) => ({
    routes: [{
      match: { headers: Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, { pattern: "[ab]*a[ab]{900}$" }])) },
    }],
  });
  assert.ok("policy" in parseDomainPolicy("a.test", policy(5), { regionId: "here" }));
  assert.deepEqual(parseDomainPolicy("a.test", policy(6), { regionId: "here" }), {
    problems: ["its patterns are too large together: simpler or fewer ones"],
  });
});

test("thousands of routes that match the same get ids at once", () => {
  let looks = 0;
  const has = Set.prototype.has;
  try {
    Set.prototype.has = function (this: Set<unknown>, value: unknown): boolean {
      looks++;
      return has.call(this, value);
    };
    const reading = parseDomainPolicy("a.test", { routes: Array.from({ length: 3000 }, () => ({ path: "/p" })) }, {
      regionId: "here",
    });
    assert.ok("policy" in reading && reading.policy.routes.at(-1)!.id === "a.test/p-3000");
  } finally {
    Set.prototype.has = has;
  }
  assert.ok(looks < 100_000, `${looks} looks`);
});
