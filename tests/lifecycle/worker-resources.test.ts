import assert from "node:assert/strict";
import { test } from "node:test";
import { shareFiles } from "../../src/lifecycle/worker-resources.ts";

test("shareFiles() gives clients half of what the file limit leaves, or as many as configured, and endpoints the rest", () => {
  assert.deepEqual(shareFiles(1024, 0), { downstream: 448, upstream: 448 });
  assert.deepEqual(shareFiles(1024, 100), { downstream: 100, upstream: 796 });
  assert.deepEqual(shareFiles(1024, 100_000), { downstream: 448, upstream: 448 });
  assert.deepEqual(shareFiles(64, 0), { downstream: 16, upstream: 16 }, "a few even below the reserve");
});
