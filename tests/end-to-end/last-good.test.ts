/** The last good table (EDGEPROXY_STATE_DIR): a start while the database is away, files that are not to be believed, disks that fail. */
import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { encodeTable } from "../../src/sources/last-good-file.ts";
import { LastGoodFolder } from "../../src/sources/last-good-folder.ts";
import { endpointKey } from "../../src/table/record.ts";
import { type Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import { type Edgeproxy, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { insertDomain, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { signalTo, stopProcess } from "../fixtures/processes.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond, type Vm } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";
const HOUR_MS = 3_600_000;

/** Where nobody answers. */
async function noDatabase(): Promise<string> {
  return `postgres://nobody@127.0.0.1:${await freePort()}/nothing`;
}

function table(platform: Platform, vm: Vm, hosts: Iterable<string>): Routes {
  const { host: address, port } = vm;
  const service = new Services().of([{
    key: endpointKey("vm", address, port),
    kind: "vm",
    address,
    port,
    region: platform.region.id,
  }]);
  const draft = new RoutesDraft();
  for (const host of hosts) draft.put(host, service);
  return draft.finish();
}

function* numbered(count: number): Iterable<string> {
  for (let i = 0; i < count; i++) yield `d${i}.example.com`;
}

function folderOf(path: string, platform: Platform): LastGoodFolder {
  return new LastGoodFolder(path, { regionId: platform.region.id, regionPort: platform.edgePort });
}

const headerOf = (ageMs: number) => ({ asOfMs: Date.now() - ageMs, savedAtMs: Date.now(), revision: 1, source: "postgres" });

interface Readiness {
  readonly ready: boolean;
  readonly table: null | Record<string, unknown>;
  readonly state?: Record<string, unknown>;
}

async function readiness(edge: Edgeproxy): Promise<Readiness> {
  return await (await edge.admin("/readyz")).json() as Readiness;
}

async function saved(edge: Edgeproxy, times: number): Promise<void> {
  await edge.waitFor(async () => await metric(edge, 'edgeproxy_state_writes_total{result="succeeded"}') >= times, "did not save");
}

for (const feed of [false, true]) {
  test(`a restart while the database is away serves the last good table, then follows ${feed ? "the feed" : "the tables"}`, async () => {
    await restartWithoutDatabase(feed);
  });
}

async function restartWithoutDatabase(feed: boolean): Promise<void> {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  if (feed) await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
  await platform.vm(HOST);
  const env = { EDGEPROXY_STATE_DIR: join(state.path, "new"), EDGEPROXY_UPDATE_INTERVAL: "500ms" };
  const before = await platform.edge(env);
  assert.deepEqual((await readiness(before)).table?.["source"], "postgres");
  await platform.vm("late.example.com");
  await before.refresh();
  assert.equal(await before.stop(), 0); // within the second after the change, so that it is written at the end

  await server.kill();
  let away = true;
  try {
    const edge = await platform.edge(env);
    assert.equal((await get(edge, HOST)).status, 200);
    assert.equal((await get(edge, "late.example.com")).status, 200);
    const { ready, table } = await readiness(edge);
    assert.deepEqual([ready, table?.["source"], table?.["stale"]], [true, "last good table", true]);
    assert.ok(Number(table?.["age_seconds"]) > 0);
    assert.equal(await metric(edge, 'edgeproxy_table_info{source="last good table"}'), 1);
    assert.equal((await edge.waitForLog((line) => String(line["msg"]).startsWith("serving the last good table")))["routes"], 2);
    await server.restart();
    away = false;
    await edge.waitFor(async () => (await readiness(edge)).table?.["source"] === "postgres");
    const { table: fresh } = await readiness(edge);
    assert.deepEqual([fresh?.["revision"], fresh?.["stale"]], [1, false], "the same table is no new revision");
    assert.equal(await metric(edge, 'edgeproxy_table_info{source="postgres"}'), 1);
    const [vm] = await platform.database.sql(
      "select d.id from deployments d join domains on deployment_id = d.id where name = $1",
      [HOST],
    );
    await insertDomain(platform.database, { name: "after.example.com", deploymentId: String(vm?.["id"]) });
    await edge.waitFor(async () => (await get(edge, "after.example.com")).status === 200);
    await edge.waitFor(async () => {
      const { database } = await (await edge.admin("/readyz")).json() as { database: { following: string } };
      return database.following === (feed ? "notifications" : "tables");
    }, "follows something else");
  } finally {
    if (away) await server.restart();
  }
}

test("an edge that starts while its database is being restored serves the file until the tables say so again", async () => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  const vm = await platform.vm(HOST);
  await folderOf(state.path, platform).write(headerOf(1000), table(platform, vm, numbered(300)), new AbortController().signal);
  const edge = await platform.edge({ EDGEPROXY_STATE_DIR: state.path, EDGEPROXY_UPDATE_INTERVAL: "1h" });
  await edge.waitFor(async () => (await readiness(edge)).table?.["held_removals"] === 300);
  const { table: held } = await readiness(edge);
  assert.deepEqual([held?.["routes"], held?.["stale"]], [300, true]);
  assert.equal((await get(edge, "d7.example.com")).status, 200);
  assert.equal((await edge.admin("/api/refresh", { method: "POST" })).status, 200);
  assert.equal((await readiness(edge)).table?.["routes"], 1, "an operator has asked for it");
  assert.equal((await get(edge, HOST)).status, 200);
});

test("100,000 domains are served from the file without a database", async (context) => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  const vm = await platform.vm(HOST);
  await folderOf(state.path, platform).write(
    headerOf(HOUR_MS),
    table(platform, vm, numbered(100_000)),
    new AbortController().signal,
  );
  const startMs = performance.now();
  const edge = await platform.edge({ EDGEPROXY_STATE_DIR: state.path }, { database: await noDatabase(), ready: false });
  await edge.waitFor(async () => (await get(edge, "d99999.example.com")).status === 200);
  context.diagnostic(`first answer ${Math.round(performance.now() - startMs)} ms after the start`);
  const { ready, table: shown } = await readiness(edge);
  assert.deepEqual([ready, shown?.["routes"]], [true, 100_000]);
  const age = Number(shown?.["age_seconds"]);
  assert.ok(age >= 3600 && age < 3700, String(age));
  assert.ok(await metric(edge, "edgeproxy_table_age_seconds") >= 3600);
});

test("a file that is not to be believed is refused with the reason, and the proxy starts as without it", async () => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  const vm = await platform.vm(HOST);
  const folder = folderOf(state.path, platform);
  await folder.write(headerOf(0), table(platform, vm, [HOST]), new AbortController().signal);
  const whole = await readFile(folder.path);
  const flipped = Buffer.from(whole);
  flipped[whole.length - 60]! ^= 4;
  const newer = Buffer.from(whole);
  newer.writeUInt32LE(7, 8);
  const { edgePort: regionPort } = platform;
  const foreignHeader = { ...headerOf(0), region: crypto.randomUUID(), regionPort };
  const foreign: Buffer[] = [];
  for (const piece of encodeTable(foreignHeader, table(platform, vm, [HOST]))) foreign.push(Buffer.from(piece));
  const cases: readonly (readonly [file: Uint8Array, reason: RegExp])[] = [
    [whole.subarray(0, whole.length - 5), /torn or damaged/],
    [flipped, /torn or damaged/],
    [newer, /version 7/],
    [Buffer.concat(foreign), /of region/],
    [Buffer.from("{}"), /no routing table/],
  ];
  for (const [file, reason] of cases) {
    await writeFile(folder.path, file);
    await using edge = await platform.edge({ EDGEPROXY_STATE_DIR: state.path }, {
      database: await noDatabase(),
      ready: false,
      port: await freePort(),
    });
    const line = await edge.waitForLog(({ msg }) => msg === "last good table not used");
    assert.deepEqual([line["level"], line["file"]], ["warn", folder.path]);
    assert.match(String(line["reason"]), reason);
    await edge.waitForLog(({ msg }) => msg === "cannot read routes");
    assert.equal((await get(edge, HOST)).status, 503);
    assert.equal((await readiness(edge)).ready, false);
  }
  const edge = await platform.edge({ EDGEPROXY_STATE_DIR: state.path });
  await saved(edge, 1);
  assert.ok((await folder.read(new Services()) as { routes: Routes }).routes.get(HOST), "the next good table replaces it");
});

