import assert from "node:assert/strict";
import { test } from "node:test";
import { Watches, type WatchParts } from "../../src/lifecycle/watches.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { Policies } from "../../src/table/policies.ts";
import type { ServicePolicy } from "../../src/table/policy.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { filePolicies, policyRoute, service } from "../fixtures/policies.ts";

const BREAKER = {
  failures: 1,
  failureRate: 0,
  minRequests: 10,
  windowMs: 10_000,
  openForMs: 60_000,
  halfOpenRequests: 1,
  scope: "endpoint",
  strategy: "retry-elsewhere",
  fallback: null,
} as const;

/** Two endpoints of one service. */
function stage(policy: Partial<ServicePolicy>) {
  const table = new RoutingTable();
  const told: string[] = [];
  const metrics = new Metrics();
  const parts: WatchParts = {
    table,
    cells: new CellTable(),
    metrics,
    timers: new FakeTimers(),
    send: (message) => void told.push(message.type === "turned" ? `${message.key} ${message.turn}` : message.type),
  };
  const watches = new Watches(parts);
  const enforce = (addresses = ["10.0.0.5:80", "10.0.0.6:80"]): void => {
    const users = service("users", addresses, policy);
    table.policies = new Policies(filePolicies([users], [policyRoute("all", "users")]), new Map());
    watches.tidy();
  };
  enforce();
  const [one, other] = service("users", ["10.0.0.5:80", "10.0.0.6:80"]).endpoints!;
  return { watches, enforce, told, metrics, one: one!, other: other! };
}

test("an endpoint of a service without guards has no watch, nor has one of no service", () => {
  const { watches, one } = stage({});
  assert.equal(watches.watchOf(one), null);
  assert.equal(watches.watchOf({ ...one, key: "vm/10.0.0.5:80" }), null);
});

test("places that are taken stay taken when other policies come into force, and come back", () => {
  const { watches, enforce, one } = stage({ limits: { soft: 0, hard: 1, queue: 1, queueTimeoutMs: 1000 } });
  const visit = watches.watchOf(one)!.enter()!;
  enforce();
  const anew = watches.watchOf(one)!;
  assert.equal(anew.look(), "full");
  visit.ended(null);
  assert.equal(anew.look(), null);
});

test("a breaker is told of, shown, stays open when other policies come into force, and is reset by its name", () => {
  const { watches, enforce, told, metrics, one, other } = stage({ breaker: BREAKER });
  watches.watchOf(other);
  watches.watchOf(one)!.enter()!.ended("connect_failed");
  assert.deepEqual([told, metrics.breakersOpened], [[`${one.key} breaker_open`], 1]);
  enforce();
  const watch = watches.watchOf(one)!;
  assert.equal(watch.look(), "open");
  assert.deepEqual(watches.breakers().map(({ name, service, state }) => [name, service, state]), [[one.key, "users", "open"]]);
  assert.deepEqual([watches.resetBreaker("users"), watches.resetBreaker(one.key), watch.look()], [false, true, null]);
  watches.forget([one.key]);
  assert.deepEqual(watches.breakers(), []);
});

test("the breaker of a service is one for all its endpoints", () => {
  const { watches, one, other } = stage({ breaker: { ...BREAKER, scope: "service" } });
  const watch = watches.watchOf(other)!;
  watches.watchOf(one)!.enter()!.ended("connect_failed");
  assert.deepEqual([watch.look(), watches.breakers().map(({ name }) => name)], ["open", ["users"]]);
});

test("report() tells breakers that are not closed and who is ejected, also from before, and not when it is over", () => {
  const { watches, enforce, one, other } = stage({
    breaker: BREAKER,
    ejection: { errors: 1, windowMs: 10_000, timeMs: 10_000, maxShare: 0.5 },
  });
  assert.deepEqual(watches.report().troubles, []);
  watches.watchOf(other);
  watches.watchOf(one)!.enter()!.ended("connect_failed");
  const both = [
    { name: one.key, service: "users", kind: "breaker_open" },
    { name: one.key, service: "users", kind: "trial" },
  ];
  assert.deepEqual(watches.report().troubles, both);
  enforce();
  assert.deepEqual(watches.report().troubles, [], "nobody has spoken to it under these policies");
  watches.watchOf(one);
  assert.deepEqual(watches.report().troubles, both);
  watches.resetBreaker(one.key);
  assert.deepEqual(watches.report().troubles.map(({ kind }) => kind), ["trial"]);
  watches.forget([one.key]);
  assert.deepEqual(watches.report().troubles, []);
});

test("of an endpoint that other policies have taken away nobody is told, and again when it comes back", () => {
  for (const scope of ["endpoint", "service"] as const) {
    const { watches, enforce, one, other } = stage({
      breaker: { ...BREAKER, scope },
      ejection: { errors: 1, windowMs: 10_000, timeMs: 10_000, maxShare: 0.5 },
    });
    watches.watchOf(other);
    watches.watchOf(one)!.enter()!.ended("connect_failed");
    enforce(["10.0.0.6:80"]);
    const gone = watches.watchOf(one)!;
    watches.watchOf(other);
    gone.look();
    const names = () => [watches.breakers().map(({ name }) => name), watches.report().troubles.map(({ name }) => name)];
    assert.deepEqual(names(), scope === "service" ? [["users"], ["users"]] : [[other.key], []]);
    enforce();
    watches.watchOf(one);
    assert.deepEqual(names(), scope === "service" ? [["users"], ["users", one.key]] : [[one.key], [one.key, one.key]]);
  }
});

test("who has no weight, is cordoned or fails its checks is no other that would take over from an ejected endpoint", () => {
  const ejection = { errors: 1, windowMs: 10_000, timeMs: 10_000, maxShare: 0.5 };
  const failing = stage({ ejection });
  failing.watches.outsideOf = (key) => key === failing.other.key ? "unhealthy" : null;
  const remaining = failing.watches.watchOf(failing.one)!;
  remaining.enter()!.ended("connect_failed");
  assert.equal(remaining.look(), null, "half of them are out already");

  const cordoned = stage({ ejection });
  cordoned.watches.outsideOf = (key) => key === cordoned.other.key ? "draining" : null;
  const lone = cordoned.watches.watchOf(cordoned.one)!;
  const troubled = lone.enter()!;
  troubled.answered(500);
  troubled.ended(null);
  assert.equal(lone.look(), null, "a lone one's answer is better than ours");
  lone.enter()!.ended("connect_failed");
  assert.equal(lone.look(), "trial", "a lone one is tried");
});
