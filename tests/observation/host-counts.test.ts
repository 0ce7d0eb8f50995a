/** Counts of single hosts in a worker: who is told apart, and what reaches the control plane. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Counted, HostCounts, type HostTable } from "../../src/observation/host-counts.ts";
import { addSparse, emptyRow, errorsOf, type HostReport, requestsOf } from "../../src/observation/host-figures.ts";

/** Names end in `.test`; `*.wild.test` is a wildcard. */
class Table implements HostTable {
  revision = 1;
  asked = 0;
  readonly removed: Set<string> = new Set();
  readonly routes: { wildcards: number };

  constructor(wildcards = 1) {
    this.routes = { wildcards };
  }

  match(host: string): string | undefined {
    this.asked++;
    const key = host.endsWith(".wild.test") && this.routes.wildcards > 0 ? "*.wild.test" : host;
    return key.endsWith(".test") && !this.removed.has(key) ? key : undefined;
  }
}

const GOOD: Counted = { status: 200, upstream: "10.0.0.5:80", bodyBytesIn: 3, bodyBytesOut: 100 };
const REFUSED: Counted = { status: 404, upstream: "", bodyBytesIn: 0, bodyBytesOut: 17 };
const FORWARDED = [-1, 2, 3] as const;

function count(counts: HostCounts, host: string, times = 1): void {
  for (let i = 0; i < times; i++) counts.count(host, GOOD, ...FORWARDED);
}

/** Requests by key. */
function requests({ hosts, other }: HostReport): Record<string, number> {
  const all = other.length === 0 ? hosts : [...hosts, ["other", other] as const];
  return Object.fromEntries(all.map(([key, counts]) => [key, requestsOf(rowOf(counts))]));
}

function rowOf(counts: readonly number[]): Float64Array {
  const row = emptyRow();
  addSparse(row, counts);
  return row;
}

test("count() adds up what take() hands on once", () => {
  const counts = new HostCounts(new Table());
  count(counts, "a.test", 2);
  counts.count("a.test", { ...GOOD, status: 502 }, 1, 40, 7);
  const [[key, sparse]] = counts.take(0).hosts as [[string, number[]]];
  const row = rowOf(sparse);
  assert.equal(key, "a.test");
  assert.deepEqual([requestsOf(row), errorsOf(row), row[2], row[5]], [3, 1, 2, 1]);
  assert.deepEqual([...row.subarray(11, 14)], [44, 9, 300]);
  assert.deepEqual([row[14 + 3], row[14 + 7]], [2, 1]);
  assert.deepEqual(counts.take(10_000), { hosts: [], other: [] });
});

test("count() leaves the duration of a tunnel out", () => {
  const counts = new HostCounts(new Table());
  counts.count("a.test", { ...GOOD, status: 101 }, -1, 3_600_000, -1);
  const row = rowOf(counts.take(0).hosts[0]![1]);
  assert.deepEqual([requestsOf(row), row[11], row.subarray(14).reduce((sum, each) => sum + each)], [1, 0, 0]);
});

test("count() gives names without a route nothing, and names under a wildcard one row together", () => {
  const table = new Table();
  const counts = new HostCounts(table, { slots: 4, reported: 100 });
  for (let i = 0; i < 50_000; i++) {
    counts.count(`x${i}.example`, REFUSED, 0, 1, 0);
    count(counts, `x${i}.wild.test`);
  }
  count(counts, "a.test");
  assert.deepEqual(requests(counts.take(0)), { "*.wild.test": 50_000, "a.test": 1 });
});

test("count() asks the table once for a busy name, wildcard or not", () => {
  const table = new Table();
  const counts = new HostCounts(table);
  for (const host of ["a.test", "b.wild.test"]) count(counts, host, 100);
  assert.equal(table.asked, 2);
});

test("count() adds hosts beyond its slots to the others, and finds the wildcard of a name all the same", () => {
  const counts = new HostCounts(new Table(), { slots: 2, reported: 100 });
  for (const host of ["*.wild.test", "b.test", "c.test", "d.test", "e.wild.test"]) count(counts, host);
  assert.deepEqual(requests(counts.take(0)), { "*.wild.test": 2, "b.test": 1, "other": 2 });
});

test("count() does not ask a table without wildcards for those that have no slot", () => {
  const table = new Table(0);
  const counts = new HostCounts(table, { slots: 2, reported: 100 });
  for (let i = 0; i < 1000; i++) count(counts, `h${i}.test`);
  assert.equal(table.asked, 2);
});

test("a busy host that comes late has a slot within seconds, whatever many others do", () => {
  const counts = new HostCounts(new Table(0), { slots: 100, reported: 100 });
  let next = 0;
  const seconds: (number | undefined)[] = [];
  for (let second = 0; second < 12; second++) {
    for (let i = 0; i < 2000; i++) {
      count(counts, `h${next++ % 5000}.test`);
      if (second >= 5 && i % 20 === 0) count(counts, "late.test");
    }
    seconds.push(requests(counts.take(second * 1000))["late.test"]);
  }
  assert.deepEqual(seconds.slice(8), [100, 100, 100, 100], JSON.stringify(seconds));
});

test("take() tells of no more hosts than it may, in turn, and loses nothing", () => {
  const counts = new HostCounts(new Table(), { slots: 100, reported: 10 });
  const told = new Map<string, number>();
  const most: number[] = [];
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < 30; i++) count(counts, `h${i}.test`);
    const report = counts.take(round * 500);
    most.push(report.hosts.length);
    for (const [key, each] of Object.entries(requests(report))) told.set(key, (told.get(key) ?? 0) + each);
  }
  assert.deepEqual(most, [10, 5, 5, 5, 5, 5, 5, 5]);
  assert.equal(told.size, 30);
  for (let round = 0; round < 30; round++) {
    for (const [key, each] of Object.entries(requests(counts.take(10_000 + round * 1000)))) {
      told.set(key, (told.get(key) ?? 0) + each);
    }
  }
  assert.deepEqual([...new Set(told.values())], [8]);
});

test("take() tells the counts of slots that it gives up as those of others", () => {
  const table = new Table(0);
  const counts = new HostCounts(table, { slots: 4, reported: 1 });
  for (let i = 0; i < 8; i++) count(counts, `h${i}.test`, 8 - i);
  let sum = 0;
  for (let second = 0; second < 5; second++) {
    for (const each of Object.values(requests(counts.take(second * 1000)))) sum += each;
  }
  assert.equal(sum, 8 + 7 + 6 + 5 + 4 + 3 + 2 + 1);
});

test("a route that has gone, or has come under a wildcard, is looked up anew within a second", () => {
  const table = new Table();
  const counts = new HostCounts(table);
  for (const host of ["a.test", "b.wild.test"]) count(counts, host);
  counts.take(0);
  table.revision++;
  table.removed.add("a.test").add("*.wild.test");
  counts.take(1000);
  for (const host of ["a.test", "b.wild.test"]) count(counts, host);
  assert.deepEqual(counts.take(2000), { hosts: [], other: [] });
});
