/** Hand-overs that are broken off from either side, and starts where others are in the way (contract, section 9). */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { handOverKey, namePrefix, PROTOCOL } from "../../src/lifecycle/hand-over.ts";
import { connectChannel } from "../../src/runtime/fd-channel.ts";
import { openListeningSockets } from "../../src/runtime/listening-sockets.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

const NOWHERE = "postgres://127.0.0.1:1/none";
/** Time to kill its predecessor, also on a machine that is slow. */
const HANDOVER_MS = 4000;
const ONE_WORKER = { EDGEPROXY_WORKERS: "1", EDGEPROXY_HANDOVER_TIMEOUT: "10m" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

test("SIGTERM to a supervisor whose successor is not ready yet ends both", async () => {
  await using database = await startPostgres();
  await using platform = await Platform.start(database);
  const edge = await platform.edge(ONE_WORKER);
  await database.kill();
  edge.signal("SIGUSR2");
  await edge.waitForLog(() => edge.log.filter(({ msg }) => msg === "listening").length === 2);
  assert.equal(await edge.stop(), 0);
  await database.restart();
  assert.deepEqual(edge.log.filter(({ msg }) => msg === "cannot start"), []);
});

test("a successor whose predecessor dies before it is ready answers 503 until it has routes, and does not give up", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge(ONE_WORKER);
  const env = { ...ONE_WORKER, EDGEPROXY_HANDOVER_TIMEOUT: `${HANDOVER_MS}ms`, EDGEPROXY_DATABASE_URL: NOWHERE };
  const successor = await platform.edge(env, { adminPort: edge.adminPort, ready: false });
  await successor.waitForLog((line) => line["msg"] === "listening");
  const overAtMs = performance.now() + HANDOVER_MS;
  for (const pid of edge.pids) process.kill(pid, "SIGKILL");
  assert.equal((await get(successor, "app.example.com")).status, 503);
  await successor.waitForLog((line) => line["msg"] === "admin listening");
  await wait(Math.max(0, overAtMs + 500 - performance.now()));
  assert.equal((await get(successor, "app.example.com")).status, 503, "when it would have had to be ready");
  assert.equal(await successor.stop(), 0);
});

test("a successor whose predecessor's supervisor is killed takes over from the workers that are left", async () => {
  await using database = await startPostgres();
  await using platform = await Platform.start(database);
  await platform.vm("app.example.com");
  const edge = await platform.edge(ONE_WORKER);
  await database.kill();
  const successor = await platform.edge(ONE_WORKER, { adminPort: edge.adminPort, ready: false });
  await successor.waitForLog((line) => line["msg"] === "listening");
  edge.signal("SIGKILL");
  await successor.waitForLog((line) => line["msg"] === "predecessor is gone");
  assert.equal((await get(edge, "app.example.com")).status, 200);
  await database.restart();
  await edge.exited; // its worker, too
  assert.equal((await get(successor, "app.example.com")).status, 200);
});

test("SIGTERM to a generation that waits until another one has taken over ends it at once", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge(ONE_WORKER);
  const channel = connectChannel(`${namePrefix(handOverKey(edge.host, edge.port)!)}${edge.pid}`);
  const offered = Promise.withResolvers<unknown>();
  channel.handler = { onMessage: offered.resolve, onClose() {} };
  const identity = { pid: process.pid, version: "1", region: "", adminAddress: null, role: "supervisor", startedAtMs: 0 };
  channel.send({ type: "hello", protocol: PROTOCOL, identity });
  await offered.promise;
  const waiting = await platform.edge(ONE_WORKER, { ready: false });
  await waiting.waitForLog((line) => line["msg"] === "starting");
  assert.equal(await waiting.stop(), 0);
  channel.close();
  assert.equal(await edge.stop(), 0);
});

test("an address that another program would share ends the start, naming it", async () => {
  await using platform = await Platform.start(server);
  const { edgePort: port, region } = platform;
  const [other] = openListeningSockets({ host: region.address, port, count: 1, reusePort: true })!;
  const edge = await platform.edge(ONE_WORKER, { ready: false });
  assert.equal(await edge.exited, 1, edge.report());
  const line = edge.log.find(({ msg }) => msg === "cannot start");
  assert.match(String(line?.["error"]), new RegExp(`${port}.*\\b${process.pid}\\b`), edge.report());
  other!.close();
});
