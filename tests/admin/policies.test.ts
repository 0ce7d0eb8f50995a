/** What operators see of the routes file and of the policies of domains. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { adminOf, NO_FINDINGS, POLICIES } from "../fixtures/admin.ts";
import { filePolicies, service } from "../fixtures/policies.ts";
import { Policies } from "../../src/table/policies.ts";
import type { HealthPolicy } from "../../src/table/policy.ts";

const PROBED: HealthPolicy = {
  type: "http",
  path: "/",
  method: "GET",
  status: [{ from: 200, to: 399 }],
  headers: [],
  intervalMs: 1000,
  timeoutMs: 1000,
  unhealthyAfter: 3,
  healthyAfter: 2,
  slowStartMs: 0,
};

const TOKEN = { headers: { authorization: "Bearer secret" } };

test("GET /api/policies says how the file is, with every problem", async () => {
  const { body } = await adminOf({ policies: () => POLICIES }).json("/api/policies");
  assert.deepEqual([body.revision, body.services, body.routes, body.domains, body.excluded], [4, 1, 1, 1, 0]);
  assert.deepEqual(body.unknown_services, [{ domain: "shop.example.com", service: "nobody" }]);
  assert.deepEqual(body.names, [{ name: "db.internal", addresses: [], error: "getaddrinfo ENOTFOUND" }]);
  const { ok, problems, reloads, bad_since } = body.file;
  assert.deepEqual([ok, reloads, bad_since], [false, { changed: 2, unchanged: 0, refused: 1 }, "2023-11-14T22:13:19.000Z"]);
  assert.match(problems[0], /routes\.yaml:3:5: routes\[0\]\.servce: unknown key/);
  assert.equal((await adminOf().json("/api/policies")).body.file, null);
});

test("GET /api/policies and /readyz tell of routes that never apply, and of services that nobody can serve", async () => {
  const hidden = [{ id: "whole", origin: "routes[2]", host: "app.example.com" }];
  const unusable = [{ name: "users", why: "2 endpoint(s): unhealthy" }];
  const admin = adminOf({ policies: () => POLICIES, policyFindings: () => ({ ...NO_FINDINGS, hidden, unusable }) });
  const { body } = await admin.json("/api/policies");
  assert.deepEqual([body.hidden_routes, body.unusable_services], [hidden, unusable]);
  assert.equal((await admin.json("/readyz")).body.routes_file.hidden_routes, 1);
});

test("GET /api/policies/routes lists the file's first, then those of domains, without secrets", async () => {
  const admin = adminOf({ policies: () => POLICIES });
  const { body } = await admin.json("/api/policies/routes");
  const shown = body.routes.map(({ id, domain, leads_to }: Record<string, unknown>) => [id, domain, leads_to]);
  assert.deepEqual(shown, [
    ["users-api", null, "users"],
    ["shop.example.com", "shop.example.com", "vms"],
    ["nobody", "shop.example.com", "nobody"],
  ]);
  assert.deepEqual(body.routes[0].record.requestFields.set, [["Authorization", "***"], ["X-Edge", "1"]]);
  const { body: page } = await admin.json("/api/policies/routes?limit=1");
  const { body: next } = await admin.json(`/api/policies/routes?limit=1&after=${page.next}`);
  assert.deepEqual([page.total, next.routes[0].id, next.next === null], [3, "shop.example.com", false]);
  assert.equal((await admin.json("/api/policies/routes?domain=shop.example.com")).body.total, 2);
  assert.equal((await admin.json("/api/policies/routes?domain=none.example.com")).body.total, 0);
  assert.equal((await admin.json("/api/policies/routes?q=USERS")).body.total, 1);
});

test("GET /api/policies/services lists them with their endpoints", async () => {
  const { body } = await adminOf({ policies: () => POLICIES }).json("/api/policies/services");
  assert.deepEqual([body.total, body.services[0].name, body.services[0].endpoints], [1, "users", 1]);
  assert.equal(body.services[0].record.endpoints[0].key, "vm/10.0.0.5:8080@users");
});

test("GET /api/policies/services masks what checks log in with", async () => {
  const headers = [["Authorization", "Basic c2VjcmV0"], ["Host", "a.test"]] as const;
  const health = { ...PROBED, headers };
  const policies = new Policies(filePolicies([service("users", ["10.0.0.5:80"], { health })], []), new Map());
  const { body } = await adminOf({ policies: () => ({ ...POLICIES, policies }) }).json("/api/policies/services");
  assert.deepEqual(body.services[0].record.policy.health.headers, [["Authorization", "***"], ["Host", "a.test"]]);
});

test("GET /readyz stays 200 with a wrong file, and says what is wrong only to those who may see it", async () => {
  const admin = adminOf({ policies: () => POLICIES, token: "secret" });
  const { status, body } = await admin.json("/readyz");
  assert.deepEqual([status, body.routes_file], [200, { ok: false, loaded_seconds_ago: 60, problems: 1, hidden_routes: 0 }]);
  const { body: detailed } = await admin.json("/readyz", TOKEN);
  assert.equal(detailed.routes_file.path, "/etc/edgeproxy/routes.yaml");
  assert.equal(detailed.routes_file.first_problems.length, 1);
});
