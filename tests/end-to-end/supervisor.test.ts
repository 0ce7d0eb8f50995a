/** The supervisor dies or stands still: clients do not notice, as the workers need nobody to serve (contract, section 9). */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { loadSummary } from "../fixtures/constant-load.ts";
import { LoadedEdge } from "../fixtures/loaded-edge.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { stopProcess } from "../fixtures/processes.ts";
import type { Vm } from "../fixtures/vm.ts";

const TWO_WORKERS = { EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s", EDGEPROXY_HEALTH_INTERVAL: "300ms" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** An edge under load that knows two more VMs: one in use, and one that nobody has asked for yet. */
async function loadedEdge(
  env: Record<string, string> = {},
): Promise<{ loaded: LoadedEdge; used: Vm; fresh: Vm } & AsyncDisposable> {
  const loaded = await LoadedEdge.start(server, { ...TWO_WORKERS, ...env });
  const used = await loaded.platform.vm("used.example.com");
  const fresh = await loaded.platform.vm("fresh.example.com");
  await loaded.edge.refresh();
  assert.equal((await get(loaded.edge, "used.example.com")).status, 200);
  return { loaded, used, fresh, [Symbol.asyncDispose]: () => loaded[Symbol.asyncDispose]() };
}

/** A VM that dies is answered for by 502 and 503, and served once it is back; a VM that was never used is served at once. */
async function assertProbed({ loaded, used, fresh }: { loaded: LoadedEdge; used: Vm; fresh: Vm }): Promise<void> {
  const status = async (host: string): Promise<number> => (await get(loaded.edge, host)).status;
  const startedMs = performance.now();
  assert.equal(await status("fresh.example.com"), 200);
  process.stdout.write(`First request to a VM never probed: ${Math.round(performance.now() - startedMs)} ms\n`);
  assert.equal(fresh.requests.length, 1);
  await used.die();
  // One worker after the other finds it out; each request may meet either.
  await loaded.until(async () => await status("used.example.com") === 503, () => "The dead VM does not become unhealthy");
  await used.listen();
  await loaded.until(async () => await status("used.example.com") === 200, () => "The VM does not heal");
}

test("kill -9 of the supervisor under load: no request fails, and the workers probe for themselves", async () => {
  await using edge = await loadedEdge();
  const { loaded } = edge;
  const { supervisor, workers } = await loaded.generation();
  process.kill(supervisor, "SIGKILL");
  await loaded.onlyLeft({ supervisor: workers[0] ?? 0, workers });
  await loaded.load.progress(2);
  await assertProbed(edge);
  await loaded.onlyLeft({ supervisor: workers[0] ?? 0, workers });
  const report = await loaded.load.stop();
  process.stdout.write(`kill -9 of the supervisor: ${loadSummary(report)}\n`);
  assert.deepEqual(report.failures, [], loaded.report());
  for (const worker of [1, 2]) {
    assert.ok(
      loaded.edge.log.some((line) => line["worker"] === worker && /supervisor is gone/.test(String(line["msg"]))),
      loaded.report(),
    );
  }
});

test("workers whose supervisor has died drain and end after EDGEPROXY_ORPHAN_TIMEOUT", async () => {
  await using platform = await Platform.start(server);
  await platform.vm("app.example.com");
  const edge = await platform.edge({ ...TWO_WORKERS, EDGEPROXY_ORPHAN_TIMEOUT: "3s" });
  edge.signal("SIGKILL");
  const startedMs = performance.now();
  await edge.ended;
  assert.equal((await get(edge, "app.example.com")).status, 200);
  await edge.exited;
  assert.ok(performance.now() - startedMs > 2900, "too early");
});

test("SIGTERM ends a worker whose supervisor has died", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ ...TWO_WORKERS, EDGEPROXY_ORPHAN_TIMEOUT: "1h" });
  const workers = await edge.workers();
  edge.signal("SIGKILL");
  for (const { worker } of workers) {
    await edge.waitForLog((line) => line["worker"] === worker && /supervisor is gone/.test(String(line["msg"])));
  }
  for (const { pid } of workers) process.kill(pid, "SIGTERM");
  await edge.exited;
});

test("a supervisor that stands still is not noticed by clients, nor are its workers blamed for it", async () => {
  await using edge = await loadedEdge();
  const { loaded } = edge;
  const before = await loaded.generation();
  await stopProcess(before.supervisor);
  await loaded.load.progress(2);
  await assertProbed(edge);
  process.kill(before.supervisor, "SIGCONT");
  await loaded.until(async () => await loaded.serving(), () => "Workers do not serve");
  assert.deepEqual(await loaded.generation(), before);
  await loaded.load.progress(1);
  const report = await loaded.load.stop();
  process.stdout.write(`SIGSTOP of the supervisor: ${loadSummary(report)}\n`);
  assert.deepEqual(report.failures, [], loaded.report());
});
