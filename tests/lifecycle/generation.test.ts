/** What the admin app shows of several workers is what all of them have done. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { totalOf } from "../../src/lifecycle/generation.ts";
import { Metrics, type MetricsSnapshot } from "../../src/observation/metrics.ts";
import { workerStatus } from "../fixtures/worker-status.ts";

function counted(changes: Partial<MetricsSnapshot>): MetricsSnapshot {
  return { ...new Metrics().snapshot(), ...changes };
}

test("totalOf() adds up every worker that has reported and those that are gone", () => {
  const { connectionsAccepted, exchangesActive } = totalOf({
    workers: () => [
      workerStatus({ worker: 1, metrics: counted({ connectionsAccepted: 1, exchangesActive: 1 }) }),
      workerStatus({ worker: 2, state: "starting", metrics: null }),
      workerStatus({ worker: 3, state: "silent", metrics: counted({ connectionsAccepted: 20, exchangesActive: 2 }) }),
      workerStatus({ worker: 4, state: "draining", metrics: counted({ connectionsAccepted: 300, exchangesActive: 4 }) }),
    ],
    retired: () => counted({ connectionsAccepted: 4000 }),
  });
  assert.deepEqual({ connectionsAccepted, exchangesActive }, { connectionsAccepted: 4321, exchangesActive: 7 });
});
