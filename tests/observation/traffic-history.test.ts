/** The traffic of the last half hour, from sums that only grow. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics, retire, sumSnapshots } from "../../src/observation/metrics.ts";
import { quantileMs } from "../../src/observation/quantile.ts";
import { STEP_MS, TrafficHistory } from "../../src/observation/traffic-history.ts";

function stage() {
  const metrics = new Metrics();
  const clock = { nowMs: 0 };
  const history = new TrafficHistory(() => metrics.snapshot(), () => clock.nowMs);
  const step = (work: () => void = () => {}) => {
    work();
    clock.nowMs += STEP_MS;
    history.sample();
  };
  return { metrics, clock, history, step };
}

test("points() says what happened between two samples", () => {
  const { metrics, history, step } = stage();
  step(() => {
    for (let i = 0; i < 90; i++) metrics.recordExchange("forwarded", 200, 0.002);
    for (let i = 0; i < 10; i++) metrics.recordExchange("refused", 503, 0.2);
    metrics.recordBadEnd("vm_unhealthy", "vm");
    metrics.recordBadEnd("no_route", "client");
    metrics.bytesIn = 500;
    metrics.connectionsOpen = 3;
    metrics.recordExchange("tunnelled", 101, 5000);
  });
  step(() => metrics.bytesIn = 700);
  const [first, second] = history.points(60_000);
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual([first.atMs, first.spanMs, first.requests, first.errors], [5000, 5000, 101, 2]);
  assert.deepEqual(first.byClass, { none: 0, "1xx": 1, "2xx": 90, "3xx": 0, "4xx": 0, "5xx": 10 });
  assert.deepEqual(first.byBlame, { client: 1, vm: 1, region: 0, edge: 0, database: 0 });
  assert.deepEqual([first.bytesIn, first.connections], [500, 3]);
  assert.ok(first.p50Ms! > 1 && first.p50Ms! < 2.5 && first.p95Ms! > 100 && first.p99Ms! <= 250, JSON.stringify(first));
  assert.deepEqual([second.requests, second.p50Ms, second.bytesIn], [0, null, 200]);
});

test("points() says which bad ends of the edge's doing an operator has ordered", () => {
  const { metrics, history, step } = stage();
  step(() => {
    metrics.recordBadEnd("vm_cordoned", "edge");
    metrics.recordBadEnd("vm_cordoned", "edge");
    metrics.recordBadEnd("maintenance", "edge");
    metrics.recordBadEnd("internal", "edge");
  });
  step(() => metrics.recordBadEnd("overloaded", "edge"));
  assert.deepEqual(history.points(60_000).map(({ byBlame, ordered }) => [byBlame.edge, ordered]), [[4, 3], [1, 0]]);
});

test("points() keeps half an hour", () => {
  const { history, step } = stage();
  for (let i = 0; i < 1000; i++) step();
  assert.equal(history.points(Infinity).length, 360);
  assert.equal(history.points(60_000).length, 13);
});

test("latest() looks back so far, or to the first sample", () => {
  const { metrics, clock, history, step } = stage();
  metrics.recordExchange("forwarded", 200, 0.001);
  clock.nowMs = 2000;
  assert.deepEqual([history.latest(10_000).spanMs, history.latest(10_000).requests], [2000, 1]);
  for (let i = 0; i < 10; i++) step(() => metrics.recordExchange("forwarded", 200, 0.001));
  clock.nowMs += 1000;
  assert.deepEqual([history.latest(10_000).spanMs, history.latest(10_000).requests], [11_000, 2]);
});

test("a worker that is replaced is no dip", () => {
  const workers = [new Metrics(), new Metrics()];
  let retired = new Metrics().snapshot();
  let nowMs = 0;
  const history = new TrafficHistory(() => sumSnapshots([retired, ...workers.map((each) => each.snapshot())]), () => nowMs);
  for (let round = 0; round < 4; round++) {
    for (const worker of workers) worker.recordExchange("forwarded", 200, 0.001);
    if (round === 2) {
      retired = retire(workers[0]!.snapshot());
      workers[0] = new Metrics();
    }
    nowMs += STEP_MS;
    history.sample();
  }
  assert.deepEqual(history.points(Infinity).map(({ requests }) => requests), [2, 2, 2, 2]);
});

test("quantileMs() spreads a bucket evenly, and knows nothing beyond the last bound", () => {
  const counts = new Array(17).fill(0);
  assert.equal(quantileMs(counts, 0.5), null);
  counts[0] = 100;
  assert.equal(quantileMs(counts, 0.5), 0.25);
  counts[3] = 100; // 2.5 to 5 ms
  assert.equal(quantileMs(counts, 0.75), 3.75);
  counts[16] = 1000;
  assert.equal(quantileMs(counts, 0.99), 60_000);
  assert.equal(quantileMs([7, 7, 7, ...counts], 0.75, 3), quantileMs(counts, 0.75));
});
