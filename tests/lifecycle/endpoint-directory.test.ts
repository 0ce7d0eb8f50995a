/** Which endpoints the table leads to, as the prober asks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointDirectory } from "../../src/lifecycle/endpoint-directory.ts";
import { changes, Routes } from "../../src/table/routes.ts";
import { ELSEWHERE, region, route, routesOf, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2");

/** Answers the endpoints that are left. */
function apply(directory: EndpointDirectory, before: Routes, after: Routes): string[] {
  for (const change of changes(before, after)) directory.apply(change);
  return directory.takeUnused();
}

test("takeUnused() answers the VMs that no route leads to any more, and they are found until they are released", () => {
  const directory = new EndpointDirectory();
  const first = routesOf([route("a.test", A), route("b.test", A, B), route("c.test", region(ELSEWHERE, "203.0.113.7"))]);
  assert.deepEqual(apply(directory, Routes.none, first), []);
  const second = routesOf([route("a.test", A), route("b.test", A)]);
  assert.deepEqual(apply(directory, first, second), [B.key]);
  assert.deepEqual(directory.takeUnused(), []);
  assert.deepEqual(directory.find(B.key), B);
  directory.release([B.key]);
  assert.equal(directory.find(B.key), undefined);
  assert.deepEqual(directory.find(A.key), A);
});

test("release() keeps a VM that a route leads to again meanwhile", () => {
  const directory = new EndpointDirectory();
  const a = routesOf([route("a.test", A)]), b = routesOf([route("b.test", A)]);
  apply(directory, Routes.none, a);
  assert.deepEqual(apply(directory, a, Routes.none), [A.key]);
  apply(directory, Routes.none, b);
  directory.release([A.key]);
  assert.deepEqual(directory.find(A.key), A);
  assert.deepEqual(apply(directory, b, Routes.none), [A.key]);
});
