/** Services as operators see them, and what they order of services and routes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { adminOf, POLICIES } from "../fixtures/admin.ts";
import { endpointDeps } from "../fixtures/admin-endpoints.ts";

const NOW = "2023-11-14T22:13:20.000Z";

function stage() {
  const admin = adminOf({ policies: () => POLICIES });
  return {
    get: async (path: string) => (await admin.json(path)).body,
    post: (path: string, body: unknown) => admin.json(path, { method: "POST", body: JSON.stringify(body) }, "192.0.2.7"),
    remove: (path: string) => admin.json(path, { method: "DELETE" }),
    deps: admin.deps,
  };
}

test("GET /api/services lists services with their endpoints; one of them says more", async () => {
  const { get } = stage();
  const { total, services: [users] } = await get("/api/services");
  assert.equal(total, 1);
  assert.deepEqual([users.name, users.domain, users.endpoints, users.maintenance, users.share, users.order], [
    "users",
    null,
    1,
    null,
    1,
    null,
  ]);
  const details = await get("/api/services/users");
  assert.deepEqual(details.routes, ["users-api"]);
  assert.equal(details.members[0].key, "vm/10.0.0.5:8080@users");
  assert.equal(details.policy.balance, "p2c");
  assert.equal((await get("/api/services/user")).error, "no_service");
});

test("GET /api/services counts endpoints that real requests have put out, on trial or not", async () => {
  const use = { key: "vm/10.0.0.5:8080@users", inFlight: 0, idle: 0, lastFailure: null, share: 1 };
  for (const [hindrance, ejected] of [["ejected", 1], ["trial", 1], ["busy", 0], [null, 0]] as const) {
    const admin = adminOf({ policies: () => POLICIES, endpoints: endpointDeps([], [], [{ ...use, hindrance }]) });
    assert.equal((await admin.json("/api/services/users")).body.ejected, ejected, String(hindrance));
  }
});

test("maintenance of a service is ordered, shown, ended, and taken back", async () => {
  const { get, post, remove } = stage();
  const { status, body } = await post("/api/services/users/maintenance", { body: "back soon", retry_after: 120, reason: "disk" });
  assert.equal(status, 200);
  const { kind, name, maintenance, drain, since, until, reason, by } = body;
  assert.deepEqual([kind, name, drain, since, until, reason, by], ["service", "users", null, NOW, null, "disk", "192.0.2.7"]);
  assert.deepEqual(maintenance, { enabled: true, service: null, status: 503, body: "back soon" });
  assert.equal((await get("/api/services/users")).maintenance.body, "back soon");
  await post("/api/services/users/maintenance", { enabled: false });
  const off = await get("/api/services/users");
  assert.deepEqual([off.maintenance, off.order.maintenance.enabled], [null, false]);
  assert.deepEqual((await remove("/api/services/users/maintenance")).body, { name: "users", cleared: true });
  assert.deepEqual((await remove("/api/services/users/maintenance")).body, { name: "users", cleared: false });
  assert.deepEqual((await get("/api/policies/orders")).orders, []);
});

test("a drain of a route keeps its maintenance, and shows the share that is left", async () => {
  const { get, post } = stage();
  await post("/api/policies/routes/users-api/maintenance", {});
  const { body } = await post("/api/policies/routes/users-api/drain", { over: "30m", expires: "2h" });
  assert.deepEqual(body.drain, { started: NOW, over_seconds: 1800, share: 1 });
  assert.equal(body.until, "2023-11-15T00:13:20.000Z");
  const { orders: [order] } = await get("/api/policies/orders");
  assert.deepEqual([order.name, order.maintenance.enabled, order.drain.over_seconds], ["users-api", true, 1800]);
});

test("orders of what there is not, or that make no sense, are refused with the reason", async () => {
  const { post, remove } = stage();
  for (
    const [path, body, error] of [
      ["/api/services/none/drain", {}, "no_service"],
      ["/api/services/vms/drain", {}, "no_service"],
      ["/api/policies/routes/none/maintenance", {}, "no_route"],
      ["/api/services/users/maintenance", { service: "none" }, "bad_body"],
      ["/api/services/users/maintenance", { service: "users" }, "bad_body"],
      ["/api/services/users/maintenance", { status: 99 }, "bad_body"],
      ["/api/services/users/maintenance", { content_type: "a\r\nb: c" }, "bad_body"],
      ["/api/services/users/drain", { over: "soon" }, "bad_body"],
      ["/api/services/users/drain", { ovr: "1m" }, "bad_body"],
    ] as const
  ) {
    assert.equal((await post(path, body)).body.error, error, `${path} ${JSON.stringify(body)}`);
  }
  assert.equal((await remove("/api/policies/routes/none/drain")).body.error, "no_route");
});
