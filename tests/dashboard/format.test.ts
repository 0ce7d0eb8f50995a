/** Figures as the dashboard writes them. The rest of it is looked at in a browser (tests/end-to-end/dashboard.test.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bytes,
  count,
  duration,
  milliseconds,
  percent,
  rate,
  relative,
  share,
  shortCount,
  shortId,
  UNKNOWN,
} from "../../src/dashboard/format.ts";

type Case = readonly [value: number | null, text: string];

function check(format: (value: number | null) => string, cases: readonly Case[]): void {
  for (const [value, text] of cases) assert.equal(format(value), text, String(value));
}

test("figures that are not known are a dash, not a zero", () => {
  for (const format of [count, shortCount, rate, bytes, milliseconds]) {
    for (const value of [null, undefined, NaN, Infinity]) assert.equal(format(value), UNKNOWN);
  }
  assert.equal(percent(0.053), "5.3 %");
  assert.equal(share(1, null), UNKNOWN);
});

test("rate() has as many digits as matter", () => {
  check(rate, [[0, "0"], [0.031, "0.03"], [1, "1"], [1.25, "1.3"], [63, "63"], [412.4, "412"], [12_345, "12.3K"]]);
});

test("count(), shortCount() and share() are as people write them", () => {
  check(count, [[0, "0"], [1_000_019, "1,000,019"]]);
  check(shortCount, [[9999, "9,999"], [1_200_000, "1.2M"]]);
  assert.deepEqual([share(1, 8), share(0, 0), share(0, 5)], ["13 %", "0 %", "0 %"]);
});

test("bytes() takes the unit in which the number is small", () => {
  check(bytes, [[0, "0 B"], [0.4, "0.4 B"], [1023, "1,023 B"], [1024, "1 KiB"], [1_600_000, "1.5 MiB"], [2 ** 50, "1,024 TiB"]]);
});

test("milliseconds(), duration() and relative() take the unit that a reader would", () => {
  check(milliseconds, [[0.04, "0.04 ms"], [4.26, "4.3 ms"], [45.2, "45 ms"], [1200, "1.2 s"], [90_000, "1 min"]]);
  assert.deepEqual([59_000, 61_000, 7_200_000, 200_000_000].map(duration), ["59 s", "1 min", "2 h", "2 d"]);
  assert.deepEqual([1000, 10_000, 130_000].map((ms) => relative(0, ms)), ["now", "10 s ago", "2 min ago"]);
  assert.equal(relative(3_600_000, 0), "in 1 h");
});

test("shortId() shortens what is a UUID, and nothing else", () => {
  assert.equal(shortId("0b8f8a5e-9c38-4d2e-8b53-0d6a1d9f1c11"), "0b8f8a5e");
  assert.equal(shortId("eu-west"), "eu-west");
});
