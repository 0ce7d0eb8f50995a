/** Counters of several processes as if they were one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics, retire, sumSnapshots } from "../../src/observation/metrics.ts";

/** Every field different from 0. */
function busyWorker(): Metrics {
  const metrics = new Metrics();
  for (const name of Object.keys(metrics) as (keyof Metrics)[]) {
    if (typeof metrics[name] === "number") Object.assign(metrics, { [name]: 5 });
  }
  metrics.recordExchange("forwarded", 200, 0.003);
  metrics.recordError("no_route");
  metrics.recordBadEnd("no_route", "client");
  metrics.recordRetry("probe_passed");
  return metrics;
}

test("sumSnapshots() adds everything up but what each worker has whole", () => {
  const one = busyWorker(), two = busyWorker();
  two.revision = 4;
  two.routes = 9;
  two.recordExchange("aborted", 200, 70);
  const sum = sumSnapshots([one.snapshot(), two.snapshot()]);
  assert.deepEqual([sum.revision, sum.routes], [5, 9]);
  assert.deepEqual([sum.bytesIn, sum.connectionsOpen, sum.upstreamIdle, sum.tunnelsActive], [10, 10, 10, 10]);
  assert.equal(sum.requests.reduce((total, count) => total + count), 3);
  assert.equal(sum.errors.reduce((total, count) => total + count), 2);
  assert.equal(sum.badEnds.reduce((total, count) => total + count), 2);
  assert.deepEqual([sum.durationBuckets[3], sum.durationBuckets.at(-1)], [2, 1]);
  assert.ok(Math.abs(sum.durationSumSeconds - 80.006) < 1e-9);
  assert.deepEqual(Object.keys(sum).sort(), Object.keys(one.snapshot()).sort());
});

test("recordExchange() counts tunnels, whose durations say nothing of anybody's speed, without these", () => {
  const metrics = new Metrics();
  assert.equal(metrics.recordExchange("tunnelled", 101, 7200), -1);
  assert.equal(metrics.recordExchange("forwarded", 200, 0.002), 2);
  assert.equal(metrics.requests.reduce((total, count) => total + count), 2);
  assert.equal(metrics.durationBuckets.reduce((total, count) => total + count), 1);
  assert.equal(metrics.durationSumSeconds, 0.002);
});

test("sumSnapshots() of nobody is zero everywhere", () => {
  assert.deepEqual(sumSnapshots([]), new Metrics().snapshot());
});

test("retire() keeps what only grows, so that a sum over a worker and its replacement never goes down", () => {
  const dead = busyWorker().snapshot();
  const retired = retire(dead);
  assert.deepEqual([retired.requests, retired.errors, retired.durationBuckets], [dead.requests, dead.errors, dead.durationBuckets]);
  assert.deepEqual([retired.badEnds, retired.upstreamRetries], [dead.badEnds, dead.upstreamRetries]);
  assert.deepEqual([retired.bytesOut, retired.connectionsAccepted, retired.logLinesDropped], [5, 5, 5]);
  const gauges = [
    "connectionsOpen",
    "upstreamOpen",
    "upstreamIdle",
    "upstreamConnecting",
    "upstreamLimit",
    "connectionsLimit",
    "exchangesActive",
    "tunnelsActive",
    "exchangesWaiting",
    "exchangesQueued",
    "revision",
    "routes",
  ] as const;
  for (const name of gauges) assert.equal(retired[name], 0, name);

  const before = sumSnapshots([dead]), after = sumSnapshots([retired, new Metrics().snapshot()]);
  for (const [name, value] of Object.entries(before)) {
    if (!(gauges as readonly string[]).includes(name)) assert.deepEqual(after[name as keyof typeof after], value, name);
  }
});
