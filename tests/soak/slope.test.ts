import assert from "node:assert/strict";
import { test } from "node:test";
import { leftBytes, type Sample, slopeOf } from "./slope.ts";

const MIB = 2 ** 20;

/** A collector that lets 20 MiB pile up and takes them back every 7 samples, over what each exchange leaves behind. */
function sawtooth(bytesEach: number): Sample[] {
  return Array.from({ length: 60 }, (_, index) => {
    const done = (index + 1) * 1000;
    return { done, residentBytes: 100 * MIB + index % 7 / 6 * 20 * MIB + done * bytesEach };
  });
}

test("leftBytes sees through the collector's swing what is left of each exchange", () => {
  for (const bytesEach of [0, 100, 1000]) {
    const left = leftBytes(sawtooth(bytesEach));
    assert.ok(Math.abs(left - bytesEach) < 100 + bytesEach / 10, `${left} bytes, not ${bytesEach}`);
  }
});

test("slopeOf is KiB per 1000 exchanges, over the second half", () => {
  const samples = Array.from(
    { length: 10 },
    (_, index) => ({ done: index * 1000, residentBytes: index < 5 ? 0 : index * 3 * 1024 }),
  );
  assert.ok(Math.abs(slopeOf(samples) - 3) < 1e-9);
});
