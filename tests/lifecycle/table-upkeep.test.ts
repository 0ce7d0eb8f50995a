/** How a worker's table is kept up to date: beside clients, and down to what nothing leads to any more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TableUpkeep } from "../../src/lifecycle/table-upkeep.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import { Policies } from "../../src/table/policies.ts";
import { KEPT_MS } from "../../src/table/recent-routes.ts";
import type { Routes } from "../../src/table/routes.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { domainPolicy, servicePolicy } from "../fixtures/policies.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const HOST = "app.example.com";
const OWN = { name: HOST, endpoints: null, policy: servicePolicy({ balance: "round-robin" }) };
const POLICED = `${vm("10.0.0.1").key}@${HOST}`;

/** Both ends of a link, and what the worker's says. */
class Kept {
  readonly table: RoutingTable = new RoutingTable();
  readonly timers: FakeTimers = new FakeTimers();
  readonly metrics = { bytesIn: 0 };
  readonly told: string[] = [];
  /** At the clock: each takes a tenth of a millisecond, so that slices end. */
  #looks = 0;
  #routes = { revision: 0, routes: routesOf([]) };
  #policies = { revision: 0, policies: Policies.none };
  readonly upkeep: TableUpkeep = new TableUpkeep({
    table: this.table,
    metrics: this.metrics,
    timers: { nowMs: () => this.timers.nowMs() + this.#looks++ / 10, after: (ms, run) => this.timers.after(ms, run) },
    send: (message) => void this.#link.receive(message),
    policiesChanged: () => this.told.push(`policies of ${this.table.policies.domains.size} domains`),
    policed: () => [POLICED],
    forget: (keys) => this.told.push(`forget ${keys.join(" ")}`),
  });
  readonly #link: WorkerLink = new WorkerLink({
    send: (message) => {
      assert.ok(message.type === "routes" || message.type === "policies");
      this.upkeep.receive(message);
    },
    snapshot: () => this.#routes,
    policies: () => this.#policies,
  });

  constructor() {
    this.#link.start();
  }

  tell(routes: Routes, policies: Policies = this.#policies.policies): void {
    this.#routes = { revision: this.#routes.revision + 1, routes };
    if (policies !== this.#policies.policies) this.#policies = { revision: this.#policies.revision + 1, policies };
    this.#link.routesChanged();
  }
}

/** So many that they take several slices. */
function many(address: string): Routes {
  return routesOf(Array.from({ length: 2000 }, (_, i) => route(`d${i}.test`, vm(address))));
}

test("TableUpkeep rests between slices while clients send, and not without a table", async () => {
  const kept = new Kept();
  kept.metrics.bytesIn = 1;
  kept.tell(many("10.0.0.1"));
  await settle();
  assert.equal(kept.table.revision, 1, "nobody is served yet");
  kept.metrics.bytesIn = 2;
  kept.tell(many("10.0.0.2"));
  await settle();
  assert.deepEqual([kept.table.revision, kept.timers.delays[0]], [1, 2]);
  await kept.timers.advance(2);
  assert.equal(kept.table.revision, 2, "they have sent nothing since");
});

test("TableUpkeep tells of other policies, and of a VM that is gone whatever it was under policies", async () => {
  const kept = new Kept();
  const policies = new Policies(Policies.none.file, new Map([[HOST, domainPolicy(HOST, { services: [OWN] })]]));
  kept.tell(routesOf([route(HOST, vm("10.0.0.1"))]), policies);
  await settle();
  assert.deepEqual([kept.told.splice(0), kept.table.revision], [["policies of 1 domains"], 1]);
  kept.tell(routesOf([route(HOST, vm("10.0.0.2"))]));
  await settle();
  await kept.timers.advance(KEPT_MS + 1000);
  assert.deepEqual(kept.told.splice(0), [`forget ${vm("10.0.0.1").key} ${POLICED}`]);
  kept.tell(routesOf([route(HOST, vm("10.0.0.3"))]));
  kept.upkeep.stop();
  await kept.timers.advance(3 * KEPT_MS);
  assert.deepEqual(kept.told, []);
});
