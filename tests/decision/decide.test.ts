/** Each row of contract section 5, and what fail-over makes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import type { Decision } from "../../src/decision/decision.ts";
import { pseudonym } from "../../src/decision/loop.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { ELSEWHERE, FAR_AWAY, HERE, region, route, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2");
const R = region(ELSEWHERE, "203.0.113.7"), S = region(FAR_AWAY, "203.0.113.8");

interface Case {
  readonly routes?: readonly RouteRecord[] | null;
  readonly host?: string;
  readonly via?: string;
  readonly tried?: readonly string[];
  /** By key; "available" where nothing is said. */
  readonly availability?: Readonly<Record<string, Availability>>;
  readonly load?: Readonly<Record<string, number>>;
  readonly random?: readonly number[];
}

function decided(given: Case, trace?: string[]): Decision {
  const table = new RoutingTable();
  if (given.routes !== null) table.replace(given.routes ?? [], 1);
  const random = [...given.random ?? []];
  return decide(
    { host: given.host ?? "a.test", via: given.via ?? null, tried: given.tried === undefined ? null : new Set(given.tried) },
    {
      table,
      pseudonym: pseudonym(HERE),
      availability: (endpoint) => given.availability?.[endpoint.key] ?? "available",
      load: (endpoint) => given.load?.[endpoint.key] ?? 0,
      random: () => random.shift() ?? 0,
    },
    trace === undefined ? undefined : (step) => trace.push(step),
  );
}

/** The decision in one word: the endpoint, the endpoints to probe, or the code; the same with a trace. */
function outcome(given: Case): string {
  const steps: string[] = [];
  const decision = decided(given);
  assert.deepEqual(decided(given, steps), decision, "a trace changes nothing");
  switch (decision.kind) {
    case "forward":
      return decision.endpoint.key;
    case "probe-first":
      return `probe ${decision.endpoints.map((endpoint) => endpoint.key).join(" ")}`;
    case "refuse":
      return decision.code;
  }
}

test("decide() refuses until a table is loaded", () => {
  assert.equal(outcome({ routes: null }), "no_table");
});

test("decide() finds no route", () => {
  assert.equal(outcome({}), "no_route");
  assert.equal(outcome({ routes: [route("b.test", A)] }), "no_route");
  assert.equal(outcome({ routes: [route("*.a.test", A)] }), "no_route");
  assert.equal(outcome({ routes: [route("a.test", A)], host: "" }), "no_route");
});

test("decide() takes the exact name, else the longest wildcard", () => {
  const routes = [route("a.test", A), route("*.test", B), route("*.b.test", R)];
  assert.equal(outcome({ routes }), A.key);
  assert.equal(outcome({ routes, host: "c.test" }), B.key);
  assert.equal(outcome({ routes, host: "x.b.test" }), R.key);
});

test("decide() forwards to the VM here when it is healthy", () => {
  assert.equal(outcome({ routes: [route("a.test", A)] }), A.key);
  assert.equal(outcome({ routes: [route("a.test", A)], availability: { [A.key]: "unhealthy" } }), "vm_unhealthy");
  assert.equal(outcome({ routes: [route("a.test", A)], availability: { [A.key]: "unprobed" } }), `probe ${A.key}`);
});

test("decide() forwards to the other region when no VM is here", () => {
  assert.equal(outcome({ routes: [route("a.test", R)] }), R.key);
  assert.equal(outcome({ routes: [route("a.test", R)], availability: { [R.key]: "failing" } }), R.key, "tried last, but tried");
});

test("decide() prefers VMs here, whatever their order; other regions are the fail-over", () => {
  for (const routes of [[route("a.test", R, A)], [route("a.test", A, R)]]) {
    assert.equal(outcome({ routes }), A.key);
    assert.equal(outcome({ routes, availability: { [A.key]: "unprobed" } }), `probe ${A.key}`);
    assert.equal(outcome({ routes, availability: { [A.key]: "unhealthy" } }), R.key);
    assert.equal(outcome({ routes, tried: [A.key] }), R.key);
    assert.equal(outcome({ routes, tried: [A.key, R.key] }), "vm_unhealthy");
  }
});

