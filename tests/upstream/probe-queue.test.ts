import assert from "node:assert/strict";
import { test } from "node:test";
import { ProbeQueue } from "../../src/upstream/probe-queue.ts";

test("ProbeQueue lets the urgent ones go first, each kind in its order", () => {
  const queue = new ProbeQueue<string>(9);
  queue.add("a", false);
  queue.add("b", true);
  queue.add("c", true);
  queue.add("a", true); // now someone waits for it
  queue.add("b", true); // and keeps its place
  queue.add("d", false);
  assert.deepEqual([1, 2, 3, 4, 5].map(() => queue.start()), ["b", "c", "a", "d", undefined]);
});

test("ProbeQueue lets no more run than may, and forgets those that leave", () => {
  const queue = new ProbeQueue<string>(1);
  for (const each of ["a", "b", "c"]) queue.add(each, each === "b");
  assert.equal(queue.start(), "b");
  assert.equal(queue.start(), undefined);
  queue.remove("a");
  queue.ended();
  assert.equal(queue.start(), "c");
});
