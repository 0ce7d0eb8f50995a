/** The table of a worker: lookups, deltas, and which endpoints they leave behind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import { ELSEWHERE, FAR_AWAY, region, route, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2"), C = vm("10.0.0.3");

function tableOf(...routes: readonly RouteRecord[]): RoutingTable {
  const table = new RoutingTable();
  table.replace(routes, 1);
  return table;
}

test("RoutingTable is loaded from its first revision on, even an empty one", () => {
  const table = new RoutingTable();
  assert.equal(table.loaded, false);
  table.replace([], 1);
  assert.deepEqual([table.loaded, table.size, table.revision], [true, 0, 1]);
});

test("find() prefers the exact name, then the longest wildcard, at any depth", () => {
  const table = tableOf(
    route("a.example.com", A),
    route("*.example.com", B),
    route("*.deep.example.com", C),
  );
  const found = (host: string): string | undefined => table.find(host)?.host;
  assert.equal(found("a.example.com"), "a.example.com");
  assert.equal(found("b.example.com"), "*.example.com");
  assert.equal(found("x.a.example.com"), "*.example.com");
  assert.equal(found("x.deep.example.com"), "*.deep.example.com");
  assert.equal(found("x.y.deep.example.com"), "*.deep.example.com");
  assert.equal(found("deep.example.com"), "*.example.com");
});

test("find() does not take a wildcard for its own name, nor for others that end alike", () => {
  const table = tableOf(route("*.example.com", A));
  for (const host of ["example.com", "badexample.com", "com", "", "example.com.evil.test", "[::1]"]) {
    assert.equal(table.find(host), undefined, host);
  }
});

test("apply() changes what the delta names and nothing else", () => {
  const table = tableOf(route("a.test", A), route("b.test", B), route("*.c.test", C));
  const untouched = table.find("b.test");
  const orphans = table.apply({ upserts: [route("a.test", B), route("d.test", B)], removals: ["*.c.test", "unknown.test"] }, 2);
  assert.deepEqual([...orphans].sort(), [A.key, C.key]);
  assert.equal(table.find("b.test"), untouched);
  assert.deepEqual(table.find("a.test")?.endpoints.map((each) => each.key), [B.key]);
  assert.equal(table.find("x.c.test"), undefined);
  assert.deepEqual([...table.hosts()].sort(), ["a.test", "b.test", "d.test"]);
  assert.deepEqual([table.size, table.revision], [3, 2]);
});

test("apply() answers no endpoint that another route, or the same one anew, leads to", () => {
  const table = tableOf(route("a.test", A, B), route("b.test", A));
  assert.deepEqual(table.apply({ upserts: [], removals: ["a.test"] }, 2), [B.key]);
  assert.deepEqual(table.apply({ upserts: [route("b.test", A, B)], removals: [] }, 3), []);
  assert.deepEqual(table.apply({ upserts: [route("c.test", A)], removals: ["b.test"] }, 4), [B.key]);
  assert.deepEqual(table.apply({ upserts: [], removals: ["c.test"] }, 5), [A.key]);
});

test("apply() counts an endpoint that a route names twice", () => {
  const table = tableOf(route("a.test", A, A));
  assert.deepEqual(table.apply({ upserts: [route("a.test", A)], removals: [] }, 2), []);
  assert.deepEqual(table.apply({ upserts: [], removals: ["a.test"] }, 3), [A.key]);
});

test("replace() removes what is not named, wildcards too", () => {
  const table = tableOf(route("a.test", A), route("*.a.test", B));
  assert.deepEqual([...table.replace([route("b.test", C)], 2)].sort(), [A.key, B.key]);
  assert.deepEqual([...table.hosts()], ["b.test"]);
});

test("a request keeps the route it began with", () => {
  const table = tableOf(route("a.test", A));
  const held = table.find("a.test")!;
  table.apply({ upserts: [route("a.test", B)], removals: [] }, 2);
  assert.deepEqual(held.endpoints.map((each) => each.key), [A.key]);
  assert.ok(Object.isFrozen(held) && Object.isFrozen(held.endpoints) && Object.isFrozen(held.endpoints[0]));
});

test("RoutingTable shares the record of an endpoint between routes, and follows its region", () => {
  const table = tableOf(route("a.test", { ...A }), route("b.test", { ...A }));
  assert.equal(table.find("a.test")!.endpoints[0], table.find("b.test")!.endpoints[0]);
  table.apply({ upserts: [route("c.test", region(ELSEWHERE, "203.0.113.7"))], removals: [] }, 2);
  table.apply({ upserts: [route("c.test", region(FAR_AWAY, "203.0.113.7"))], removals: [] }, 3);
  assert.equal(table.find("c.test")!.endpoints[0]!.region, FAR_AWAY);
  assert.deepEqual(table.apply({ upserts: [], removals: ["c.test"] }, 4), ["region/203.0.113.7:80"]);
});
