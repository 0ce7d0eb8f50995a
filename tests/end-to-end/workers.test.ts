/** Workers that die, stop, leave or cannot start: who notices, and what is said of it (contract, section 9). */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";
import { after, before, test } from "node:test";
import { loadSummary } from "../fixtures/constant-load.ts";
import type { WorkerView } from "../fixtures/edgeproxy.ts";
import { LoadedEdge } from "../fixtures/loaded-edge.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { clientPorts, signalTo, stopProcess } from "../fixtures/processes.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond } from "../fixtures/vm.ts";

const PATIENCE_MS = 20_000;
const TWO_WORKERS = { EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** The worker in that place, once it is another process and serves. */
async function replacement(loaded: LoadedEdge, { worker, pid }: WorkerView): Promise<WorkerView> {
  let now: WorkerView | undefined;
  await loaded.until(async () => {
    now = (await loaded.edge.workers()).find((each) => each.worker === worker && each.pid !== pid);
    return now?.state === "serving";
  }, () => `Worker ${worker} was not replaced: ${JSON.stringify(now)}`);
  return now!;
}

/** Failures of connections that were not among these. */
function unexplained(loaded: LoadedEdge, lost: ReadonlySet<number>): unknown[] {
  return loaded.load.failures.filter(({ port }) => !lost.has(port));
}

test("kill -9 of a worker ends what it had accepted and nothing else; it is replaced, counted and logged", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS);
  const { edge, load } = loaded;
  const lost = new Set<number>();
  for (const victim of await edge.workers()) {
    // Stopped first, so that nothing is accepted between the look at its connections and its end.
    await stopProcess(victim.pid);
    for (const port of clientPorts(victim.pid, edge.port)) lost.add(port);
    process.kill(victim.pid, "SIGKILL");
    const next = await replacement(loaded, victim);
    assert.equal(next.restarts, 1);
    const line = await edge.waitForLog((each) => each["pid"] === victim.pid && each["level"] === "error");
    assert.deepEqual([line["worker"], line["reason"]], [victim.worker, "SIGKILL"]);
    await load.progress(1);
  }
  assert.equal(await metric(edge, 'edgeproxy_worker_restarts_total{reason="killed"}'), 2);
  const report = await load.stop();
  process.stdout.write(`kill -9 of each worker: ${loadSummary(report)}\n`);
  assert.deepEqual(unexplained(loaded, lost), [], loaded.report());
  assert.ok(report.failures.length > 0, "nothing was cut: the account is blind");
});

test("a worker that stands still is shown as silent and replaced; its queue is served by the other one meanwhile", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS, { flows: ["keep-alive", "new connection"] });
  const { edge, load } = loaded;
  const [victim] = await edge.workers();
  await stopProcess(victim!.pid);
  const lost = clientPorts(victim!.pid, edge.port);
  await edge.waitFor(async () => (await edge.workers())[0]?.state === "silent", "does not show the worker as silent");
  assert.equal(await metric(edge, 'edgeproxy_workers{state="silent"}'), 1);
  assert.equal(await metric(edge, 'edgeproxy_worker_up{worker="1"}'), 0);
  const next = await replacement(loaded, victim!);
  assert.equal(next.restarts, 1);
  await load.progress(5);
  assert.equal(await metric(edge, 'edgeproxy_worker_restarts_total{reason="silent"}'), 1);
  const report = await load.stop();
  process.stdout.write(`SIGSTOP of a worker: ${loadSummary(report)}\n`);
  assert.deepEqual(unexplained(loaded, lost), [], loaded.report());
});

test("SIGTERM to one worker: it is replaced, drains, and nothing is lost", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS);
  const [victim] = await loaded.edge.workers();
  process.kill(victim!.pid, "SIGTERM");
  const next = await replacement(loaded, victim!);
  assert.equal(next.restarts, 1);
  await loaded.onlyLeft({
    supervisor: loaded.edge.pid,
    workers: (await loaded.generation()).workers.filter((pid) => pid !== victim!.pid),
  });
  await loaded.load.progress(1);
  assert.equal(await metric(loaded.edge, 'edgeproxy_worker_restarts_total{reason="asked"}'), 1);
  assert.deepEqual((await loaded.load.stop()).failures, [], loaded.report());
});

