/** What a worker counts of the targets of routes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addSparse, emptyRow, requestsOf } from "../../src/observation/host-figures.ts";
import { type CountedTarget, TargetCounts } from "../../src/observation/target-counts.ts";
import {
  REFUSAL_COLUMN,
  REFUSALS,
  RETRY_COLUMN,
  TARGET_COLUMNS,
  targetOf,
  WAIT_COLUMN,
  WAIT_MS_COLUMN,
} from "../../src/observation/target-figures.ts";

const GOOD: CountedTarget = { status: 200, code: null, bodyBytesIn: 1, bodyBytesOut: 2, attempts: 1, queueWaitMs: 0 };
const nameOf = ({ id }: { id: string }) => id;
const API = { id: "api" };

/** Requests by target. */
function taken(counts: TargetCounts, last = false): Record<string, number> {
  const { hosts, other } = counts.take(last);
  const rows = [...hosts, ...other.length === 0 ? [] : [["other", other] as const]];
  return Object.fromEntries(rows.map(([key, sparse]) => [key, requestsOf(rowOf(sparse))]));
}

function rowOf(sparse: readonly number[]): Float64Array {
  const row = emptyRow(TARGET_COLUMNS);
  addSparse(row, sparse);
  return row;
}

test("take() answers what was counted since, by route and service, once", () => {
  const counts = new TargetCounts();
  const users = counts.rowOf(API, "users", nameOf), canary = counts.rowOf(API, "canary", nameOf);
  assert.equal(counts.rowOf(API, "users", nameOf), users);
  for (let i = 0; i < 3; i++) counts.count(users, GOOD, -1, 2, 2);
  counts.count(canary, GOOD, -1, 2, 2);
  counts.count(counts.rowOf({ id: "moved" }, "", nameOf), GOOD, -1, 2, -1);
  assert.deepEqual(taken(counts), { "api users": 3, "api canary": 1, "moved ": 1 });
  assert.deepEqual(taken(counts), {});
  assert.deepEqual([targetOf("moved "), targetOf("api users")], [{ route: "moved", service: "" }, {
    route: "api",
    service: "users",
  }]);
});

test("count() tells refusals, retries and waits", () => {
  const counts = new TargetCounts();
  const row = counts.rowOf(API, "users", nameOf);
  counts.count(row, { ...GOOD, status: 429, code: "rate_limited", attempts: 0 }, 0, 1, 0);
  counts.count(row, { ...GOOD, status: 502, code: "connect_failed", attempts: 3, queueWaitMs: 40 }, 1, 1, 0);
  const [[, sparse]] = counts.take().hosts as [readonly [string, readonly number[]]];
  const told = rowOf(sparse);
  assert.deepEqual(REFUSALS.map((_, index) => told[REFUSAL_COLUMN + index]), [1, 0, 0, 0, 0, 0]);
  assert.deepEqual([told[RETRY_COLUMN], told[WAIT_COLUMN], told[WAIT_MS_COLUMN]], [2, 1, 40]);
});

test("a request counts where it was led, whatever has come into force meanwhile", () => {
  const counts = new TargetCounts();
  const before = counts.rowOf(API, "users", nameOf);
  counts.tidy();
  const after = counts.rowOf(API, "users", nameOf);
  assert.notEqual(before, after);
  counts.count(before, GOOD, -1, 1, 0);
  counts.count(after, GOOD, -1, 1, 0);
  assert.deepEqual(counts.take().hosts.map(([key]) => key), ["api users", "api users"]);
});

test("rows that are wanting are given to whoever has requests, and nothing is lost", () => {
  const counts = new TargetCounts({ rows: 2, taken: 2 });
  const [a, b, c] = ["a", "b", "c"].map((id) => ({ id })) as [typeof API, typeof API, typeof API];
  for (const route of [a, b, c]) counts.count(counts.rowOf(route, "x", nameOf), GOOD, -1, 1, 0);
  assert.deepEqual(taken(counts), { "a x": 1, "b x": 1 });
  for (const route of [c, c, a, b]) counts.count(counts.rowOf(route, "x", nameOf), GOOD, -1, 1, 0);
  assert.deepEqual(taken(counts, true), { other: 2, "c x": 2, "a x": 1 }, "the first has taken time, the others went on");
});

test("however many targets have requests, only some rows wait to be taken", () => {
  const counts = new TargetCounts({ rows: 10, taken: 2 });
  let told = 0;
  for (let second = 0; second < 20; second++) {
    for (let id = 0; id < 20; id++) counts.count(counts.rowOf({ id: `${id}` }, "x", nameOf), GOOD, -1, 1, 0);
    const { hosts, other } = counts.take();
    assert.ok(hosts.length <= 2);
    told += [...hosts.map(([, each]) => each), other].reduce((sum, each) => sum + requestsOf(rowOf(each)), 0);
  }
  const { hosts, other } = counts.take(true);
  assert.ok(hosts.length <= 10, `${hosts.length} rows`);
  told += [...hosts.map(([, each]) => each), other].reduce((sum, each) => sum + requestsOf(rowOf(each)), 0);
  assert.equal(told, 20 * 20);
});
