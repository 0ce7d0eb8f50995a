/** A supervisor that stands still or is gone: requests to VMs that nobody has probed yet, and to VMs that fail meanwhile. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { stopProcess } from "../fixtures/processes.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

/** A first verdict that has to come from the supervisor would take 12 s at least: none is given up before, and none comes. */
const PATIENT = { EDGEPROXY_WORKERS: "2", EDGEPROXY_HEALTH_TIMEOUT: "10s", EDGEPROXY_HEALTH_INTERVAL: "500ms" };

async function statusOf(edge: Edgeproxy, host: string): Promise<number> {
  return (await get(edge, host)).status;
}

test("a supervisor that stands still is not noticed: its workers probe VMs that are new to them or that fail, until it wakes", async () => {
  await using platform = await Platform.start(server);
  const fresh = await platform.vm("fresh.example.com");
  const known = await platform.vm("known.example.com");
  const edge = await platform.edge(PATIENT);
  assert.equal(await statusOf(edge, "known.example.com"), 200);
  await stopProcess(edge.pid);
  const startedAtMs = performance.now();
  assert.equal(await statusOf(edge, "fresh.example.com"), 200);
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs < 10_000);
  const rounds = 1 + Math.floor(tookMs / 500);
  assert.ok(
    fresh.probes >= 1 && fresh.probes <= 2 * rounds,
    `by one of the workers or both, and again at the interval: ${fresh.probes}`,
  );
  await known.die();
  await edge.waitFor(async () => await statusOf(edge, "known.example.com") === 503, "goes on with a VM that is gone");
  process.kill(edge.pid, "SIGCONT");
  await edge.waitFor(async () => {
    const { endpoints } = await (await edge.admin("/api/health")).json() as { endpoints: { key: string; verdict: string }[] };
    return endpoints.some(({ key, verdict }) => key === `vm/${fresh.host}:${fresh.port}` && verdict === "healthy");
  }, "does not learn of the VM that was used while it slept");
  assert.equal(await statusOf(edge, "fresh.example.com"), 200);
});

test("workers whose supervisor was killed probe by themselves: new VMs, VMs that fail, and VMs that heal", async () => {
  await using platform = await Platform.start(server);
  await platform.vm("fresh.example.com");
  const known = await platform.vm("known.example.com");
  const edge = await platform.edge(PATIENT);
  assert.equal(await statusOf(edge, "known.example.com"), 200);
  process.kill(edge.pid, "SIGKILL");
  assert.equal(await statusOf(edge, "fresh.example.com"), 200);
  known.healthStatus = 500;
  await edge.waitFor(async () => await statusOf(edge, "known.example.com") === 503, "does not probe at the interval");
  known.healthStatus = 200;
  await edge.waitFor(async () => await statusOf(edge, "known.example.com") === 200, "does not notice that a VM has healed");
});
