/** The minimum pace of a request body, moment by moment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BodyPace, type PaceLimit } from "../../src/downstream/body-pace.ts";

const LIMIT: PaceLimit = { bytesPerSecond: 100, graceMs: 10_000, mostMs: 60_000 };

function begun(limit: PaceLimit = LIMIT): BodyPace {
  const pace = new BodyPace(limit);
  pace.begin();
  return pace;
}

test("BodyPace gives a body that is awaited its grace, from the moment at which it is awaited", () => {
  const pace = begun();
  assert.equal(pace.tooSlowAtMs(5000, 0), Infinity, "nobody waits for it");
  pace.run(7000);
  assert.equal(pace.tooSlowAtMs(7000, 0), 17_000);
  assert.equal(pace.tooSlowAtMs(9000, 0), 17_000, "looking changes nothing");
  pace.run(9000);
  assert.equal(pace.tooSlowAtMs(16_999, 0), 17_000, "nor does asking again");
});

test("BodyPace adds the time that each byte may take", () => {
  const pace = begun();
  pace.run(0);
  assert.equal(pace.tooSlowAtMs(0, 1), 10_010);
  assert.equal(pace.tooSlowAtMs(4000, 1), 10_010);
  assert.equal(pace.tooSlowAtMs(4000, 101), 11_010);
  assert.equal(pace.tooSlowAtMs(11_009, 101), 11_010);
});

test("BodyPace never ends a body at exactly the pace, and ends one just below it", () => {
  const even = begun(), slow = begun();
  even.run(0);
  slow.run(0);
  let slowEndedAtMs = Infinity;
  for (let nowMs = 0; nowMs <= 3_600_000; nowMs += 1000) {
    assert.ok(even.tooSlowAtMs(nowMs, nowMs / 10) > nowMs);
    if (slow.tooSlowAtMs(nowMs, nowMs * 0.099) <= nowMs) slowEndedAtMs = Math.min(slowEndedAtMs, nowMs);
  }
  assert.equal(slowEndedAtMs, 1_000_000, "10 s of grace, 1 % too slow");
});

test("BodyPace does not count time in which nobody could take the body", () => {
  const pace = begun();
  pace.run(0);
  pace.halt(4000);
  assert.equal(pace.tooSlowAtMs(500_000, 0), Infinity);
  pace.halt(600_000);
  pace.run(1_000_000);
  assert.equal(pace.tooSlowAtMs(1_000_000, 0), 1_006_000);
  assert.equal(pace.tooSlowAtMs(1_000_000, 200), 1_008_000, "what has come meanwhile counts");
});

test("BodyPace lets a fast body pause, for the most at most", () => {
  const pace = begun();
  pace.run(0);
  assert.equal(pace.tooSlowAtMs(1000, 3000), 40_000);
  assert.equal(pace.tooSlowAtMs(1000, 1_000_000), 61_000);
  assert.equal(pace.tooSlowAtMs(60_999, 1_000_000), 61_000, "a burst buys no more than that");
});

test("BodyPace begins anew with every body", () => {
  const pace = begun();
  pace.run(0);
  pace.tooSlowAtMs(9000, 1_000_000);
  pace.begin();
  assert.equal(pace.tooSlowAtMs(9000, 0), Infinity);
  pace.run(10_000);
  assert.equal(pace.tooSlowAtMs(10_000, 100), 21_000);
});

test("BodyPace without a limit is content with everything", () => {
  const pace = begun({ ...LIMIT, bytesPerSecond: 0 });
  pace.run(0);
  assert.equal(pace.tooSlowAtMs(1e9, 0), Infinity);
});