test("a worker that ends again and again before it serves ends the supervisor with a clear error", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "1" }, { ready: false });
  let running = true;
  void edge.exited.then(() => running = false);
  while (running) {
    for (const pid of edge.pids.filter((each) => each !== edge.pid)) signalTo(pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.equal(await edge.exited, 1, edge.report());
  const line = edge.log.find((each) => each["msg"] === "cannot start");
  assert.match(String(line?.["error"]), /worker 1 .*SIGKILL/, edge.report());
});

for (const workers of ["0", "2"]) {
  test(`an address that another program holds ends the start, naming it (${workers} workers)`, async () => {
    await using platform = await Platform.start(server);
    const other = createServer();
    other.listen(platform.edgePort, platform.region.address);
    await once(other, "listening");
    try {
      const edge = await platform.edge({ EDGEPROXY_WORKERS: workers }, { ready: false });
      assert.equal(await edge.exited, 1, edge.report());
      const line = edge.log.find((each) => each["msg"] === "cannot start");
      assert.match(String(line?.["error"]), new RegExp(`${platform.edgePort}.*\\b${process.pid}\\b`), edge.report());
    } finally {
      other.close();
    }
  });
}

/** A connection that this worker has accepted. */
async function connectionTo(
  pid: number,
  { port, host }: { readonly port: number; readonly host: string },
  domain: string,
): Promise<RawConnection> {
  for (;;) {
    const connection = await openRaw(port, host);
    connection.send(getRequest(domain));
    assert.equal((await connection.readResponse()).status, 200);
    if (clientPorts(pid, port).has(connection.localPort)) return connection;
    await connection[Symbol.asyncDispose]();
  }
}

test("a failure that one worker sees reaches the other", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com");
  const edge = await platform.edge({ ...TWO_WORKERS, EDGEPROXY_HEALTH_INTERVAL: "1h" });
  const [one, two] = await edge.workers();
  await using first = await connectionTo(one!.pid, edge, "app.example.com");
  await using second = await connectionTo(two!.pid, edge, "app.example.com");
  // Only the first worker's requests fail; the second one's go well for as long as it sends any.
  let failedMs = 0;
  vm.healthStatus = 503;
  vm.script = (request, connection) => {
    if (request.target !== "/fails") return respond(200, "fine")(request, connection);
    failedMs = performance.now();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    connection.end();
  };
  first.send(getRequest("app.example.com", "/fails"));
  const startedMs = performance.now();
  let answered = 0;
  let status = 200;
  for (; status === 200 && performance.now() - startedMs < PATIENCE_MS; answered++) {
    second.send(getRequest("app.example.com"));
    ({ status } = await second.readResponse());
  }
  const tookMs = performance.now() - failedMs;
  process.stdout.write(`A failure reached the other worker after ${tookMs.toFixed(1)} ms, ${answered} requests later\n`);
  assert.deepEqual([failedMs > 0, status], [true, 503]);
  assert.equal((await get(edge, "app.example.com")).status, 503);
});

test("lines of all processes are whole, and say which worker wrote them", async () => {
  await using platform = await Platform.start(server);
  await platform.vm("app.example.com");
  const edge = await platform.edge({ ...TWO_WORKERS, EDGEPROXY_ACCESS_LOG: "on", EDGEPROXY_LOG_LEVEL: "debug" });
  await edge.waitFor(async () => (await edge.workers()).every(({ state }) => state === "serving"));
  const padding = "p".repeat(3000);
  await Promise.all(Array.from({ length: 40 }, async () => {
    await using client = await openRaw(edge.port, edge.host);
    for (let n = 0; n < 20; n++) {
      client.send(getRequest("app.example.com", `/${padding}`));
      assert.equal((await client.readResponse()).status, 200);
    }
  }));
  assert.equal(await edge.stop(), 0);
  assert.deepEqual(edge.log.filter((line) => "unparsed" in line), []);
  const access = edge.log.filter((line) => line["msg"] === "access");
  assert.equal(access.length, 800);
  assert.deepEqual([...new Set(access.map((line) => line["worker"]))].toSorted(), [1, 2]);
});
