/** Endpoints that policies lead to: found by the control plane, and let go of on both sides when nothing leads there any more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointDirectory } from "../../src/lifecycle/endpoint-directory.ts";
import { PolicyExpiry } from "../../src/lifecycle/policy-expiry.ts";
import { Policies } from "../../src/table/policies.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { domainPolicy, filePolicies, policyRoute, service, servicePolicy } from "../fixtures/policies.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const VM = "vm/10.0.0.1:8080";
/** Of the domain's own VMs. */
const OWN = { name: "app.example.com", endpoints: null, policy: servicePolicy({ balance: "round-robin" }) };
const FILE = filePolicies([service("users", ["10.0.0.5:8080", "10.0.0.6:8080"])], [policyRoute("r", "users")]);
const BOTH = new Policies(FILE, new Map([["app.example.com", domainPolicy("app.example.com", { services: [OWN] })]]));

function directory(policies: Policies): EndpointDirectory {
  const made = new EndpointDirectory();
  made.apply(undefined, routesOf([route("app.example.com", vm("10.0.0.1"))]).get("app.example.com"));
  made.take(policies, 1000);
  return made;
}

test("EndpointDirectory finds what policies lead to, with their policy", () => {
  const known = directory(BOTH);
  assert.equal(known.find("vm/10.0.0.5:8080@users")?.address, "10.0.0.5");
  assert.deepEqual(known.find(`${VM}@app.example.com`), {
    ...vm("10.0.0.1"),
    key: `${VM}@app.example.com`,
    service: OWN.name,
    weight: 1,
  });
  assert.equal(known.policyOf(`${VM}@app.example.com`)?.balance, "round-robin");
  assert.equal(known.policyOf(VM), null);
  for (const key of ["vm/10.0.0.9:8080@users", "vm/10.0.0.5:8080", "vm/10.0.0.9:8080@app.example.com", `${VM}@nobody`]) {
    assert.equal(known.find(key), undefined, key);
  }
});

test("EndpointDirectory finds an endpoint that is named no more until it is released", () => {
  const known = directory(BOTH);
  known.take(Policies.none, 2000);
  assert.equal(known.find("vm/10.0.0.5:8080@users")?.port, 8080);
  assert.equal(known.unusedSinceMs, 2000);
  known.release(1999);
  assert.notEqual(known.find("vm/10.0.0.5:8080@users"), undefined);
  known.release(2000);
  assert.equal(known.find("vm/10.0.0.5:8080@users"), undefined);
  assert.equal(known.unusedSinceMs, null);
});

test("EndpointDirectory keeps an endpoint that is named again", () => {
  const known = directory(BOTH);
  known.take(Policies.none, 2000);
  known.take(BOTH, 3000);
  known.release(5000);
  assert.notEqual(known.find("vm/10.0.0.5:8080@users"), undefined);
});

test("PolicyExpiry lets go of what nothing leads to after a while, however often policies change", async () => {
  const timers = new FakeTimers();
  const table = { policies: BOTH };
  const forgotten: string[] = [];
  const expiry = new PolicyExpiry({
    table,
    policed: () => ["vm/10.0.0.5:8080@users", "vm/10.0.0.6:8080@users", `${VM}@app.example.com`, `${VM}@gone.example.com`],
    forget: (keys) => void forgotten.push(...keys),
    timers,
  });
  expiry.arm();
  table.policies = new Policies(filePolicies([service("users", ["10.0.0.6:8080"])], []), BOTH.domains);
  for (let second = 0; second < 14; second++) {
    await timers.advance(1000);
    expiry.arm();
  }
  assert.deepEqual(forgotten, []);
  await timers.advance(1000);
  assert.deepEqual(forgotten, ["vm/10.0.0.5:8080@users", `${VM}@gone.example.com`]);
  assert.deepEqual(expiry.alsoGone([VM, "vm/10.0.0.6:8080"]), [`${VM}@app.example.com`]);
});
