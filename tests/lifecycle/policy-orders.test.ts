/** Orders of routes and services: kept, ended, and restored. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { KeptOrders } from "../../src/lifecycle/kept-orders.ts";
import { orderFile } from "../../src/lifecycle/order-file.ts";
import { PolicyOrders } from "../../src/lifecycle/policy-orders.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";

const ANSWER = { status: 503, body: "back soon", headers: [["Retry-After", "60"]] } as const;
const MAINTENANCE = { enabled: true, service: null, answer: ANSWER };
const BY = { reason: "disk", by: "192.0.2.7" };

function ordersIn(path: string, nowMs: () => number, log = new CollectingLog()) {
  const kept = new KeptOrders(orderFile(path, "region"), "orders", log);
  return new PolicyOrders({ kept, log, wallMs: nowMs, changed: () => {} });
}

test("orders survive a restart, and end by the wall clock", async () => {
  await using folder = await temporaryFolder();
  let nowMs = 1_800_000_000_000;
  const before = ordersIn(folder.path, () => nowMs);
  await before.set("service", "users", { maintenance: MAINTENANCE, forMs: null, ...BY });
  await before.set("service", "users", { drain: { overMs: 60_000 }, forMs: null, ...BY });
  await before.set("route", "users-api", { drain: { overMs: 60_000 }, forMs: 1000, ...BY });
  const after = ordersIn(folder.path, () => nowMs);
  await after.load();
  assert.deepEqual(after.list(), before.list());
  const users = after.find("service", "users")!;
  assert.deepEqual([users.maintenance, users.drain], [MAINTENANCE, { startAtMs: nowMs, overMs: 60_000 }]);
  nowMs += 1000;
  assert.deepEqual(after.list().map(({ name }) => name), ["users"]);
  assert.equal(await after.clear("route", "users-api", "drain"), false);
  assert.equal(await after.clear("service", "users", "maintenance"), true);
  assert.equal(await after.clear("service", "users", "drain"), true);
  const last = ordersIn(folder.path, () => nowMs);
  await last.load();
  assert.deepEqual(last.list(), []);
});

test("a file that is none of ours is left out, and said so; one that handed over writes no more", async () => {
  await using folder = await temporaryFolder();
  const log = new CollectingLog();
  const orders = ordersIn(folder.path, Date.now, log);
  await writeFile(orderFile(folder.path, "region").path, "{}");
  await orders.load();
  assert.deepEqual([orders.list(), log.lines[0]?.level], [[], "warn"]);
  orders.retire();
  await orders.set("service", "users", { maintenance: MAINTENANCE, forMs: null, ...BY });
  const next = ordersIn(folder.path, Date.now);
  await next.load();
  assert.deepEqual(next.list(), []);
});

test("there are 1000 orders at most", async () => {
  const log = new CollectingLog();
  const orders = new PolicyOrders({ kept: new KeptOrders(null, "orders", log), log, changed: () => {} });
  const wish = { drain: { overMs: 1 }, forMs: null, ...BY };
  for (let i = 0; i < 1000; i++) assert.ok(await orders.set("service", `s${i}`, wish) !== null);
  assert.equal(await orders.set("service", "one more", wish), null);
  assert.ok(await orders.set("service", "s7", wish) !== null);
});
