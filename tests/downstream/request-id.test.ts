/** Request ids. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptableRequestId, nextRequestId } from "../../src/downstream/request-id.ts";

test("nextRequestId() is never the same twice", () => {
  const ids = new Set(Array.from({ length: 10_000 }, () => nextRequestId()));
  assert.equal(ids.size, 10_000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test("acceptableRequestId() keeps ids that are safe in fields, logs and pages", () => {
  for (const id of ["a", "7f3e-4c.b:1=+/@_", "x".repeat(128)]) assert.equal(acceptableRequestId(id), id);
  for (const id of ["", "x".repeat(129), "a b", "<script>", "a,b", 'a"', "a\xe4", "a\r"]) {
    assert.equal(acceptableRequestId(id), null, id);
  }
});
