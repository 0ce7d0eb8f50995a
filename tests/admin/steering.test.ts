import { test } from "node:test";
import assert from "node:assert/strict";
import { adminOf } from "../fixtures/admin.ts";

test("PUT /api/log-level changes it for an hour or as long as it is told", async () => {
  const told: unknown[] = [];
  const admin = adminOf({ setLogLevel: (level, forMs) => told.push([level, forMs]), resetLogLevel: () => told.push("reset") });
  const put = (body: unknown) => admin.json("/api/log-level", { method: "PUT", body: JSON.stringify(body) });
  const { status, body } = await put({ level: "debug" });
  assert.deepEqual([status, body], [200, { level: "debug", configured: "info", until: "2023-11-14T22:14:20.000Z" }]);
  await put({ level: "warn", expires: "10m" });
  for (const wrong of [{}, { level: "loud" }, { level: "debug", expires: "8d" }, { level: "debug", until: "1h" }, []]) {
    assert.equal((await put(wrong)).body.error, "bad_body", JSON.stringify(wrong));
  }
  assert.equal((await admin.ask("/api/log-level", { method: "DELETE" })).status, 200);
  assert.deepEqual(told, [["debug", 3_600_000], ["warn", 600_000], "reset"]);
});

test("POST /api/drain begins the end, and says who asked", async () => {
  const reasons: string[] = [];
  const admin = adminOf({ beginDrain: (reason) => reasons.push(reason) });
  const post = (body: string) => admin.json("/api/drain", { method: "POST", body }, "192.0.2.7");
  assert.deepEqual((await post("")).status, 202);
  assert.deepEqual((await post('{"reason":"new kernel"}')).body, { drain: null });
  assert.deepEqual(reasons, ["asked by 192.0.2.7", "asked by 192.0.2.7 (new kernel)"]);
});
