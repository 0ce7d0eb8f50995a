/** Equal parts of policies become one object; what they say stays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDomainPolicy } from "../../src/sources/domain-policy.ts";
import type { DomainPolicy } from "../../src/table/policy.ts";
import { EqualParts } from "../../src/table/equal-parts.ts";
import { domainPolicy, policyRoute } from "../fixtures/policies.ts";

function policyOf(host: string, value: unknown): DomainPolicy {
  const reading = parseDomainPolicy(host, value, { regionId: "here" });
  if ("problems" in reading) throw new Error(reading.problems.join("\n"));
  return reading.policy;
}

const FULL = {
  headers: { request: { set: { "X-A": "1" } } },
  rateLimit: { requests: 5, window: "1s" },
  retry: { attempts: 2 },
  breaker: { failures: 3 },
  timeouts: { response: "3s" },
  errors: [{ on: ["no_endpoints"], text: "later" }],
  services: { own: { endpoints: [{ url: "http://10.0.0.5" }], limits: { hard: 3 } } },
  routes: [{ id: "r", path: "/api", match: { headers: { "X-Env": "beta" } }, service: "own", rewrite: { stripPrefix: "/api" } }],
};

test("EqualParts says the same of each domain, by the same objects where they are equal, but for routes and services", () => {
  const parts = new EqualParts();
  const plain = policyOf("a.test", FULL);
  const a = parts.of(plain), b = parts.of(policyOf("b.test", FULL));
  assert.deepEqual(a, plain);
  assert.deepEqual(JSON.parse(JSON.stringify(b)), JSON.parse(JSON.stringify(policyOf("b.test", FULL))));
  for (const [n, route] of a.routes.entries()) {
    const other = b.routes[n]!;
    assert.notEqual(route, other);
    const { id: _id, origin: _origin, hosts: _hosts, ...shared } = route;
    for (const [key, value] of Object.entries(shared)) {
      const same = other[key as keyof typeof other];
      if (JSON.stringify(value) === JSON.stringify(same)) assert.equal(value, same, key);
      else assert.equal(`${route.id} ${key}`, "r split", "which names the domain's own service");
    }
  }
  for (const [n, service] of a.services.entries()) {
    assert.notEqual(service, b.services[n]);
    assert.equal(service.policy, b.services[n]!.policy);
  }
});

test("EqualParts begins anew before it knows too many, and keeps no long ones", () => {
  const parts = new EqualParts();
  const header = (value: string) => {
    const route = policyRoute("a.test", "vms", { requestFields: { set: [["X-A", value]], add: [], remove: [] } });
    return parts.of(domainPolicy("a.test", { routes: [route] })).routes[0]!.requestFields;
  };
  const first = header("first");
  assert.equal(header("first"), first);
  for (let n = 0; n < 10_000; n++) header(`${n}`);
  assert.notEqual(header("first"), first);
  const long = "x".repeat(3000);
  assert.notEqual(header(long), header(long));
});
