/** The live state of endpoints: verdicts, who waits for them, and what is forgotten. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Endpoints } from "../../src/upstream/endpoint-state.ts";
import { EndpointWatch } from "../../src/upstream/endpoint-watch.ts";
import { HEALTH, serviceVm } from "../fixtures/services.ts";
import { interceptUncaught } from "../fixtures/uncaught.ts";
import { ELSEWHERE, region, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), R = region(ELSEWHERE, "203.0.113.7");

function endpointsAndRequests(): { endpoints: Endpoints; requests: string[] } {
  const requests: string[] = [];
  const endpoints = new Endpoints({
    wanted: (key) => requests.push(`wanted ${key}`),
    failed: (key, error) => requests.push(`failed ${key} ${error}`),
  });
  return { endpoints, requests };
}

test("Endpoints keeps one state per key, whatever record asks for it", () => {
  const { endpoints } = endpointsAndRequests();
  assert.equal(endpoints.of(A), endpoints.of({ ...A }));
  assert.notEqual(endpoints.of(A), endpoints.of(R));
});

test("availability() of a VM is the verdict of its probes", () => {
  const { endpoints } = endpointsAndRequests();
  const state = endpoints.of(A);
  assert.equal(state.availability(0), "unprobed");
  endpoints.judge(A.key, "healthy");
  assert.equal(state.availability(0), "available");
  endpoints.judge(A.key, "unhealthy");
  assert.equal(state.availability(0), "unhealthy");
  endpoints.judge(A.key, "unprobed");
  assert.equal(state.availability(0), "unprobed");
  endpoints.judge("vm/10.9.9.9:1", "healthy");
});

test("whenProbed() asks for one probe, however many wait, and tells all of the verdict", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(A);
  const told: string[] = [];
  for (const name of ["a", "b", "c"]) state.whenProbed(() => told.push(`${name} ${state.verdict}`));
  assert.deepEqual(requests, [`wanted ${A.key}`]);
  state.judge("unprobed");
  assert.deepEqual(told, []);
  state.judge("healthy");
  state.judge("unhealthy");
  assert.deepEqual(told, ["a healthy", "b healthy", "c healthy"]);
});

test("whenProbed() may be called by one who has just been told", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(A);
  const told: string[] = [];
  state.whenProbed(() => state.whenProbed(() => told.push("second")));
  state.judge("healthy");
  assert.deepEqual(told, []);
  state.judge("healthy");
  assert.deepEqual(told, ["second"]);
  assert.equal(requests.length, 2);
});

test("failed() of a VM asks for a fresh verdict; the callers that come wait for it", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(A);
  state.judge("healthy");
  state.failed("ECONNREFUSED", 0);
  assert.equal(state.availability(0), "unprobed");
  assert.deepEqual(requests, [`failed ${A.key} ECONNREFUSED`]);
});

test("availability() of a VM without a verdict is overdue 50 ms after the first look", () => {
  const { endpoints } = endpointsAndRequests();
  const state = endpoints.of(A);
  const looks = (...atMs: number[]): string[] => atMs.map((nowMs) => state.availability(nowMs));
  assert.deepEqual(looks(1000, 1049, 1050, 9000), ["unprobed", "unprobed", "overdue", "overdue"]);
  state.judge("unprobed");
  assert.deepEqual(looks(9000, 9050), ["unprobed", "overdue"], "forgotten by the prober: as new");
  state.judge("healthy");
  state.failed("ECONNREFUSED", 9060);
  assert.deepEqual(looks(9070, 9120), ["unprobed", "overdue"], "a fresh probe is under way");
  state.judge("unhealthy");
  assert.deepEqual(looks(9200), ["unhealthy"]);
});

test("wish() asks for a probe once a second, and not when somebody waits for one anyway", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(A);
  for (const nowMs of [1000, 1001, 1999, 2000]) state.wish(nowMs);
  assert.equal(requests.length, 2);
  const leave = state.whenProbed(() => {});
  state.wish(9000);
  assert.equal(requests.length, 3, "by the one who waits");
  leave();
  endpoints.forget([A.key]);
  state.wish(9000);
  assert.equal(requests.length, 3, "no answer would come");
});

test("failed() of a region makes it the last one to try, for five seconds, without a probe", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(R);
  assert.equal(state.availability(0), "available");
  state.failed("ECONNREFUSED", 1000);
  assert.equal(state.availability(1000), "failing");
  assert.equal(state.availability(5999), "failing");
  assert.equal(state.availability(6000), "available");
  assert.deepEqual(requests, []);
});

test("forget() ends the waiting and starts afresh when the endpoint comes back", () => {
  const { endpoints } = endpointsAndRequests();
  const state = endpoints.of(A);
  let told = 0;
  state.whenProbed(() => told++);
  endpoints.forget([A.key, "vm/10.9.9.9:1"]);
  assert.equal(told, 1);
  assert.deepEqual([state.orphaned, state.verdict], [true, "unhealthy"]);
  assert.notEqual(endpoints.of(A), state);
  assert.equal(endpoints.of(A).verdict, "unprobed");
});

test("takeUsed() names the VMs with traffic since the last call, and those that still have some", () => {
  const { endpoints } = endpointsAndRequests();
  endpoints.of(A).availability(0);
  endpoints.of(R).availability(0);
  endpoints.of(vm("10.0.0.2"));
  assert.deepEqual(endpoints.takeUsed(), [A.key]);
  assert.deepEqual(endpoints.takeUsed(), []);
  endpoints.of(A).inFlight++;
  assert.deepEqual(endpoints.takeUsed(), [A.key]);
  assert.deepEqual(endpoints.takeUsed(), [A.key]);
});

test("a forgotten endpoint is unhealthy for good: whenProbed() answers at once, failed() asks for nothing", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(A);
  endpoints.forget([A.key]);
  endpoints.of(A).judge("healthy");
  state.failed("ECONNREFUSED", 0);
  let told = 0;
  state.whenProbed(() => told++);
  assert.deepEqual([told, state.verdict, requests], [1, "unhealthy", []]);
});

test("judge() tells all who wait, also when one of them throws", async () => {
  using uncaught = interceptUncaught();
  const { endpoints } = endpointsAndRequests();
  const state = endpoints.of(A);
  let told = 0;
  state.whenProbed(() => {
    throw new Error("a bug of ours");
  });
  state.whenProbed(() => told++);
  state.judge("healthy");
  await Promise.resolve();
  assert.deepEqual([told, uncaught.messages], [1, ["a bug of ours"]]);
});

test("to look at an endpoint is no use of it, and makes none", () => {
  const { endpoints, requests } = endpointsAndRequests();
  assert.deepEqual([endpoints.look(A, 0), endpoints.look(R, 0)], ["unprobed", "available"]);
  assert.deepEqual([endpoints.find(A.key), endpoints.loadOf(A.key)], [undefined, 0]);
  const state = endpoints.of(A);
  assert.deepEqual([endpoints.look(A, 0), endpoints.look(A, 1_000_000)], ["unprobed", "unprobed"], "no look begins the wait");
  assert.deepEqual([endpoints.takeUsed(), requests], [[], []]);
  state.availability(0);
  assert.equal(endpoints.look(A, 1_000_000), "overdue");
  endpoints.judge(A.key, "healthy");
  assert.equal(endpoints.look(A, 0), state.availability(0));
  endpoints.of(R).failed("ECONNREFUSED", 0);
  assert.equal(endpoints.look(R, 1), "failing");
});

test("cordon() drains endpoints, also those that nobody has spoken to, until others are named", () => {
  const { endpoints } = endpointsAndRequests();
  const state = endpoints.of(A);
  endpoints.judge(A.key, "healthy");
  let closed = 0;
  state.idle.push({ close: () => closed++ } as unknown as (typeof state.idle)[number]);
  endpoints.cordon(new Set([A.key, R.key]));
  assert.deepEqual([state.availability(0), endpoints.look(R, 0), endpoints.of(R).availability(0)], [
    "draining",
    "draining",
    "draining",
  ]);
  assert.equal(closed, 1);
  assert.deepEqual(endpoints.takeUsed(), [A.key], "it is in use: its health goes on being watched");
  endpoints.judge(A.key, "unhealthy");
  assert.equal(state.availability(0), "draining");
  endpoints.cordon(new Set([R.key]));
  assert.deepEqual([state.availability(0), endpoints.of(R).availability(0)], ["unhealthy", "draining"]);
});

test("uses() tells of attempts, connections at rest and the last failure", () => {
  const { endpoints } = endpointsAndRequests();
  endpoints.of(A).inFlight = 2;
  endpoints.of(R).failed("ECONNREFUSED", 0);
  assert.deepEqual(endpoints.uses(null), [{ key: A.key, inFlight: 2, idle: 0, lastFailure: null, hindrance: null, share: 1 }]);
  const [use, ...more] = endpoints.uses([R.key, "vm/10.9.9.9:1"]);
  assert.deepEqual([use?.lastFailure?.reason, more], ["ECONNREFUSED", []]);
  assert.ok(Math.abs(Date.now() - use!.lastFailure!.atMs) < 60_000);
});

test("a VM whose service wants no checks is available, and after a failed connection tried last", () => {
  const { endpoints, requests } = endpointsAndRequests();
  endpoints.healthOf = (key) => key === A.key ? { ...HEALTH, type: "none" } : null;
  assert.equal(endpoints.look(A, 0), "available");
  const state = endpoints.of(A);
  assert.equal(state.availability(0), "available");
  state.failed("connection refused", 1000);
  assert.deepEqual([state.availability(2000), state.availability(7000)], ["failing", "available"]);
  let told = false;
  state.whenProbed(() => told = true);
  assert.ok(told, "nobody waits for a probe that never comes");
  assert.deepEqual(requests, []);
});

test("an endpoint that nobody probes and that has just failed is out while its guards say so", () => {
  const { endpoints } = endpointsAndRequests();
  endpoints.healthOf = () => ({ ...HEALTH, type: "none" });
  let hindrance: "open" | null = "open";
  endpoints.watchOf = () => new EndpointWatch([{ look: () => hindrance, enter: () => null }]);
  const state = endpoints.of(A);
  state.failed("reset", 1000);
  assert.equal(state.availability(2000), "open");
  hindrance = null;
  assert.equal(state.availability(2000), "failing");
});

test("availability() asks for the probe of a VM that nobody waits for, since others take the requests", () => {
  const { endpoints, requests } = endpointsAndRequests();
  const state = endpoints.of(A);
  for (const nowMs of [0, 10, 49]) assert.equal(state.availability(nowMs), "unprobed");
  for (const nowMs of [50, 60, 99]) assert.equal(state.availability(nowMs), "overdue");
  assert.deepEqual(requests, [], "whoever looks first may wait for it");
  for (const nowMs of [100, 110, 900]) state.availability(nowMs);
  assert.deepEqual(requests, [`wanted ${A.key}`]);
  state.look(5000);
  state.availability(5000);
  assert.equal(requests.length, 2, "and again, should that get lost");
});

test("share() grows after a recovery, not after the first verdict or a failure that the next probe belies", () => {
  const { endpoints } = endpointsAndRequests();
  endpoints.healthOf = () => ({ ...HEALTH, slowStartMs: 10_000 });
  const state = endpoints.of(serviceVm("10.0.0.1"));
  const shares = () => [0, 5000, 10_000].map((ms) => state.share(50_000 + ms));
  for (const verdict of ["healthy", "unprobed", "healthy"] as const) {
    state.judge(verdict, "", 50_000);
    assert.deepEqual(shares(), [1, 1, 1], verdict);
  }
  for (const verdict of ["unhealthy", "unprobed", "healthy"] as const) state.judge(verdict, "", 50_000);
  assert.deepEqual(shares(), [0.1, 0.55, 1]);
  state.watch = { look: () => null, enter: () => null, guards: [], returnedForMs: 2500 };
  assert.equal(state.share(500_000), 0.325, "and after an ejection");
  endpoints.healthOf = () => null;
  endpoints.watchAnew();
  assert.deepEqual(shares(), [1, 1, 1], "the policy has gone");
});

test("cordon() of an address holds for it under any policy", () => {
  const { endpoints } = endpointsAndRequests();
  const known = serviceVm("10.0.0.1"), unknown = serviceVm("10.0.0.1", 1, "other");
  endpoints.of(known);
  endpoints.cordon(new Set([A.key]));
  assert.deepEqual(
    [endpoints.of(known).look(0), endpoints.look(unknown, 0), endpoints.of(unknown).look(0)],
    Array(3).fill("draining"),
  );
  endpoints.cordon(new Set([known.key]));
  assert.deepEqual([endpoints.of(known).look(0), endpoints.of(unknown).look(0), endpoints.of(A).look(0)], [
    "draining",
    "unprobed",
    "unprobed",
  ]);
});

test("who waits for a verdict goes on when the service is not checked any more", () => {
  const { endpoints } = endpointsAndRequests();
  const users = serviceVm("10.0.0.5");
  endpoints.healthOf = () => HEALTH;
  const state = endpoints.of(users);
  let told = 0;
  state.whenProbed(() => told++);
  endpoints.watchAnew();
  assert.equal(told, 0);
  endpoints.healthOf = () => ({ ...HEALTH, type: "none" });
  endpoints.watchAnew();
  assert.deepEqual([told, state.availability(0)], [1, "available"]);
  endpoints.healthOf = () => HEALTH;
  endpoints.watchAnew();
  assert.equal(state.availability(0), "unprobed");
});

test("outsideOf() tells of failed checks and cordons, and asks no guard", () => {
  const { endpoints } = endpointsAndRequests();
  const unchecked = { ...serviceVm("10.0.0.3"), key: "vm/10.0.0.3:8080@users" };
  endpoints.healthOf = (key) => key === unchecked.key ? { ...HEALTH, type: "none" } : null;
  assert.equal(endpoints.outsideOf(A.key), null, "unknown");
  endpoints.of(A).judge("unhealthy");
  endpoints.of(unchecked);
  assert.deepEqual([A, unchecked].map(({ key }) => endpoints.outsideOf(key)), ["unhealthy", null]);
  endpoints.cordon(new Set(["vm/10.0.0.3:8080"]));
  assert.deepEqual([A, unchecked].map(({ key }) => endpoints.outsideOf(key)), ["unhealthy", "draining"]);
});
