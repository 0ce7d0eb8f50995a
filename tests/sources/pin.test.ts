import assert from "node:assert/strict";
import { test } from "node:test";
import { FREE, type Pin, stepPin } from "../../src/sources/pin.ts";

const PINNED: Pin = { state: "pinned", revision: 17, sinceAtMs: 1000, untilAtMs: 5000 };

test("stepPin() pins, and pins anew", () => {
  assert.deepEqual(stepPin(FREE, { type: "pin", revision: 17, nowMs: 1000, untilAtMs: 5000 }), PINNED);
  assert.deepEqual(stepPin(PINNED, { type: "pin", revision: 17, nowMs: 2000, untilAtMs: 9000 }), { ...PINNED, untilAtMs: 9000 });
  const other: Pin = { state: "pinned", revision: 3, sinceAtMs: 2000, untilAtMs: 9000 };
  assert.deepEqual(stepPin(PINNED, { type: "pin", revision: 3, nowMs: 2000, untilAtMs: 9000 }), other);
});

test("stepPin() ends a pin when it is told to, and when its time is over", () => {
  assert.equal(stepPin(PINNED, { type: "unpin" }), FREE);
  assert.equal(stepPin(PINNED, { type: "tick", nowMs: 4999 }), PINNED);
  assert.equal(stepPin(PINNED, { type: "tick", nowMs: 5000 }), FREE);
});

test("stepPin() leaves what is free as it is", () => {
  assert.equal(stepPin(FREE, { type: "unpin" }), FREE);
  assert.equal(stepPin(FREE, { type: "tick", nowMs: 5000 }), FREE);
});
