/** The admin address as operators use it over time: events, steering, audit, who may come, and by which way. */
import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { EventReader } from "../fixtures/event-reader.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { alive } from "../fixtures/processes.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";
const TOKEN = "correct-horse-battery-staple";

test("admin address shows live what happens, lets operators steer, and remembers what they did", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const env = { EDGEPROXY_ADMIN_TOKEN: TOKEN, EDGEPROXY_WORKERS: "2", EDGEPROXY_HEALTH_INTERVAL: "100ms" };
  const edge = await platform.edge(env);
  const watched = await edge.admin("/api/events");
  assert.equal(watched.headers.get("content-type"), "text/event-stream");
  await using events = new EventReader(watched.body!);

  // The table
  await platform.route("more.example.com", { address: "10.99.0.1", port: 80 });
  await edge.refresh();
  const table = await events.until(({ event }) => event === "table");
  assert.deepEqual([table.data.revision, table.data.routes, table.data.added, table.data.reason], [2, 2, 1, "admin"]);
  assert.equal((await events.until(({ event }) => event === "audit")).data.action, "refresh");

  // Health, and a bad end of an exchange
  assert.equal((await get(edge, HOST)).status, 200);
  vm.healthStatus = 500;
  const health = await events.until(({ event, data }) => event === "health" && data.verdict === "unhealthy");
  assert.equal(health.data.key, `vm/${vm.host}:${vm.port}`);
  let status = 0;
  await edge.waitFor(async () => (status = (await get(edge, HOST)).status) === 503, `answers ${status}`);
  const failed = await events.until(({ event }) => event === "error");
  const exchange = failed.data.exchange as Readonly<Record<string, unknown>>;
  assert.deepEqual([exchange.host, exchange.error, exchange.blame, exchange.status], [HOST, "vm_unhealthy", "vm", 503]);
  const { errors } = await (await edge.admin(`/api/errors?host=${HOST}&blame=vm`)).json() as { errors: { request_id: string }[] };
  assert.equal(errors.at(-1)?.request_id, exchange.request_id);

  // The log level, in every process
  const levels = () => edge.log.filter(({ level }) => level === "debug").map(({ worker = 0 }) => worker);
  assert.deepEqual(levels(), []);
  const put = await edge.admin("/api/log-level", { method: "PUT", body: '{"level":"debug","expires":"30m"}' });
  assert.deepEqual([put.status, (await put.json()).level], [200, "debug"]);
  await edge.waitFor(async () => {
    await get(edge, HOST);
    return new Set(levels()).size === 3;
  }, "does not log at debug everywhere");
  edge.signal("SIGHUP");
  await edge.waitForLog(({ msg }) => msg === "log level is as configured again");

  // Who has done all that
  const { changes } = await (await edge.admin("/api/audit")).json() as { changes: Record<string, unknown>[] };
  assert.deepEqual(changes.map(({ action, details, by, succeeded }) => [action, details, by, succeeded]), [
    ["log-level", { level: "debug", expires: "30m" }, "127.0.0.1", true],
    ["refresh", {}, "127.0.0.1", true],
  ]);
  assert.equal(edge.log.filter(({ msg }) => msg === "admin change").length, 2);

  // The end
  const drain = await edge.admin("/api/drain", { method: "POST", body: '{"reason":"new kernel"}' });
  assert.equal(drain.status, 202);
  assert.equal((await events.until(({ event, data }) => event === "audit" && data.action === "drain")).data.succeeded, true);
  for (let event = await events.next(); event !== null; event = await events.next());
  assert.equal(await edge.exited, 0);
  assert.ok(edge.log.some(({ msg, reason }) => msg === "draining" && reason === "asked by 127.0.0.1 (new kernel)"));
  assert.ok(!edge.output.includes(TOKEN));
});

test("GET /api/errors shows what ails a VM, however much scanners ask for", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST, { healthStatus: 500 });
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "1" });
  const scans = 8000, requests = 7;
  await using scanner = await openRaw(edge.port, edge.host);
  const scan = getRequest("nobody.example.com");
  scanner.send(scan.repeat(scans - 1) + getRequest("nobody.example.com", "/", "Connection: close"));
  for (let count = 0; count < requests; count++) assert.equal((await get(edge, HOST)).status, 503);
  assert.equal((await scanner.readToEnd()).split("no_route").length - 1, scans);
  const errors = async (blame: string) => await (await edge.admin(`/api/errors?blame=${blame}`)).json() as ErrorList;
  let lost = 0;
  await edge.waitFor(async () => {
    const client = await errors("client");
    lost = client.lost["client"]!;
    return client.total + lost === scans;
  }, "does not account for all scans");
  const { total, lost: { vm } } = await errors("vm");
  assert.deepEqual([total, vm, lost > scans / 2], [requests, 0, true]);
  assert.match(
    await (await edge.admin("/metrics")).text(),
    new RegExp(`^edgeproxy_error_events_lost_total\\{blame="client"\\} ${lost}$`, "m"),
  );
});

