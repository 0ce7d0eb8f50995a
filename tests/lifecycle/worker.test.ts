/** What a worker derives from its settings and the machine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSettings } from "../../src/lifecycle/settings.ts";
import { inProcessChannel } from "../../src/lifecycle/worker-channel.ts";
import { shareFiles, Worker } from "../../src/lifecycle/worker.ts";
import { AccessLog } from "../../src/observation/access-log.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";

const REGION = "00000000-0000-4000-8000-000000000001";

test("shareFiles() gives clients half of what the file limit leaves, or as many as configured, and endpoints the rest", () => {
  assert.deepEqual(shareFiles(1024, 0), { downstream: 448, upstream: 448 });
  assert.deepEqual(shareFiles(1024, 100), { downstream: 100, upstream: 796 });
  assert.deepEqual(shareFiles(1024, 100_000), { downstream: 448, upstream: 448 });
  assert.deepEqual(shareFiles(64, 0), { downstream: 16, upstream: 16 }, "a few even below the reserve");
});

test("Worker takes a delta of any size in one message", async () => {
  const { control, worker: channel } = inProcessChannel();
  const parsed = parseSettings({
    EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1/x",
    EDGEPROXY_REGION_ID: REGION,
    EDGEPROXY_WORKERS: "0",
  });
  assert.ok("settings" in parsed);
  const worker = new Worker(parsed.settings, channel, new CollectingLog(), new AccessLog({ share: 0 }));
  const removals = Array.from({ length: 300_000 }, (_, i) => `d${i}.test`);
  control.send({ type: "routes", revision: 1, base: 0, upserts: [], removals, last: true });
  let revision = 0;
  control.onMessage = (message) => {
    if (message.type === "stats") revision = message.metrics.revision;
  };
  control.send({ type: "collect", serial: 1 });
  assert.equal(revision, 1);
  await worker.drain(0);
});
