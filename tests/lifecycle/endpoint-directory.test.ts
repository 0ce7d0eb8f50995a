/** Which endpoints the table leads to, as the prober asks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointDirectory } from "../../src/lifecycle/endpoint-directory.ts";
import { changes, Routes } from "../../src/table/routes.ts";
import { ELSEWHERE, region, route, routesOf, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2");

function apply(directory: EndpointDirectory, before: Routes, after: Routes, nowMs: number): void {
  for (const change of changes(before, after)) directory.apply(change.before, change.after);
  directory.settle(nowMs);
}

test("EndpointDirectory finds the VMs that routes lead to, and those that none leads to any more until they are released", () => {
  const directory = new EndpointDirectory();
  const first = routesOf([route("a.test", A), route("b.test", A, B), route("c.test", region(ELSEWHERE, "203.0.113.7"))]);
  apply(directory, Routes.none, first, 1);
  assert.equal(directory.unusedSinceMs, null);
  apply(directory, first, routesOf([route("a.test", A), route("b.test", A)]), 2);
  assert.equal(directory.unusedSinceMs, 2);
  directory.release(1);
  assert.deepEqual(directory.find(B.key), B);
  directory.release(2);
  assert.deepEqual([directory.find(B.key), directory.unusedSinceMs], [undefined, null]);
  assert.deepEqual(directory.find(A.key), A);
});

test("release() keeps a VM that a route leads to again meanwhile, and counts anew when that is gone, too", () => {
  const directory = new EndpointDirectory();
  const a = routesOf([route("a.test", A)]), b = routesOf([route("b.test", A)]), c = routesOf([route("c.test", B)]);
  apply(directory, Routes.none, a, 1);
  apply(directory, a, Routes.none, 2);
  apply(directory, Routes.none, b, 3);
  directory.release(4);
  assert.deepEqual([directory.find(A.key), directory.unusedSinceMs], [A, null]);
  apply(directory, b, Routes.none, 5);
  apply(directory, Routes.none, c, 6);
  apply(directory, c, Routes.none, 7);
  apply(directory, Routes.none, a, 8);
  apply(directory, a, Routes.none, 9);
  assert.equal(directory.unusedSinceMs, 7, "B; A came back");
  directory.release(8);
  assert.deepEqual([directory.find(A.key), directory.find(B.key)], [A, undefined]);
  directory.release(9);
  assert.equal(directory.find(A.key), undefined);
});

test("EndpointDirectory counts routes to each endpoint, and knows the other regions' edges", () => {
  const directory = new EndpointDirectory();
  const R = region(ELSEWHERE, "203.0.113.7");
  const first = routesOf([route("a.test", A), route("b.test", A, R), route("c.test", R)]);
  apply(directory, Routes.none, first, 1);
  assert.deepEqual([directory.routesTo(A.key), directory.routesTo(R.key), directory.routesTo(B.key)], [2, 2, 0]);
  assert.deepEqual(directory.regions(), [R]);
  apply(directory, first, routesOf([route("a.test", A)]), 2);
  assert.deepEqual([directory.routesTo(R.key), directory.regions(), directory.find(R.key)], [0, [], R]);
  directory.release(2);
  assert.equal(directory.find(R.key), undefined);
  apply(directory, routesOf([route("a.test", A)]), first, 3);
  assert.deepEqual(directory.regions(), [R]);
});

test("leads() knows which services lead to an endpoint, whether it is one or several, as routes come and go", () => {
  const directory = new EndpointDirectory();
  const tables = [
    routesOf([route("a.test", A)]),
    routesOf([route("a.test", A), route("b.test", A, B)]),
    routesOf([route("b.test", A, B)]),
    routesOf([route("c.test", B)]),
    routesOf([route("a.test", A), route("c.test", A)]),
    routesOf([route("a.test", A, B), route("c.test", A, B)]),
  ];
  let before = Routes.none;
  for (const [step, after] of [...tables, ...tables.toReversed(), ...tables].entries()) {
    apply(directory, before, after, step);
    before = after;
    for (const { key } of [A, B]) {
      const leads = directory.leads(key);
      const expected = [...after.entries()].filter(([, { endpoints }]) => endpoints.some((endpoint) => endpoint.key === key));
      const found = [...after.entries()].filter(([, service]) => leads(service));
      assert.deepEqual(found, expected, `step ${step}, ${key}`);
      assert.equal(directory.routesTo(key), expected.length);
    }
  }
});