test("a disk that cannot be written is a warning and a metric, and traffic goes on", async () => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  await platform.vm(HOST);
  const [deployment] = await platform.database.sql("select id from deployments");
  await platform.database.sql(`insert into domains (id, name, deployment_id, verified_at)
    select gen_random_uuid(), 'd' || n || '.example.com', '${deployment?.["id"]}', now() from generate_series(1, 3000) as n`);
  const full = join(state.path, "full");
  const file = join(state.path, "file");
  await writeFile(file, "");
  const cases = [
    { dir: full, fileBlocks: 16, error: /EFBIG|too large/i }, // 8 KiB, and the table needs more
    { dir: file, error: /EEXIST|ENOTDIR|not a directory/ },
    { dir: "/proc/edgeproxy", error: /ENOENT|EACCES|EPERM/ },
  ];
  for (const { dir, error, ...limits } of cases) {
    await using edge = await platform.edge({ EDGEPROXY_STATE_DIR: dir }, { ...limits, port: await freePort() });
    const line = await edge.waitForLog(({ msg }) => msg === "cannot keep the last good table");
    assert.equal(line["level"], "warn");
    assert.match(String(line["error"]), error);
    assert.equal((await get(edge, HOST)).status, 200);
    await edge.waitFor(async () => await metric(edge, 'edgeproxy_state_writes_total{result="failed"}') >= 1);
    const { ready, state: shown } = await readiness(edge);
    assert.deepEqual([ready, shown?.["writable"], shown?.["saved_seconds_ago"]], [true, false, null]);
    assert.match(String(shown?.["last_error"]), error);
    assert.equal(await edge.stop(), 0);
    assert.equal(edge.log.filter(({ msg }) => msg === "cannot keep the last good table").length, 1);
  }
  assert.deepEqual(await readdir(full), [], "nothing half is left");
});

