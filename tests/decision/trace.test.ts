/** A trace changes no decision, and tells which endpoints it was made of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { candidatesOf } from "../../src/decision/candidates.ts";
import { decide } from "../../src/decision/decide.ts";
import { pseudonym } from "../../src/decision/loop.ts";
import type { Asked, Surroundings } from "../../src/decision/surroundings.ts";
import { type Step, stepText } from "../../src/decision/trace.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { ELSEWHERE, FAR_AWAY, HERE, region, route, routesOf, vm } from "../fixtures/records.ts";
import { chance } from "../fixtures/chance.ts";

const VMS = [1, 2, 3, 4].map((last) => vm(`10.0.0.${last}`));
const REGIONS = [region(ELSEWHERE, "203.0.113.7"), region(FAR_AWAY, "203.0.113.8")];
const ALL = [...VMS, ...REGIONS];
const HOSTS = ["a.test", "x.a.test", "y.x.a.test", "b.test", "[::1]", ""];
const OF_VMS: readonly Availability[] = ["available", "available", "unprobed", "overdue", "unhealthy", "draining"];
const OF_REGIONS: readonly Availability[] = ["available", "available", "failing", "draining"];
const VIAS = [
  null,
  null,
  null,
  "1.1 cdn",
  `1.1 ${pseudonym(ELSEWHERE)}`,
  `1.1 ${pseudonym(FAR_AWAY)}, 1.0 ${pseudonym(ELSEWHERE)}`,
];

function one<T>(values: readonly T[], random: () => number): T {
  return values[Math.floor(random() * values.length)]!;
}

function some(random: () => number): EndpointRecord[] {
  const chosen = ALL.filter(() => random() < 0.35);
  return chosen.length > 0 ? chosen : [one(ALL, random)];
}

/** A request among random surroundings; the same for the same seed, also in what is drawn. */
function world(seed: number): { asked: Asked; around: () => Surroundings } {
  const random = chance(seed);
  const table = new RoutingTable();
  if (random() < 0.95) {
    table.commit(
      routesOf(["a.test", "*.a.test", "[::1]"].filter(() => random() < 0.8).map((host) => route(host, ...some(random)))),
      1,
      0,
    );
  }
  const availability = new Map(ALL.map(({ key, kind }) => [key, one(kind === "vm" ? OF_VMS : OF_REGIONS, random)]));
  const load = new Map(ALL.map(({ key }) => [key, Math.floor(random() * 3)]));
  const previous = Array.from({ length: Math.floor(random() * 3) }, () => ({ endpoints: some(random) }));
  const tried = random() < 0.7 ? null : new Set(some(random).map(({ key }) => key));
  const via = random() < 0.05 ? `1.1 ${pseudonym(HERE)}` : one(VIAS, random);
  const around = (): Surroundings => ({
    table,
    previous: () => previous,
    pseudonym: pseudonym(HERE),
    availability: ({ key }) => availability.get(key)!,
    load: ({ key }) => load.get(key)!,
    random: chance(seed + 1),
    secret: "",
    hooks: NO_HOOKS,
  });
  return { asked: { host: one(HOSTS, random), via, tried, matched: null }, around };
}

test("decide() decides the same with and without a trace, whatever the table and the endpoints", () => {
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= 20_000; seed++) {
    const { asked, around } = world(seed);
    const steps: Step[] = [];
    const decision = decide(asked, around());
    assert.deepEqual(decide(asked, around(), (step) => steps.push(step)), decision, `seed ${seed}`);
    const what = decision.kind === "refuse" ? decision.code : decision.kind;
    seen.set(what, (seen.get(what) ?? 0) + 1);
    const candidates = candidatesOf(steps, decision);
    const chosen = candidates.filter(({ outcome }) => outcome === "chosen").map(({ endpoint }) => endpoint.key);
    const awaited = candidates.filter(({ outcome }) => outcome === "awaited").map(({ endpoint }) => endpoint.key);
    const goes = decision.kind === "forward" || decision.kind === "fall-back" ? [decision.endpoint.key] : [];
    assert.deepEqual(chosen, goes, `seed ${seed}`);
    assert.deepEqual(awaited.toSorted(), decision.kind === "probe-first" ? keysOf(decision.endpoints) : [], `seed ${seed}`);
    assert.ok(steps.every((step) => stepText(step) !== "") && candidates.every(({ why }) => why !== ""));
  }
  assert.deepEqual(
    [...seen.keys()].toSorted(),
    ["fall-back", "forward", "loop", "no_route", "no_table", "probe-first", "table-first", "vm_cordoned", "vm_unhealthy"],
    "every kind of decision was among them",
  );
});

function keysOf(endpoints: readonly EndpointRecord[]): string[] {
  return endpoints.map(({ key }) => key).toSorted();
}
