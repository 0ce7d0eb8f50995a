/** When a worker's table lets go of what it has kept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RouteExpiry } from "../../src/lifecycle/route-expiry.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { KEPT_MS } from "../../src/table/recent-routes.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2");

class Expiring {
  readonly table: RoutingTable = new RoutingTable();
  readonly timers: FakeTimers = new FakeTimers();
  readonly forgotten: string[] = [];
  slices = 0;
  readonly expiry: RouteExpiry = new RouteExpiry({
    table: this.table,
    forget: (keys) => this.forgotten.push(...keys),
    timers: this.timers,
    later: (run) => {
      this.slices++;
      queueMicrotask(run);
    },
  });

  commit(endpoint: EndpointRecord, hosts = 1): void {
    const routes = routesOf(Array.from({ length: hosts }, (_, i) => route(`h${i}.test`, endpoint)));
    this.table.commit(routes, this.table.revision + 1, this.timers.nowMs());
    this.expiry.arm();
  }
}

test("RouteExpiry forgets endpoints ten seconds after their last route, then has no timer", async () => {
  const expiring = new Expiring();
  expiring.commit(A);
  await expiring.timers.advance(1000);
  assert.deepEqual(expiring.timers.delays, [], "nothing but the present is kept");
  expiring.commit(B);
  assert.ok(expiring.timers.delays[0]! <= 1000, "what is new is counted soon");
  await expiring.timers.advance(KEPT_MS - 1);
  assert.deepEqual(expiring.forgotten, []);
  assert.equal(expiring.table.previous("h0.test")[0]?.endpoints[0]?.key, A.key);
  await expiring.timers.advance(200);
  assert.deepEqual(expiring.forgotten, [A.key]);
  assert.equal(expiring.table.previous("h0.test")[0], undefined);
  assert.deepEqual(expiring.timers.delays, []);
});

test("RouteExpiry looks at once more when the table changes while it waits", async () => {
  const expiring = new Expiring();
  expiring.commit(A);
  expiring.commit(B);
  await expiring.timers.advance(3000);
  assert.ok(expiring.timers.delays[0]! > 6000);
  expiring.commit(A);
  assert.equal(expiring.timers.delays.length, 1);
  assert.ok(expiring.timers.delays[0]! <= 1000);
  await expiring.timers.advance(3 * KEPT_MS);
  assert.deepEqual(expiring.forgotten, [B.key]);
});

test("RouteExpiry counts a large table in slices, and stops when told to", async () => {
  const expiring = new Expiring();
  expiring.commit(A, 200_000);
  await expiring.timers.advance(1000);
  while (expiring.timers.delays.length > 0 || expiring.table.expiryAtMs !== Infinity) await expiring.timers.advance(1000);
  assert.ok(expiring.slices > 2, `${expiring.slices}`);
  expiring.commit(B);
  expiring.expiry.stop();
  assert.deepEqual(expiring.timers.delays, []);
  expiring.commit(A);
  assert.deepEqual(expiring.timers.delays, []);
});