test("a disk that works again is used again", async () => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  await platform.vm(HOST);
  const dir = join(state.path, "taken");
  await writeFile(dir, "");
  const edge = await platform.edge({ EDGEPROXY_STATE_DIR: dir });
  await edge.waitForLog(({ msg }) => msg === "cannot keep the last good table");
  await rm(dir);
  await mkdir(dir);
  await edge.waitForLog(({ msg }) => msg === "last good table kept again");
  assert.equal((await readdir(dir)).length, 1);
});

test("kill -9 in the middle of a write leaves the file as it was", async () => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  await platform.vm(HOST);
  const [deployment] = await platform.database.sql("select id from deployments");
  await platform.database.sql(`insert into domains (id, name, deployment_id, verified_at)
    select gen_random_uuid(), 'd' || n || '.example.com', '${deployment?.["id"]}', now() from generate_series(1, 200000) as n`);
  const env = { EDGEPROXY_STATE_DIR: state.path, EDGEPROXY_WORKERS: "0" };
  const edge = await platform.edge(env);
  await saved(edge, 1);
  const { path } = folderOf(state.path, platform);
  const good = await caughtWriting(edge, path, async (attempt) => {
    await insertDomain(platform.database, { name: `late${attempt}.example.com`, deploymentId: String(deployment?.["id"]) });
    await edge.refresh();
  });
  edge.signal("SIGKILL");
  await edge.exited;
  assert.equal((await halfWritten(state.path)).length, 1, "it was in the middle");
  assert.deepEqual(await readFile(path), good.bytes);
  const next = await platform.edge(env, { database: await noDatabase() });
  assert.equal((await get(next, "d200000.example.com")).status, 200);
  assert.equal((await get(next, `late${good.attempt}.example.com`)).status, 404);
});

const halfWritten = async (folder: string) => (await readdir(folder)).filter((name) => name.endsWith(".tmp"));

/** Has it write until it is caught in the middle, and stops it there; what was written whole before. */
async function caughtWriting(edge: Edgeproxy, file: string, change: (attempt: number) => Promise<void>) {
  for (let attempt = 1; attempt <= 20; attempt++) {
    const { mtimeMs } = await stat(file);
    const bytes = await readFile(file);
    await change(attempt);
    const [folder, isOver] = [dirname(file), () => statSync(file).mtimeMs !== mtimeMs];
    while (!readdirSync(folder).some((name) => name.endsWith(".tmp")) && !isOver()) await wait(0);
    await wait(2);
    await stopProcess(edge.pid);
    if ((await halfWritten(folder)).length > 0 && !isOver()) return { bytes, attempt };
    edge.signal("SIGCONT"); // it was quicker
  }
  return assert.fail("it was always quicker");
}

test("a generation that has been succeeded writes no more", async () => {
  await using platform = await Platform.start(server);
  await using state = await temporaryFolder();
  const vm = await platform.vm(HOST);
  const edge = await platform.edge({
    EDGEPROXY_STATE_DIR: state.path,
    EDGEPROXY_UPDATE_INTERVAL: "200ms",
    EDGEPROXY_SHUTDOWN_TIMEOUT: "1m",
  });
  await saved(edge, 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  vm.script = async (request, connection) => {
    await promise;
    await respond(200, "late")(request, connection);
  };
  const held = get(edge, HOST);
  await edge.waitFor(async () => await metric(edge, "edgeproxy_exchanges_active") === 1);
  edge.signal("SIGUSR2");
  const successor = Number((await edge.waitForLog(({ msg }) => msg === "succeeded"))["by"]);
  await stopProcess(successor); // so that only the old one could write
  const good = await readFile(folderOf(state.path, platform).path);
  await platform.route("late.example.com", { address: vm.host, port: vm.port });
  await edge.waitForLog(({ msg, routes }) => msg === "routes changed" && routes === 2);
  resolve();
  assert.equal((await held).status, 200);
  await edge.ended;
  assert.deepEqual(await readFile(folderOf(state.path, platform).path), good);
  signalTo(successor, "SIGCONT");
  await edge.waitFor(async () => (await get(edge, "late.example.com")).status === 200);
});
