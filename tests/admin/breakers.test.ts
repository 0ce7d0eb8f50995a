import assert from "node:assert/strict";
import { test } from "node:test";
import { adminOf } from "../fixtures/admin.ts";

test("GET /api/breakers lists breakers, by state and part of a name", async () => {
  const { body } = await adminOf().json("/api/breakers?q=users");
  assert.deepEqual(body, {
    total: 1,
    breakers: [{
      name: "vm/10.0.0.5:8080@users",
      service: "users",
      state: "open",
      "open_for_ms": 1200,
      opened: 1,
      failures: 0,
      trials: 0,
    }],
    next: null,
  });
  assert.equal((await adminOf().json("/api/breakers?state=closed")).body.total, 0);
  assert.equal((await adminOf().json("/api/breakers?state=broken")).status, 400);
});

test("POST /api/breakers/:name/reset says so where there is no such breaker", async () => {
  const { status, body } = await adminOf().json("/api/breakers/users/reset", { method: "POST" });
  assert.deepEqual([status, body.error], [404, "no_breaker"]);
});
