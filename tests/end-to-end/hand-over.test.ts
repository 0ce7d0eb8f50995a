/** One generation of processes after the other at the same addresses, under load: nobody notices (contract, section 9). */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { after, before, test } from "node:test";
import { loadSummary } from "../fixtures/constant-load.ts";
import { type Generation, LoadedEdge } from "../fixtures/loaded-edge.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { alive, clientPorts, commandOf, signalTo, stopProcess } from "../fixtures/processes.ts";
import { getRequest, openRaw, rawRequest } from "../fixtures/raw-client.ts";
import { hang, type VmConnection } from "../fixtures/vm.ts";

const TWO_WORKERS = { EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** Asks the admin address again and again, on a connection each; what failed. */
function watchAdmin(port: number): { readonly stop: () => Promise<readonly string[]> } {
  const failures: string[] = [];
  let asked = true;
  const asking = (async () => {
    for (; asked; await wait(25)) {
      const answer = await rawRequest(port, getRequest("admin", "/healthz", "Connection: close")).catch((error: Error) => error);
      if (answer instanceof Error) failures.push(answer.message);
      else if (answer.status !== 200) failures.push(answer.startLine);
    }
  })();
  return {
    stop: async () => {
      asked = false;
      await asking;
      return failures;
    },
  };
}

/** How many processes have said that they came to a good end. */
function stoppedWell(loaded: LoadedEdge): number {
  const lines = loaded.edges.flatMap((edge) => edge.log);
  return lines.filter((line) => line["msg"] === "stopped" && line["exchanges_cut"] === 0).length;
}

async function handOver(loaded: LoadedEdge, how: "signal" | "by hand", env: Record<string, string> = {}): Promise<Generation> {
  const before = await loaded.generation();
  if (how === "signal") process.kill(before.supervisor, "SIGUSR2");
  else await loaded.beside(env);
  return await loaded.successor(before);
}

test("twenty hand-overs under load, by SIGUSR2 and by hand, and no request fails", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS);
  const admin = watchAdmin(loaded.adminPort);
  let last = await loaded.generation();
  const enoughAtMs = performance.now() + 90_000; // a machine that is slow needs no twenty
  let n = 0;
  for (; n < 20 && (n < 8 || performance.now() < enoughAtMs); n++) {
    last = await handOver(loaded, n % 2 === 0 ? "signal" : "by hand");
    assert.equal(last.workers.length, 2);
    await loaded.load.progress(1);
  }
  await loaded.onlyLeft(last);
  const report = await loaded.load.stop();
  process.stdout.write(`${n} hand-overs in ${loadSummary(report)}\n`);
  assert.deepEqual(report.failures, [], loaded.report());
  assert.deepEqual(await admin.stop(), []);
  for (const edge of loaded.edges.filter(({ pid }) => !alive(pid))) assert.equal(await edge.ended, 0, edge.report());
  await loaded.until(() => stoppedWell(loaded) === n, () => `${stoppedWell(loaded)} of ${n} generations stopped well`);
});

test("from one worker to three, to none and back: every socket of the generation before is accepted from", async () => {
  await using loaded = await LoadedEdge.start(server, { ...TWO_WORKERS, EDGEPROXY_WORKERS: "1" });
  for (const workers of ["3", "1", "0", "2", "0", "0"]) {
    const now = await handOver(loaded, "by hand", { EDGEPROXY_WORKERS: workers });
    assert.equal(now.workers.length, Math.max(1, Number(workers)));
    await loaded.load.progress(1);
  }
  // The next one is started with the environment of the last: one process.
  await loaded.onlyLeft(await handOver(loaded, "signal"));
  const { failures } = await loaded.load.stop();
  assert.deepEqual(failures, [], loaded.report());
});

test("a second generation of another region is refused, and the first goes on", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS, { flows: ["keep-alive", "new connection"] });
  const before = await loaded.generation();
  const stranger = await loaded.beside({}, { region: { id: crypto.randomUUID(), address: loaded.platform.region.address } });
  assert.equal(await stranger.ended, 1, stranger.report());
  assert.match(stranger.output, /region/i);
  assert.match(stranger.output, new RegExp(loaded.platform.region.id));
  await loaded.onlyLeft(before);
  await loaded.load.progress(10);
  assert.deepEqual((await loaded.load.stop()).failures, [], loaded.report());
});