interface ErrorList {
  readonly total: number;
  readonly lost: Readonly<Record<string, number>>;
}

test("admin address refuses an address that guesses tokens, and hears its operators", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_ADMIN_TOKEN: TOKEN });
  const guess = async (token: string) => {
    const response = await fetch(`${edge.adminUrl}/api/workers`, { headers: { authorization: `Bearer ${token}` } });
    await response.body?.cancel();
    return [response.status, response.headers.has("retry-after")];
  };
  for (let count = 0; count < 10; count++) assert.deepEqual(await guess(`guess${count}`), [401, false]);
  assert.deepEqual(await guess(TOKEN), [429, true]);
  assert.equal((await fetch(`${edge.adminUrl}/readyz`)).status, 200);
  await edge.waitForLog(({ msg }) => msg === "admin token refused");
  assert.equal(edge.log.filter(({ msg }) => msg === "admin token refused").length, 1);
});

test("admin address can be a unix socket, which goes over from one generation to the next", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "admin.sock");
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const env = { EDGEPROXY_ADMIN_ADDR: `unix:${path}`, EDGEPROXY_ADMIN_TOKEN: TOKEN };
  const edge = await platform.edge(env, { ready: false });
  await edge.waitForLog(({ msg }) => msg === "ready");
  assert.equal((statSync(path).mode & 0o777).toString(8), "660");
  assert.equal((await ask(path, "/api/routes")).status, 200);
  const settings = { ...env, EDGEPROXY_DATABASE_URL: platform.database.url, EDGEPROXY_REGION_ID: platform.region.id };
  const explained = await runEdgeproxy(["explain", `http://${HOST}/`], { env: settings });
  assert.match(explained.stdout, new RegExp(`asked the running proxy at unix:${path}`));
  assert.equal((await runEdgeproxy(["check"], { env: settings })).exitCode, 0);

  // A stream ends with its generation, and nobody who asks meanwhile is refused
  const stream = openStream(path);
  await stream.begun;
  let stopped = false;
  const failures: unknown[] = [];
  const asking = (async () => {
    while (!stopped) await ask(path, "/healthz").catch((error) => failures.push(error));
  })();
  edge.signal("SIGUSR2");
  const { pid } = await edge.waitForLog(({ msg }) => msg === "successor started");
  await edge.waitForLog(({ msg }) => msg === "stopped");
  await stream.ended;
  await edge.waitFor(() => Promise.resolve(!alive(edge.pid)), "leaves the old generation");
  assert.equal((await ask(path, "/api/refresh", "POST")).status, 200);
  stopped = true;
  await asking;
  assert.deepEqual(failures, []);
  process.kill(Number(pid), "SIGTERM");
  await edge.exited;
  assert.ok(!existsSync(path));
});

function ask(socketPath: string, path: string, method = "GET"): Promise<{ readonly status: number }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, method, agent: false }, (response) => {
      response.on("end", () => resolve({ status: response.statusCode ?? 0 })).on("error", reject).resume();
    });
    asked.on("error", reject).end();
  });
}

function openStream(socketPath: string): { readonly begun: Promise<void>; readonly ended: Promise<void> } {
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  request({ socketPath, path: "/api/events", agent: false }, (response) => {
    response.on("data", () => begun.resolve()).on("close", () => ended.resolve());
  }).on("error", begun.reject).end();
  return { begun: begun.promise, ended: ended.promise };
}

test("silent connections to the admin address, one for each file there is, do not make VMs unhealthy", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const env = { EDGEPROXY_ADMIN_TOKEN: TOKEN, EDGEPROXY_WORKERS: "1", EDGEPROXY_HEALTH_INTERVAL: "100ms" };
  const edge = await platform.edge(env, { fileLimit: 400 });
  assert.equal((await get(edge, HOST)).status, 200);
  const silent = Array.from({ length: 600 }, () => connect(edge.adminPort, "127.0.0.1").on("error", () => {}));
  try {
    await edge.waitForLog(({ msg }) => msg === "cannot probe");
    assert.equal((await get(edge, HOST)).status, 200);
  } finally {
    for (const socket of silent) socket.destroy();
  }
  await edge.waitFor(async () => (await edge.admin("/readyz")).status === 200, "does not answer operators again");
  assert.ok(!edge.log.some(({ msg }) => msg === "VM unhealthy"), edge.report());
});
