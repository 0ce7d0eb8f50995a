/** A row of `route_policies`: the schema of the routes file, about one domain. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DomainPolicyReading, parseDomainPolicy } from "../../src/sources/domain-policy.ts";

function read(value: unknown): DomainPolicyReading {
  const regionId = "11111111-1111-4111-8111-111111111111";
  return parseDomainPolicy("app.example.com", value, { regionId });
}

function policyOf(value: unknown) {
  const reading = read(value);
  assert.ok("policy" in reading, JSON.stringify(reading));
  return reading;
}

test("parseDomainPolicy() makes the bare route of route fields, and leaves the VMs what they are", () => {
  const { policy } = policyOf({ rateLimit: { requests: 5 }, timeouts: { response: "5s" } });
  assert.deepEqual(policy.services, []);
  const [route] = policy.routes;
  assert.deepEqual([route?.id, route?.hosts, route?.match.path.value, route?.priority], [
    "app.example.com",
    ["app.example.com"],
    "/",
    0,
  ]);
  assert.deepEqual(route?.split, [{ service: "vms", share: 10_000 }]);
  assert.deepEqual(route?.rateLimit, { requests: 5, windowMs: 1000, burst: 0, key: { kind: "client-ip" } });
  assert.equal(route?.timeouts.responseMs, 5000);
  assert.equal(policy.routes.length, 1);
});

test("parseDomainPolicy() makes a service of its own VMs of service fields", () => {
  const { policy } = policyOf({ balance: "round-robin", limits: { hard: 3 } });
  assert.deepEqual(policy.services.map(({ name, endpoints }) => [name, endpoints]), [["app.example.com", null]]);
  assert.equal(policy.services[0]?.policy.balance, "round-robin");
  assert.equal(policy.services[0]?.policy.limits?.hard, 3);
  assert.deepEqual(policy.routes.map(({ id, split }) => [id, split[0]?.service]), [["app.example.com", "vms"]]);
});

test("parseDomainPolicy() names services of its own after the domain, and tells which are left to the file", () => {
  const { policy, fileServices } = policyOf({
    services: { v2: { endpoints: [{ url: "http://10.0.0.7:80" }] } },
    routes: [
      { path: "/v2", service: "v2" },
      { id: "other", path: "/x", split: [{ service: "vms", weight: 1 }, { service: "shop", weight: 2 }] },
      { path: "/own" },
    ],
  });
  assert.deepEqual(policy.services.map(({ name, endpoints }) => [name, endpoints?.[0]?.key]), [
    ["app.example.com/v2", "vm/10.0.0.7:80@app.example.com/v2"],
  ]);
  assert.deepEqual(policy.routes.map(({ id, split }) => [id, split.map(({ service, share }) => `${service} ${share}`)]), [
    ["app.example.com/v2", ["app.example.com/v2 10000"]],
    ["other", ["vms 3333", "shop 6667"]],
    ["app.example.com/own", ["vms 10000"]],
  ]);
  assert.deepEqual(fileServices, ["shop"]);
});

test("parseDomainPolicy() tells all problems", () => {
  const reading = read({
    balnce: "p2c",
    hosts: ["a"],
    limits: { hard: "x" },
    routes: [{ path: "x" }],
    services: { vms: { endpoints: [] } },
  });
  assert.ok("problems" in reading);
  const [nearest, hosts, ...others] = reading.problems;
  assert.equal(nearest, "balnce: unknown key, did you mean balance?");
  assert.match(hosts!, /^hosts: unknown key, known are service, split, /);
  assert.deepEqual(others, [
    "services.vms: the name vms is taken: it means the VMs of the requested host",
    'routes[0].path: must be a path such as /api, without dot segments, query or spaces (is "x")',
    'limits.hard: must be a number, not "x"',
  ]);
  const file = read({ services: { a: { endpoints: [{ url: "https://a" }], tls: { caFile: "/etc/ca.pem" } } } });
  assert.deepEqual(file, { problems: ["services.a.tls.caFile: cannot be read: only the routes file can name files"] });
  for (const value of [null, [], "text", 1]) assert.deepEqual(read(value), { problems: ["must be a JSON object"] });
});
