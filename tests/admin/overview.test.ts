/** The first screen: what is wrong shows at once, by the names of the alert rules. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AdminDeps } from "../../src/admin/deps.ts";
import { HostTraffic } from "../../src/observation/host-traffic.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { TrafficHistory } from "../../src/observation/traffic-history.ts";
import type { WorkerState, WorkerStatus } from "../../src/observation/worker-status.ts";
import type { PolicyFindings } from "../../src/table/policy-findings.ts";
import type { RefreshStatus } from "../../src/sources/refresh-status.ts";
import { adminOf, LOADED, NOW_MS, POLICIES } from "../fixtures/admin.ts";
import { workerStatus } from "../fixtures/worker-status.ts";

async function alertsOf(changes: Partial<AdminDeps>): Promise<string[]> {
  const { body } = await adminOf(changes).json("/api/overview");
  return (body.alerts as { severity: string; name: string | null }[]).map(({ severity, name }) => `${severity} ${name}`);
}

function statusOf(changes: Partial<RefreshStatus>): Partial<AdminDeps> {
  return { refreshStatus: () => ({ ...LOADED, ...changes }) };
}

function trafficOf(requests: number, work: (metrics: Metrics) => void): Partial<AdminDeps> {
  const metrics = new Metrics();
  let nowMs = 0;
  const traffic = new TrafficHistory(() => metrics.snapshot(), () => nowMs);
  for (let i = 0; i < requests; i++) metrics.recordExchange("forwarded", 200, 0.002);
  work(metrics);
  nowMs = 10_000;
  return { traffic };
}

test("GET /api/overview tells of an edge where all is well", async () => {
  const { body } = await adminOf(trafficOf(1000, (metrics) => metrics.recordBadEnd("no_route", "client"))).json("/api/overview");
  assert.deepEqual([body.routes, body.revision, body.table_age_s, body.alerts], [2, 3, 1.5, []]);
  assert.deepEqual(body.database, { state: "ok", problem: null, following: "tables", server: null });
  assert.deepEqual([body.workers, body.cordons, body.drain, body.pinned], [{ up: 1, total: 1 }, 0, null, null]);
  assert.deepEqual([body.traffic.requests_per_second, body.traffic.by_blame.client, body.traffic.seconds], [100, 0.1, 10]);
});

test("GET /api/overview tells a database that is not there from one that is away, or not read yet", async () => {
  const states = async (changes: Partial<RefreshStatus>) => (await adminOf(statusOf(changes)).json("/api/overview")).body.database;
  assert.deepEqual(await states({ following: "nothing" }), { state: "none", problem: null, following: "nothing", server: null });
  assert.equal((await states({ lastAttemptAtMs: null })).state, "unread");
  assert.equal((await states({ lastError: "no answer" })).state, "away");
  assert.deepEqual(await alertsOf(statusOf({ following: "nothing" })), []);
});

test("GET /api/overview names what needs a look, the worst first", async () => {
  const states = (...all: WorkerState[]) => ({
    workers: () => all.map((state, index) => workerStatus({ worker: index + 1, state })),
  });
  assert.deepEqual(await alertsOf(statusOf({ lastError: "no answer" })), ["warning EdgeproxyDatabaseAway"]);
  assert.deepEqual(await alertsOf(statusOf({ lastError: "no answer", lastSuccessAtMs: NOW_MS - 301_000 })), [
    "critical EdgeproxyTableStale",
    "warning EdgeproxyDatabaseAway",
  ]);
  const slow = { updateIntervalMs: 600_000 };
  const age = (seconds: number) => statusOf({ lastSuccessAtMs: NOW_MS - 1000 * seconds });
  assert.deepEqual(await alertsOf({ ...slow, ...age(1790) }), [], "within three update intervals");
  assert.deepEqual(await alertsOf({ ...slow, ...age(1810) }), ["critical EdgeproxyTableStale"]);
  assert.deepEqual(await alertsOf(statusOf({ revision: 0, lastSuccessAtMs: null })), ["critical EdgeproxyTableStale"]);
  assert.deepEqual(await alertsOf(statusOf({ held: 700 })), ["critical EdgeproxyRefreshHeld"]);
  assert.deepEqual(await alertsOf(statusOf({ heldPolicies: 300 })), ["critical EdgeproxyRefreshHeld"]);
  const keptPolicies = { count: 3, problem: "it is gone", sinceAtMs: NOW_MS - 1000 };
  assert.deepEqual(await alertsOf(statusOf({ keptPolicies })), ["warning EdgeproxyPoliciesUnreadable"]);
  const pinned = { revision: 1, sinceAtMs: NOW_MS - 1000, untilAtMs: NOW_MS + 60_000 };
  assert.deepEqual(await alertsOf(statusOf({ pinned, lastSuccessAtMs: NOW_MS - 1_000_000 })), ["warning EdgeproxyTablePinned"]);
  assert.deepEqual(await alertsOf(states("serving", "silent")), ["warning EdgeproxyWorkerDown"]);
  assert.deepEqual(await alertsOf(states("restarting")), ["critical EdgeproxyNoWorkers", "warning EdgeproxyWorkerDown"]);
  const lastGood = { path: "/state/routes", writes: 3, failures: 1, lastWriteAtMs: NOW_MS, lastError: "no space left" };
  assert.deepEqual(await alertsOf({ lastGood: () => lastGood }), ["warning EdgeproxyStateNotWritten"]);
  assert.deepEqual(await alertsOf({ cordoned: () => ["vm/10.0.0.5:80"] }), ["info null"]);
  const policyOrders = adminOf().deps.policyOrders;
  await policyOrders.set("service", "users", { drain: { overMs: 1000 }, forMs: null, reason: "", by: "" });
  assert.deepEqual(await alertsOf({ policyOrders }), ["info null"]);
  await policyOrders.clear("service", "users", "drain");
  const old = await policyOrders.set("route", "api", { drain: { overMs: 1000 }, forMs: null, reason: "", by: "" });
  const later = { policyOrders, nowMs: () => old!.sinceAtMs + 86_400_001, ...statusOf({ lastSuccessAtMs: NOW_MS + 86_400_000 }) };
  assert.deepEqual(await alertsOf(later), ["warning EdgeproxyOrderForgotten"]);
  assert.deepEqual(await alertsOf({ policies: () => POLICIES }), ["warning EdgeproxyRoutesFileBad"]);
  const excluded = { ...LOADED.excluded, "bad_policy": 2 };
  assert.deepEqual(await alertsOf(statusOf({ excluded })), ["warning EdgeproxyPoliciesExcluded"]);
});

test("GET /api/overview tells what keeps requests away from services, and counts it", async () => {
  const policed = {
    troubles: [
      { name: "vm/10.0.0.5:80@users", service: "users", kind: "breaker_open" },
      { name: "shop", service: "shop", kind: "breaker_half_open" },
      { name: "vm/10.0.0.6:80@users", service: "users", kind: "ejected" },
    ],
    queues: [{ service: "users", waiting: 9, places: 10 }, { service: "shop", waiting: 8, places: 10 }],
  } as const;
  const findings: PolicyFindings = {
    hidden: [{ id: "whole", origin: "routes[2]", host: "app.test" }],
    maintained: [{ kind: "route", name: "api", orderedAtMs: null }],
    drained: [
      { kind: "service", name: "users", orderedAtMs: null, drain: { startAtMs: NOW_MS - 500, overMs: 1000 } },
      { kind: "service", name: "soon", orderedAtMs: null, drain: { startAtMs: NOW_MS + 500, overMs: 1000 } },
    ],
    unusable: ["a", "b", "c", "d", "e"].map((name) => ({ name, why: "it has no endpoint" })),
  };
  const admin = adminOf({ workers: () => [workerStatus({ policed })], policyFindings: () => findings });
  const { alerts, policies } = (await admin.json("/api/overview")).body;
  const none = "it has no endpoint";
  assert.deepEqual(alerts.map(({ severity, name, what }: Record<string, string>) => `${severity} ${name}: ${what}`), [
    "warning EdgeproxyRoutesHidden: Routes of the file that never apply, since the database's come before: whole for app.test",
    `warning EdgeproxyServiceUnusable: No endpoint takes requests of a (${none}), b (${none}), c (${none}) and 2 more`,
    "warning EdgeproxyBreakerStaysOpen: Breakers that are not closed: vm/10.0.0.5:80@users, shop (on trial)",
    "warning EdgeproxyEndpointsEjected: Put out by live traffic: vm/10.0.0.6:80@users",
    "warning EdgeproxyQueueNearlyFull: Nearly all places in the queue are taken: users 9 of 10",
    "info null: In maintenance by policy: route api",
    "info null: Draining by policy: service users, 50 % left",
  ]);
  assert.deepEqual(policies, {
    breakers_open: 1,
    breakers_half_open: 1,
    ejected: 1,
    queued: 17,
    maintained: 1,
    draining: 1,
    unusable: ["a", "b", "c", "d", "e"],
    hidden_routes: 1,
  });
});

test("GET /api/overview names workers that stall or are near their limit", async () => {
  const worker = (changes: Partial<WorkerStatus>) => ({ workers: () => [workerStatus(changes)] });
  assert.deepEqual(await alertsOf(worker({ longestStallSeconds: 0.7 })), ["warning EdgeproxyWorkerStalls"]);
  const metrics = { ...new Metrics().snapshot(), connectionsLimit: 100 };
  const connections = async (connectionsOpen: number) => await alertsOf(worker({ metrics: { ...metrics, connectionsOpen } }));
  assert.deepEqual([await connections(85), await connections(86)], [[], ["warning EdgeproxyNearConnectionLimit"]]);
});

test("GET /api/overview names who fails requests, once there are enough of them", async () => {
  const edge = (metrics: Metrics) => {
    for (let i = 0; i < 15; i++) metrics.recordBadEnd("internal", "edge");
  };
  assert.deepEqual(await alertsOf(trafficOf(1000, edge)), ["critical EdgeproxyEdgeErrors"]);
  assert.deepEqual(await alertsOf(trafficOf(15, edge)), []);
  const cordoned = (metrics: Metrics) => {
    for (let i = 0; i < 500; i++) metrics.recordBadEnd("vm_cordoned", "edge");
  };
  assert.deepEqual(await alertsOf(trafficOf(1000, cordoned)), [], "an operator has ordered it");
  const both = (metrics: Metrics) => [cordoned, edge].forEach((some) => some(metrics));
  assert.deepEqual(await alertsOf(trafficOf(1000, both)), ["critical EdgeproxyEdgeErrors"]);
  const endpoints = (metrics: Metrics) => {
    for (let i = 0; i < 60; i++) {
      metrics.recordBadEnd("connect_failed", "vm");
      metrics.recordBadEnd("connect_failed", "region");
    }
  };
  assert.deepEqual(await alertsOf(trafficOf(1000, endpoints)), ["warning EdgeproxyVmErrors", "warning EdgeproxyRegionErrors"]);
});

test("GET /api/overview counts VMs by verdict, and says when many of them are unhealthy", async () => {
  const verdicts = { unprobed: 0, healthy: 5, unhealthy: 6 };
  const endpointHealth = () => assert.fail("it is asked for every few seconds, and there may be 100,000 of them");
  const { body } = await adminOf({ verdicts: () => verdicts, endpointHealth }).json("/api/overview");
  assert.deepEqual(body.endpoints, { unprobed: 0, healthy: 5, unhealthy: 6 });
  assert.deepEqual(body.alerts.map(({ name }: { name: string }) => name), ["EdgeproxyVmsUnhealthy"]);
});

test("GET /api/hosts sorts by what a host does now, and pages", async () => {
  let nowMs = NOW_MS;
  const hosts = new HostTraffic({ revision: () => 1, hasRoute: () => true, nowMs: () => nowMs });
  nowMs += 10_000;
  const counts = (
    requests: number,
    errors: number,
    bucket: number,
  ) => [2, requests, 7, errors, 11, 4 * requests, 14 + bucket, requests];
  hosts.add({ hosts: [["a.test", counts(10, 5, 2)], ["b.test", counts(30, 0, 9)], ["*.c.test", counts(20, 1, 4)]], other: [] });
  const order = async (query: string) => {
    const { body } = await adminOf({ hosts }).json(`/api/hosts?${query}`);
    return (body.hosts as { host: string }[]).map(({ host }) => host);
  };
  assert.deepEqual(await order(""), ["b.test", "*.c.test", "a.test"]);
  assert.deepEqual(await order("sort=-errors"), ["a.test", "*.c.test", "b.test"]);
  assert.deepEqual(await order("sort=-latency&limit=1"), ["b.test"]);
  assert.deepEqual(await order("sort=host&q=.test"), ["*.c.test", "a.test", "b.test"]);
  const { body } = await adminOf({ hosts }).json("/api/hosts?q=a.t");
  assert.deepEqual([body.total, body.next], [1, null]);
  const { by_class: byClass, by_blame: byBlame, p95_ms: p95Ms, ...rest } = body.hosts[0];
  assert.deepEqual(rest, {
    host: "a.test",
    requests: 10,
    errors: 5,
    requests_per_second: 1,
    errors_per_second: 0.5,
    mean_ms: 4,
    bytes_in: 0,
    bytes_out: 0,
  });
  assert.deepEqual([byClass["2xx"], byBlame.vm, p95Ms > 1 && p95Ms <= 2.5], [10, 5, true]);
  assert.equal((await adminOf({ hosts }).ask("/api/hosts?after=x")).status, 400);
});

test("GET /api/traffic answers as many minutes as asked", async () => {
  const metrics = new Metrics();
  let nowMs = NOW_MS;
  const traffic = new TrafficHistory(() => metrics.snapshot(), () => nowMs);
  for (let i = 0; i < 100; i++) {
    nowMs += 5000;
    metrics.recordExchange("forwarded", 200, 0.002);
    traffic.sample();
  }
  const { body } = await adminOf({ traffic }).json("/api/traffic?minutes=2");
  assert.deepEqual([body.step_ms, body.points.length, body.points.at(-1).requests], [5000, 25, 1]);
  assert.equal((await adminOf({ traffic }).ask("/api/traffic?minutes=31")).status, 400);
});
