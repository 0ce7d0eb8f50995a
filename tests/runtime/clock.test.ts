/** The sweep over deadlines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Sweep, type Watched } from "../../src/runtime/clock.ts";
import { interceptUncaught } from "../fixtures/uncaught.ts";

test("Sweep calls the others, and a faulty one no more, when a callback throws", async () => {
  using uncaught = interceptUncaught();
  const sweep = new Sweep();
  const called = Promise.withResolvers<void>(), calledAgain = Promise.withResolvers<void>();
  let faults = 0, calls = 0;
  const sound: Watched = {
    deadlineAtMs: 0,
    onDeadline() {
      called.resolve();
      if (++calls === 2) calledAgain.resolve();
    },
  };
  const faulty: Watched = {
    deadlineAtMs: 0,
    onDeadline() {
      faults++;
      throw new Error("a bug of ours");
    },
  };
  sweep.watch(sound);
  sweep.watch(faulty); // looked at first
  await called.promise;
  sound.deadlineAtMs = 0;
  await calledAgain.promise;
  sweep.close();
  assert.deepEqual([faults, faulty.deadlineAtMs, uncaught.messages], [1, Infinity, ["a bug of ours"]]);
});