const REPLACED: readonly (readonly [how: string, by: "successor" | "replacement"])[] = [
  ["a hand-over", "successor"],
  ["the death of the worker", "replacement"],
];
for (const [how, by] of REPLACED) {
  test(`connections that wait in the accept queue are served after ${how}`, async () => {
    await using platform = await Platform.start(server);
    await platform.vm("app.example.com");
    const edge = await platform.edge({ ...TWO_WORKERS });
    const workers = await edge.workers();
    for (const { pid } of workers) await stopProcess(pid);
    await using connections = new AsyncDisposableStack();
    const waiting = await Promise.all(Array.from({ length: 40 }, async () => {
      const connection = connections.use(await openRaw(edge.port, edge.host));
      connection.send(getRequest("app.example.com"));
      return connection;
    }));
    if (by === "successor") process.kill(edge.pid, "SIGUSR2");
    else for (const { pid } of workers) process.kill(pid, "SIGKILL");
    const statuses = await Promise.all(waiting.map(async (connection) => (await connection.readResponse()).status));
    assert.deepEqual(statuses, Array(40).fill(200), edge.report());
    for (const { pid } of workers) signalTo(pid, "SIGCONT");
    await edge.waitFor(() => Promise.resolve(workers.every(({ pid }) => !alive(pid))), "keeps its old workers");
  });
}

test("SIGTERM while the old generation drains after a hand-over is not a second signal", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com", { script: hang() });
  const held = Promise.withResolvers<VmConnection>();
  vm.script = (_request, connection) => held.resolve(connection);
  const edge = await platform.edge(TWO_WORKERS);
  const answer = get(edge, "app.example.com");
  const connection = await held.promise;
  const second = await platform.edge(TWO_WORKERS, { adminPort: edge.adminPort, ready: false });
  await edge.waitForLog((line) => line["msg"] === "draining");
  edge.signal("SIGTERM");
  connection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
  assert.equal((await answer).body.toString(), "late");
  assert.equal(await edge.exited, 0, edge.report());
  assert.equal(await second.stop(), 0, second.report());
});

test("a next generation that dies before it has taken over takes its workers with it", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS);
  const before = await loaded.generation();
  // One of its workers never comes to serve, so the generation serves, but is never ready. Without a table none does before it is stopped.
  const { sql } = loaded.platform.database;
  await sql("alter table domains rename to elsewhere");
  const second = await loaded.beside();
  await second.waitForLog((line) => line["msg"] === "cannot read routes");
  let held: number | undefined;
  await loaded.until(
    () => (held = second.pids.find((pid) => commandOf(pid)[1] === "worker")) !== undefined,
    () => "No worker starts",
  );
  await stopProcess(held ?? 0);
  await sql("alter table elsewhere rename to domains");
  const { pid } = await second.waitForLog((line) => line["msg"] === "worker serves");
  await loaded.until(() => clientPorts(Number(pid), loaded.edge.port).size > 0, () => "It has nothing to serve");
  second.signal("SIGKILL");
  signalTo(held ?? 0, "SIGCONT");
  await loaded.onlyLeft(before);
  await loaded.load.progress(1);
  assert.deepEqual((await loaded.load.stop()).failures, [], loaded.report());
});

for (const state of ["waits for its first table", "stands still"]) {
  test(`SIGTERM during a hand-over ends the successor, too, which ${state}`, async () => {
    await using platform = await Platform.start(server);
    const edge = await platform.edge({ ...TWO_WORKERS, EDGEPROXY_SHUTDOWN_TIMEOUT: "1s" });
    await platform.database.sql("alter table domains rename to elsewhere");
    edge.signal("SIGUSR2");
    const { pid } = await edge.waitForLog((line) => line["msg"] === "successor started");
    await edge.waitForLog((line) => line["msg"] === "starting" && line["pid"] === pid);
    if (state === "stands still") await stopProcess(Number(pid));
    edge.signal("SIGTERM");
    assert.equal(await edge.ended, 0, edge.report());
    await edge.waitFor(() => Promise.resolve(!alive(Number(pid))), "leaves its successor behind");
    await edge.exited; // nobody writes to its output any more
  });
}

test("two next generations that start at once take over one after the other", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS);
  const before = await loaded.generation();
  const both = await Promise.all([loaded.beside(), loaded.beside()]);
  await loaded.until(() => loaded.pids.length === 3 && !loaded.pids.includes(before.supervisor), () => `${loaded.pids} are left`);
  const { supervisor } = await loaded.generation();
  assert.ok(both.some(({ pid }) => pid === supervisor));
  await loaded.load.progress(1);
  assert.deepEqual((await loaded.load.stop()).failures, [], loaded.report());
});

test("a new supervisor takes over from workers whose supervisor has died, and no request fails", async () => {
  await using loaded = await LoadedEdge.start(server, TWO_WORKERS);
  for (let n = 0; n < 2; n++) {
    const { supervisor, workers } = await loaded.generation();
    process.kill(supervisor, "SIGKILL");
    await loaded.until(() => !alive(supervisor), () => `${supervisor} does not die`);
    const second = await loaded.beside();
    await second.waitReady();
    const next = await loaded.generation();
    assert.ok(next.supervisor === second.pid && next.workers.every((pid) => !workers.includes(pid)), loaded.report());
    await loaded.load.progress(1);
    await loaded.onlyLeft(next);
  }
  const report = await loaded.load.stop();
  assert.deepEqual(report.failures, [], loaded.report());
});
