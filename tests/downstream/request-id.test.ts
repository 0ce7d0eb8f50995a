/** Request ids. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptableRequestId, nextRequestId } from "../../src/downstream/request-id.ts";

test("nextRequestId() is never the same twice", () => {
  const ids = new Set(Array.from({ length: 10_000 }, () => nextRequestId()));
  assert.equal(ids.size, 10_000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test("nextRequestId() spreads the numbers of the last 16 digits, by which traces are sampled, and repeats none of them", () => {
  const halves = Array.from({ length: 10_000 }, () => nextRequestId().slice(16));
  assert.equal(new Set(halves).size, halves.length);
  const below = halves.filter((half) => Number.parseInt(half.slice(0, 8), 16) < 0.1 * 2 ** 32).length;
  assert.ok(below > 900 && below < 1100, `${below} of 10000 ids in the first tenth`);
  const run = halves.slice(0, 100).filter((half) => Number.parseInt(half.slice(0, 8), 16) < 0.1 * 2 ** 32).length;
  assert.ok(run > 2 && run < 30, `${run} of 100 neighbours in the first tenth`);
});

test("acceptableRequestId() keeps ids that are safe in fields, logs and pages", () => {
  for (const id of ["a", "7f3e-4c.b:1=+/@_", "x".repeat(128)]) assert.equal(acceptableRequestId(id), id);
  for (const id of ["", "x".repeat(129), "a b", "<script>", "a,b", 'a"', "a\xe4", "a\r"]) {
    assert.equal(acceptableRequestId(id), null, id);
  }
});
