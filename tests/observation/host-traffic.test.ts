/** What is known of single hosts over all workers: who is watched, who has metric series, and the last minute. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addSparse, emptyRow, requestsOf } from "../../src/observation/host-figures.ts";
import { HostTraffic, type HostTrafficLimits } from "../../src/observation/host-traffic.ts";

class Stage {
  nowMs = 1000;
  revision = 1;
  readonly gone: Set<string> = new Set();
  readonly traffic: HostTraffic;

  constructor(limits?: HostTrafficLimits) {
    this.traffic = new HostTraffic({
      revision: () => this.revision,
      hasRoute: (key) => !this.gone.has(key),
      nowMs: () => this.nowMs,
      ...limits !== undefined && { limits },
    });
  }

  /** A worker has answered so many requests with 200, 2 ms each. */
  report(requests: Readonly<Record<string, number>>, other = 0): void {
    const counts = (count: number) => [2, count, 11, 2 * count, 14 + 2, count];
    this.traffic.add({
      hosts: Object.entries(requests).map(([key, count]) => [key, counts(count)]),
      other: other === 0 ? [] : counts(other),
    });
  }

  remove(...hosts: string[]): void {
    for (const host of hosts) this.gone.add(host);
    this.revision++;
  }

  /** Requests by host, as exported. */
  series(): Record<string, number> {
    return Object.fromEntries(this.traffic.series().map(({ host, counts }) => [host, requestsOf(counts)]));
  }

  lastMinute(): Record<string, number> {
    return Object.fromEntries(this.traffic.list().map(({ host, lastMinute }) => [host, requestsOf(lastMinute)]));
  }

  totals(): Record<string, number> {
    return Object.fromEntries(this.traffic.list().map(({ host, total }) => [host, requestsOf(total)]));
  }
}

test("add() sums up what all workers say, in total and over the last minute", () => {
  const stage = new Stage();
  stage.report({ "a.test": 3 });
  stage.nowMs += 30_000;
  stage.report({ "a.test": 4, "b.test": 1 });
  assert.deepEqual(stage.totals(), { "a.test": 7, "b.test": 1 });
  assert.deepEqual(stage.lastMinute(), { "a.test": 7, "b.test": 1 });
  assert.equal(stage.traffic.lastMinuteSeconds, 30);
  stage.nowMs += 31_000;
  assert.deepEqual(stage.lastMinute(), { "a.test": 4, "b.test": 1 });
  assert.equal(stage.traffic.lastMinuteSeconds, 51);
  stage.nowMs += 3_600_000;
  assert.deepEqual(stage.lastMinute(), { "a.test": 0, "b.test": 0 });
  assert.deepEqual(stage.totals(), { "a.test": 7, "b.test": 1 });
});

test("series() shows each host, and all that has none as other", () => {
  const stage = new Stage();
  stage.report({ "a.test": 3, "*.b.test": 2 }, 5);
  stage.report({ "a.test": 1 });
  assert.deepEqual(stage.series(), { "a.test": 4, "*.b.test": 2, "other": 5 });
});

test("series of a route that is gone vanish with the revision, and come back from 0", () => {
  const stage = new Stage();
  stage.report({ "a.test": 3, "b.test": 2 });
  stage.remove("a.test");
  assert.deepEqual(stage.series(), { "b.test": 2, "other": 0 });
  assert.equal(stage.traffic.find("a.test"), null);
  stage.report({ "a.test": 1 }); // a worker that has not taken the revision yet
  assert.deepEqual(stage.series(), { "b.test": 2, "other": 1 });
  stage.gone.clear();
  stage.revision++;
  stage.report({ "a.test": 1 });
  assert.deepEqual(stage.series(), { "b.test": 2, "a.test": 1, "other": 1 });
});

test("a host without series counts as other, and begins at 0 when it is busy enough to have some", () => {
  const stage = new Stage({ series: 2, watched: 10 });
  stage.report({ "a.test": 100, "b.test": 50, "c.test": 60 });
  assert.deepEqual(stage.series(), { "a.test": 100, "b.test": 50, "other": 60 });
  stage.nowMs += 2000;
  stage.report({ "c.test": 60 });
  assert.deepEqual(stage.series(), { "a.test": 100, "b.test": 50, "other": 120 }, "not much busier than b.test");
  stage.nowMs += 2000;
  stage.report({ "a.test": 1, "c.test": 60 });
  stage.nowMs += 2000;
  assert.deepEqual(stage.series(), { "a.test": 101, "c.test": 60, "other": 120 });
  stage.report({ "b.test": 3, "c.test": 5 });
  assert.deepEqual(stage.series(), { "a.test": 101, "c.test": 65, "other": 123 });
  assert.deepEqual(stage.totals(), { "a.test": 101, "b.test": 53, "c.test": 185 });
});

test("a series never goes down while it lives, whoever comes and goes", () => {
  const stage = new Stage({ series: 20, watched: 60 });
  let before: Record<string, number> = {}, sum = 0;
  for (let round = 0; round < 300; round++) {
    stage.nowMs += 700;
    const counts: Record<string, number> = {};
    for (let i = 0; i < 40; i++) counts[`h${(round * 7 + i * i) % 200}.test`] = 1 + (i * round) % 50;
    if (round % 9 === 0) stage.remove(`h${round % 200}.test`);
    stage.report(counts, 3);
    sum += 3 + Object.values(counts).reduce((total, count) => total + count);
    const now = stage.series();
    for (const [host, count] of Object.entries(now)) {
      if (before[host] !== undefined) assert.ok(count >= before[host], `${host} in round ${round}: ${before[host]} -> ${count}`);
    }
    assert.ok(Object.keys(now).length <= 21 && stage.traffic.list().length <= 60);
    assert.ok(Object.values(now).reduce((total, count) => total + count) <= sum);
    before = now;
  }
});

test("a busy host that comes late is watched and has series within seconds, whatever thousands of others do", () => {
  const stage = new Stage({ series: 50, watched: 200 });
  for (let second = 0; second < 10; second++) {
    stage.nowMs += 1000;
    const counts: Record<string, number> = {};
    for (let i = 0; i < 1000; i++) counts[`h${second % 7}-${i}.test`] = 1;
    stage.report(second < 5 ? counts : { ...counts, "late.test": 50 });
  }
  const { "late.test": late = 0 } = stage.series();
  assert.ok(late >= 150, `${late} of 250`);
});

test("the sum over all series grows by what was counted", () => {
  const stage = new Stage({ series: 3, watched: 5 });
  for (const hosts of [["a", "b", "c"], ["a", "d", "e", "f", "g"]]) {
    stage.report(Object.fromEntries(hosts.map((host) => [`${host}.test`, 10])), 1);
  }
  const sum = emptyRow();
  for (const { counts } of stage.traffic.series()) addSparse(sum, [...counts].flatMap((value, column) => [column, value]));
  assert.equal(requestsOf(sum), 82);
});