test("decide() does not wait for a probe while another VM is healthy", () => {
  const routes = [route("a.test", A, B)];
  assert.equal(outcome({ routes, availability: { [A.key]: "unprobed" } }), B.key);
  assert.equal(outcome({ routes, availability: { [A.key]: "unhealthy" } }), B.key);
  assert.equal(outcome({ routes, availability: { [A.key]: "unprobed", [B.key]: "unprobed" } }), `probe ${A.key} ${B.key}`);
  assert.equal(outcome({ routes, availability: { [A.key]: "unhealthy", [B.key]: "unhealthy" } }), "vm_unhealthy");
});

test("decide() tries a region that has just failed after those that have not", () => {
  const routes = [route("a.test", R, S)];
  assert.equal(outcome({ routes, availability: { [R.key]: "failing" } }), S.key);
  assert.equal(outcome({ routes, availability: { [R.key]: "failing" }, tried: [S.key] }), R.key);
});

test("decide() takes the less busy of two at random", () => {
  const routes = [route("a.test", A, B)];
  assert.equal(outcome({ routes, load: { [A.key]: 1 } }), B.key);
  assert.equal(outcome({ routes, load: { [B.key]: 1 } }), A.key);
  assert.equal(outcome({ routes, random: [0.99, 0.99] }), B.key, "equally busy: the first drawn");
  const many = [route("a.test", ...Array.from({ length: 5 }, (_, index) => vm(`10.0.1.${index}`)))];
  const chosen = new Set<string>();
  for (let first = 0; first < 5; first++) {
    for (let second = 0; second < 4; second++) chosen.add(outcome({ routes: many, random: [first / 5, second / 4] }));
  }
  assert.equal(chosen.size, 5, "each can be drawn");
});

test("decide() refuses a request that comes back", () => {
  const routes = [route("a.test", A)];
  assert.equal(outcome({ routes, via: `1.1 ${pseudonym(HERE)}` }), "loop");
  assert.equal(outcome({ routes, via: `1.0 cdn, 1.1 ${pseudonym(ELSEWHERE)} (x), 1.1 ${pseudonym(HERE)}` }), "loop");
  assert.equal(outcome({ routes: null, via: `1.1 ${pseudonym(HERE)}` }), "loop", "also before a table is loaded");
});

test("decide() refuses a request that has passed three edges", () => {
  const routes = [route("a.test", A)];
  const edges = [ELSEWHERE, FAR_AWAY, "44444444-4444-4444-8444-444444444444"].map((id) => `1.1 ${pseudonym(id)}`);
  assert.equal(outcome({ routes, via: edges.slice(0, 2).join(", ") }), A.key);
  assert.equal(outcome({ routes, via: edges.join(", ") }), "loop");
});

test("decide() lets other proxies pass as often as they like", () => {
  assert.equal(outcome({ routes: [route("a.test", A)], via: "1.1 cdn, 1.1 cdn, 1.1 cdn, 1.1 varnish" }), A.key);
});

test("decide() never sends a request back to a region that it has passed", () => {
  const via = `1.1 ${pseudonym(ELSEWHERE)}`;
  assert.equal(outcome({ routes: [route("a.test", R, S)], via }), S.key);
  assert.equal(outcome({ routes: [route("a.test", R, A)], via, availability: { [A.key]: "unhealthy" } }), "vm_unhealthy");
  assert.equal(outcome({ routes: [route("a.test", R)], via }), "loop", "the two tables contradict each other");
});

test("decide() says what it looks at", () => {
  const steps: string[] = [];
  decided({ routes: [route("a.test", A, R)], via: `1.1 ${pseudonym(ELSEWHERE)}`, tried: [A.key] }, steps);
  assert.match(
    steps.join("\n"),
    /has passed .*\nroute a\.test with 2 endpoint.*\nvm\/10\.0\.0\.1:8080: tried already\nregion\/.*comes from that region/,
  );
});
