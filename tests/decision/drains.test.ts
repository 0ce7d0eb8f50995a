/** Routes and services that drain, by policy and by order: who takes the clients that leave, and that each leaves once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import { type MatchedRoute, matchRoute } from "../../src/decision/match-route.ts";
import { OrdersInForce } from "../../src/decision/orders-in-force.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { type DomainPolicy, PLAIN_SERVICE, type PolicyRoute, type ServiceRecord } from "../../src/table/policy.ts";
import type { PolicyOrder } from "../../src/table/policy-order.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { filePolicies, fileService, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const START_MS = 1_800_000_000_000;
const HOUR = { startAtMs: START_MS, overMs: 3_600_000 };
const CLIENTS = Array.from({ length: 2000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);

/** With one address per client, at a moment. */
class Stage {
  minutes = 0;
  readonly ordered: OrdersInForce = new OrdersInForce(() => START_MS + this.minutes * 60_000);
  readonly #around: Surroundings;

  constructor(
    routes: readonly PolicyRoute[],
    services: readonly ServiceRecord[] = [],
    hosts: readonly string[] = [],
    domains: readonly DomainPolicy[] = [],
  ) {
    const table = new RoutingTable();
    table.commit(routesOf(hosts.map((host) => route(host, vm("10.9.9.9")))), 1, 0);
    table.policies = policiesOf(filePolicies(routes, services), domains);
    this.#around = {
      table,
      previous: () => [],
      pseudonym: "edgeproxy-here",
      availability: () => "available",
      load: () => 0,
      random: () => 0.5,
      secret: "",
      hooks: {
        ...NO_HOOKS,
        maintenance: (kind, name) => this.ordered.maintenance(kind, name),
        share: (kind, name, drain) => this.ordered.share(kind, name, drain),
      },
    };
  }

  match(clientAddress: string, host = "a.test"): MatchedRoute | null {
    const matched = matchRoute(requestView(host, { clientAddress }), this.#around);
    assert.ok(typeof matched !== "string");
    return matched;
  }

  decide(clientAddress: string, host = "a.test") {
    return decide({ host, via: null, tried: null, matched: this.match(clientAddress, host) }, this.#around);
  }

  /** What takes each client: a service, `bare`, or `nobody`. */
  takers(host = "a.test"): string[] {
    return CLIENTS.map((client) => {
      const matched = this.match(client, host);
      return matched === null ? "bare" : matched.drained ? "nobody" : matched.service?.name ?? "";
    });
  }
}

function shareOf(takers: readonly string[], taker: string): number {
  return takers.filter((each) => each === taker).length / takers.length;
}

function assertShare(takers: readonly string[], taker: string, expected: number): void {
  assert.ok(Math.abs(shareOf(takers, taker) - expected) < 0.04, `${taker}: ${shareOf(takers, taker)} instead of ${expected}`);
}

function orderOf(change: Partial<PolicyOrder>): PolicyOrder {
  const rest = { maintenance: null, drain: null, sinceAtMs: START_MS, untilAtMs: null, reason: "", by: "" };
  return { kind: "service", name: "one", ...rest, ...change };
}

test("a target of a split that drains leaves its clients to the others by and by, each of them once", () => {
  const split = [{ service: "one", share: 5000 }, { service: "two", share: 3000 }, { service: "three", share: 2000 }];
  const stage = new Stage([policyRoute("r", { split, splitKey: { kind: "client-ip" } })], [fileService("one", { drain: HOUR })]);
  let before = stage.takers();
  assertShare(before, "one", 0.5);
  for (const [minutes, left] of [[15, 0.75], [30, 0.5], [45, 0.25], [60, 0], [600, 0]] as const) {
    stage.minutes = minutes;
    const now = stage.takers();
    assertShare(now, "one", 0.5 * left);
    assertShare(now, "two", 0.3 + 0.6 * 0.5 * (1 - left));
    const moved = now.filter((taker, i) => taker !== before[i] && before[i] !== "one");
    assert.deepEqual(moved, [], "only clients of the one that drains move");
    before = now;
  }
});

test("the only target of a route that drains leaves its clients to nobody, and they are told so", () => {
  const stage = new Stage([policyRoute("one")], [fileService("one", { drain: HOUR })]);
  stage.minutes = 30;
  const takers = stage.takers();
  assertShare(takers, "one", 0.5);
  assertShare(takers, "nobody", 0.5);
  const decision = stage.decide(CLIENTS[takers.indexOf("nobody")]!);
  assert.deepEqual([decision.kind, decision.kind === "respond" && decision.why], ["respond", "maintenance"]);
});

test("a route that drains leaves its clients to the next that matches, then to the bare route, then to nobody", () => {
  const canary = policyRoute("canary", { priority: 2, drain: HOUR });
  const old = policyRoute("old", { priority: 1, drain: { startAtMs: START_MS + 7_200_000, overMs: 0 } });
  const stage = new Stage([canary, old], [], ["known.test"]);
  assertShare(stage.takers(), "canary", 1);
  stage.minutes = 30;
  assertShare(stage.takers(), "canary", 0.5);
  assertShare(stage.takers(), "old", 0.5);
  stage.minutes = 60;
  assertShare(stage.takers(), "old", 1);
  stage.minutes = 120;
  assertShare(stage.takers(), "nobody", 1);
  assertShare(stage.takers("known.test"), "bare", 1);
});

test("what operators order comes before what policies say, until its end", () => {
  const stage = new Stage([policyRoute("one")], [fileService("one", { drain: HOUR })]);
  stage.minutes = 60;
  assert.equal(stage.match("10.0.0.1")!.drained, true);
  stage.ordered.take([orderOf({ drain: { startAtMs: START_MS + 7_200_000, overMs: 60_000 }, untilAtMs: START_MS + 5_400_000 })]);
  assert.equal(stage.match("10.0.0.1")!.drained, false);
  stage.minutes = 90;
  assert.equal(stage.match("10.0.0.1")!.drained, true);
});

test("maintenance of a service or a route is ordered, with an answer or another service, and ended where the policy wants it", () => {
  const answer = { status: 503, body: "back soon", headers: [] };
  const maintenance = { enabled: true, service: null, answer };
  const stage = new Stage([policyRoute("one", { maintenance })], [fileService("two", {}, ["10.2.0.2"])]);
  assert.deepEqual(stage.decide("10.0.0.1"), { kind: "respond", answer, why: "maintenance" });
  stage.ordered.take([orderOf({ kind: "route", maintenance: { ...maintenance, enabled: false } })]);
  assert.equal(stage.decide("10.0.0.1").kind, "forward");
  stage.ordered.take([
    orderOf({ kind: "route", maintenance: { ...maintenance, enabled: false } }),
    orderOf({ maintenance: { ...maintenance, service: "two" } }),
  ]);
  const decision = stage.decide("10.0.0.1");
  assert.equal(decision.kind === "forward" && decision.endpoint.address, "10.2.0.2");
});

test("the VMs of a domain are ordered about under its name, its routes as DOMAIN/ID", () => {
  const host = "shop.test";
  const own = policyRoute("bare", { hosts: [host], origin: `route_policies ${host}`, split: [{ service: "vms", share: 10_000 }] });
  const domain = {
    host,
    services: [{ name: host, endpoints: null, policy: { ...PLAIN_SERVICE, balance: "round-robin" as const } }],
    routes: [own],
  };
  const stage = new Stage([], [], [host], [domain]);
  const kind = () => {
    const decision = stage.decide("10.0.0.1", host);
    return decision.kind === "respond" ? decision.why : decision.kind;
  };
  const now = { startAtMs: START_MS, overMs: 0 };
  assert.equal(kind(), "forward");
  stage.ordered.take([orderOf({ name: host, drain: now })]);
  assert.equal(kind(), "maintenance", "not to the same VMs by another way");
  stage.ordered.take([orderOf({ kind: "route", name: `${host}/bare`, drain: now })]);
  assert.equal(kind(), "maintenance");
  stage.ordered.take([orderOf({ kind: "route", name: "bare", drain: now }), orderOf({ name: "vms", drain: now })]);
  assert.equal(kind(), "forward", "these are others' names");
});
