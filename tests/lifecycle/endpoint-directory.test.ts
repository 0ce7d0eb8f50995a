/** Which endpoints the table leads to, as the prober asks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointDirectory } from "../../src/lifecycle/endpoint-directory.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import { ELSEWHERE, region, route, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2");

function tableOf(...routes: readonly RouteRecord[]): Map<string, RouteRecord> {
  return new Map(routes.map((each) => [each.host, each]));
}

test("apply() answers the VMs that no route leads to any more, and finds them until they are released", () => {
  const directory = new EndpointDirectory();
  const first = [route("a.test", A), route("b.test", A, B), route("c.test", region(ELSEWHERE, "203.0.113.7"))];
  assert.deepEqual(directory.apply({ upserts: first, removals: [] }, new Map()), []);
  assert.deepEqual(directory.apply({ upserts: [route("b.test", A)], removals: ["c.test"] }, tableOf(...first)), [B.key]);
  assert.equal(directory.find(B.key), B);
  directory.release([B.key]);
  assert.equal(directory.find(B.key), undefined);
  assert.equal(directory.find(A.key), A);
});

test("release() keeps a VM that a route leads to again meanwhile", () => {
  const directory = new EndpointDirectory();
  directory.apply({ upserts: [route("a.test", A)], removals: [] }, new Map());
  assert.deepEqual(directory.apply({ upserts: [], removals: ["a.test"] }, tableOf(route("a.test", A))), [A.key]);
  directory.apply({ upserts: [route("b.test", A)], removals: [] }, new Map());
  directory.release([A.key]);
  assert.equal(directory.find(A.key), A);
  assert.deepEqual(directory.apply({ upserts: [], removals: ["b.test"] }, tableOf(route("b.test", A))), [A.key]);
});
