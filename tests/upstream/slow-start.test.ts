/** Shares as functions of time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { drainShare } from "../../src/table/drain-share.ts";
import { slowStartShare } from "../../src/upstream/slow-start.ts";

test("slowStartShare() grows evenly from a tenth to all", () => {
  assert.deepEqual([0, 2500, 5000, 10_000, 60_000].map((ms) => slowStartShare(ms, 10_000)), [0.1, 0.325, 0.55, 1, 1]);
  assert.equal(slowStartShare(0, 0), 1, "none");
});

test("drainShare() falls evenly from all to none", () => {
  const drain = { startAtMs: 1000, overMs: 200 };
  assert.deepEqual([0, 1000, 1050, 1150, 1200, 5000].map((nowMs) => drainShare(drain, nowMs)), [1, 1, 0.75, 0.25, 0, 0]);
  assert.deepEqual([1000, 1001].map((nowMs) => drainShare({ startAtMs: 1000, overMs: 0 }, nowMs)), [1, 0]);
  assert.equal(drainShare(null, 5000), 1);
});
