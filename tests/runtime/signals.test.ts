import { test } from "node:test";
import assert from "node:assert/strict";
import { onSignals } from "../../src/runtime/signals.ts";

test("onSignals() calls a handler at each signal until undone", async () => {
  const arrived: string[] = [];
  let next = Promise.withResolvers<void>();
  const handler = () => {
    arrived.push("SIGHUP");
    next.resolve();
  };
  const undo = onSignals({ SIGHUP: handler });
  for (let i = 0; i < 2; i++) {
    next = Promise.withResolvers<void>();
    const keepAlive = setTimeout(() => {}, 60_000);
    process.kill(process.pid, "SIGHUP");
    await next.promise;
    clearTimeout(keepAlive);
  }
  assert.deepEqual(arrived, ["SIGHUP", "SIGHUP"]);
  undo();
  assert.equal(process.listenerCount("SIGHUP"), 0);
  undo();
});
