/** Generations of real processes succeed each other under constant load, and no connection is refused, reset or left unanswered. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { epollSystem } from "../../src/runtime/epoll-door.ts";
import { askWithoutPause, freshKey, GenerationProcess } from "../fixtures/generation-process.ts";

const skip = epollSystem() === null ? "no channels on this runtime or machine" : false;
const GENERATIONS = 20;

test("20 hand-overs under load lose no connection, though some successors die before they are ready", { skip }, async () => {
  const key = freshKey();
  let current = new GenerationProcess(key);
  const pids = [String(current.pid)];
  const port = await current.ready();
  const load = askWithoutPause(port, 8);
  try {
    for (let i = 0; i < GENERATIONS; i++) {
      if (i % 5 === 0) await fail(key);
      const next = new GenerationProcess(key);
      const predecessor = current;
      current = next;
      pids.push(String(next.pid));
      assert.equal(await next.says("took over"), "1");
      assert.equal(await next.ready(), port);
      await predecessor.says("ended");
      await predecessor.exit;
    }
  } finally {
    await load.stop();
    await current[Symbol.asyncDispose]();
  }
  assert.deepEqual(load.failures, []);
  const last = pids.pop()!; // may have had no time
  assert.deepEqual([...load.answers.keys()].filter((pid) => pid !== last).sort(), pids.sort());
});

/** A successor that is killed with the sockets in its hands. */
async function fail(key: string): Promise<void> {
  await using hesitant = new GenerationProcess(key, "hesitant");
  assert.equal(await hesitant.says("took over"), "1");
}
