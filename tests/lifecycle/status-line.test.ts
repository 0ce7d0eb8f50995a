/** One line for people who ask the service manager. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { reportStatus, statusLine } from "../../src/lifecycle/status-line.ts";
import type { DrainStatus, WorkLeft } from "../../src/observation/drain-status.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import type { WorkerState } from "../../src/observation/worker-status.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { workerStatus } from "../fixtures/worker-status.ts";

function workers(...states: WorkerState[]) {
  const metrics = new Metrics();
  metrics.connectionsOpen = 20;
  return states.map((state, index) => workerStatus({ worker: index + 1, state, metrics: metrics.snapshot() }));
}

test("statusLine() tells routes, age of the table, connections and workers", () => {
  const of = (routes: number, tableAgeMs: number | null, ...states: WorkerState[]) =>
    statusLine({ routes, tableAgeMs, tableIs: null, workers: workers(...states), drain: null });
  assert.equal(of(12, 3100, "serving", "serving"), "12 routes, table 3 s old, 40 connections, 2 workers");
  assert.equal(of(1, 119_000, "serving"), "1 route, table 119 s old, 20 connections, 1 worker");
  assert.equal(of(1, 600_000, "serving", "silent"), "1 route, table 10 min old, 40 connections, 1 of 2 workers serving");
  assert.equal(of(0, 90_000_000), "0 routes, table 25 h old, 0 connections, 0 workers");
  assert.equal(of(0, null, "starting"), "no table yet, 20 connections, 0 of 1 worker serving");
});

test("statusLine() tells when the table is not what the database says", () => {
  const of = (tableIs: string | null) => statusLine({ routes: 2, tableAgeMs: 5000, tableIs, workers: [], drain: null });
  assert.equal(of("last good table"), "2 routes, table 5 s old (last good table), 0 connections, 0 workers");
});

test("statusLine() tells what is left while it drains", () => {
  const drain = (phase: DrainStatus["phase"], left: WorkLeft): DrainStatus => {
    return { phase, reason: "SIGTERM", sinceAtMs: 0, phaseSinceAtMs: 0, deadlineAtMs: 0, left };
  };
  const of = (status: DrainStatus) => statusLine({ routes: 1, tableAgeMs: 0, tableIs: null, workers: [], drain: status });
  assert.equal(of(drain("finishing", { exchanges: 3, tunnels: 1, connections: 9 })), "draining: 3 exchanges, 1 tunnel left");
  assert.equal(of(drain("cutting", { exchanges: 0, tunnels: 2, connections: 2 })), "draining: 2 tunnels left");
  assert.equal(of(drain("finishing", { exchanges: 0, tunnels: 0, connections: 1 })), "draining: 1 connection left");
  assert.equal(of(drain("lame-duck", { exchanges: 1, tunnels: 0, connections: 45 })), "draining: lame duck, 45 connections");
});

test("reportStatus() sends the line every few seconds, where it has changed", async () => {
  const timers = new FakeTimers();
  const sent: string[] = [];
  let line = "one";
  const stop = reportStatus(() => line, (text) => sent.push(text), timers);
  await timers.advance(15_000);
  line = "two";
  await timers.advance(5000);
  stop();
  line = "three";
  await timers.advance(60_000);
  assert.deepEqual(sent, ["one", "two"]);
});
