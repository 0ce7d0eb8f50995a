/** Sets of policies, and what follows from one to the next. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ownEndpoints, Policies } from "../../src/table/policies.ts";
import type { DomainPolicy } from "../../src/table/policy.ts";
import { vm } from "../fixtures/records.ts";
import { filePolicies, fileService, policyRoute } from "../fixtures/requests-under-policies.ts";

function domain(host: string, routeKey: string | null = null): DomainPolicy {
  const route = policyRoute(host, { hosts: [host], match: { routeKey }, split: [{ service: "vms", share: 10_000 }] });
  return { host, services: [{ ...fileService(host), endpoints: null }, fileService(`${host}/users`)], routes: [route] };
}

function change(upserts: readonly DomainPolicy[], removals: readonly string[] = []) {
  return { upserts, removals };
}

test("Policies.with() leaves the set before as it was, and knows again which hosts may be concerned", () => {
  const none = Policies.none;
  const one = none.with(change([domain("a.test")]));
  const wide = one.with(change([domain("*.b.test"), domain("a.test", "key")]));
  const back = wide.with(change([domain("a.test")], ["*.b.test", "gone.test"]));
  assert.deepEqual([none.empty, one.empty, back.domains.size], [true, false, 1]);
  const concerned = (policies: Policies) => ["a.test", "x.b.test", "key--a.test"].map((host) => policies.mayConcern(host));
  assert.deepEqual(concerned(none), [false, false, false]);
  assert.deepEqual(concerned(one), [true, false, false]);
  assert.deepEqual(concerned(wide), [true, true, true], "a wildcard concerns any host");
  assert.deepEqual(concerned(wide.with(change([], ["*.b.test"]))), [true, false, true], "a preview host");
  assert.deepEqual(concerned(back), [true, false, false]);
  assert.deepEqual(concerned(back.with({ file: filePolicies([policyRoute("any")]), ...change([]) })), [true, true, true]);
});

test("Policies.service() finds services of the file, of a domain, and the VMs of a host", () => {
  const policies = new Policies(
    filePolicies([], [fileService("users"), fileService("b.test")]),
    new Map([["a.test", domain("a.test")]]),
  );
  assert.deepEqual(policies.service("users")?.endpoints?.map(({ key }) => key), ["vm/10.1.0.1:8080@users"]);
  assert.equal(policies.service("a.test/users")?.name, "a.test/users");
  assert.deepEqual([policies.service("a.test")?.endpoints, policies.service("nobody")], [null, undefined]);
  assert.equal(policies.service("vms", "a.test"), policies.service("a.test"), "under the policy of the domain");
  assert.equal(policies.service("vms", "b.test")?.plain, true, "never a service of the file that has the domain's name");
  assert.equal(policies.service("vms")?.plain, true);
});

test("ownEndpoints() gives the VMs of a host identities under a policy, the same objects each time", () => {
  const own = new Policies(filePolicies([]), new Map([["a.test", domain("a.test")]])).service("a.test")!;
  const vms = { endpoints: [vm("10.0.0.1"), vm("10.0.0.2")] };
  assert.deepEqual(ownEndpoints(own, vms).map(({ key, weight }) => [key, weight]), [["vm/10.0.0.1:8080@a.test", 1], [
    "vm/10.0.0.2:8080@a.test",
    1,
  ]]);
  assert.equal(ownEndpoints(own, vms), ownEndpoints(own, vms));
});
