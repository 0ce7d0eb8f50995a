/** What the watchdog is fed on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type CheckedGeneration, findProblem, selfCheck } from "../../src/lifecycle/self-check.ts";
import type { DrainStatus } from "../../src/observation/drain-status.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { workerStatus } from "../fixtures/worker-status.ts";

const NOW_MS = 1_700_000_000_000;
const DRAINING: DrainStatus = {
  phase: "finishing",
  reason: "SIGTERM",
  sinceAtMs: NOW_MS,
  phaseSinceAtMs: NOW_MS,
  deadlineAtMs: NOW_MS + 30_000,
  left: { exchanges: 1, tunnels: 0, connections: 1 },
};

function generation(changes: Partial<CheckedGeneration> = {}): CheckedGeneration {
  return {
    collect: () => Promise.resolve(),
    workers: () => [workerStatus({ heardAtMs: NOW_MS - 500, revision: 3 })],
    revision: () => 3,
    drain: () => null,
    nowMs: () => NOW_MS,
    ...changes,
  };
}

test("findProblem() finds none while one worker listens, answers and has a table", () => {
  assert.equal(findProblem(generation()), null);
  const others = [
    workerStatus({ worker: 2, state: "silent", heardAtMs: NOW_MS - 60_000 }),
    workerStatus({ worker: 3, state: "restarting" }),
  ];
  assert.equal(findProblem(generation({ workers: () => [...others, ...generation().workers()] })), null);
});

test("findProblem() says what is wrong when no worker does all of that", () => {
  const problem = (changes: Partial<CheckedGeneration>) => findProblem(generation(changes));
  assert.equal(problem({ workers: () => [] }), "no worker is serving");
  assert.equal(problem({ workers: () => [workerStatus({ state: "starting", heardAtMs: NOW_MS })] }), "no worker is serving");
  assert.equal(problem({ workers: () => [workerStatus({ heardAtMs: NOW_MS - 5001 })] }), "no worker answers");
  assert.equal(problem({ workers: () => [workerStatus({ heardAtMs: null })] }), "no worker answers");
  const bare = [workerStatus({ worker: 1, heardAtMs: NOW_MS, revision: 0 }), workerStatus({ worker: 2, heardAtMs: NOW_MS - 9000 })];
  assert.equal(problem({ workers: () => bare }), "no worker has a table");
});

test("findProblem() does not ask for a table that nobody has, nor for workers during a drain", () => {
  const bare = () => [workerStatus({ heardAtMs: NOW_MS, revision: 0 })];
  assert.equal(findProblem(generation({ workers: bare, revision: () => 0 })), null);
  assert.equal(findProblem(generation({ workers: () => [], drain: () => DRAINING })), null);
});

test("selfCheck() asks the workers first, and logs a problem once until it changes", async () => {
  const log = new CollectingLog();
  let collected = 0;
  let heardAtMs = NOW_MS - 10_000;
  const check = selfCheck(
    generation({
      collect: () => {
        if (++collected === 3) heardAtMs = NOW_MS;
        return Promise.resolve();
      },
      workers: () => [workerStatus({ heardAtMs })],
    }),
    log,
  );
  assert.deepEqual([await check(), await check(), await check(), await check()], [false, false, true, true]);
  assert.deepEqual(log.lines.map(({ msg, fields }) => [msg, fields["problem"]]), [
    ["self-check failed", "no worker answers"],
    ["self-check passes again", undefined],
  ]);
});
