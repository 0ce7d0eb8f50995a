/** As a service of systemd: what it tells its manager, and sockets that the manager has opened (contract, section 9). */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { alive, commandOf, parentOf, stopProcess } from "../fixtures/processes.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { listeningDescriptor, Systemd } from "../fixtures/systemd.ts";
import type { VmConnection } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

for (const workers of ["0", "2"]) {
  test(`READY once the routes are in force, RELOADING on SIGHUP, STOPPING at the end (${workers} workers)`, async () => {
    await using platform = await Platform.start(server);
    await platform.vm("app.example.com");
    await using manager = await Systemd.start();
    const edge = await platform.edge({ EDGEPROXY_WORKERS: workers, EDGEPROXY_SHUTDOWN_TIMEOUT: "7s", ...manager.env }, {
      ready: false,
    });
    const ready = await manager.message(
      /^READY=1\nSTATUS=1 route, table \d+ s old, 0 connections, (1 worker|(1 of )?2 workers( serving)?)$/,
    );
    assert.equal(ready, 0, "not before there are routes, and nothing else before");
    assert.equal((await get(edge, "app.example.com")).status, 200);

    await platform.vm("new.example.com");
    edge.signal("SIGHUP");
    const reloading = await manager.message(/^RELOADING=1\nMONOTONIC_USEC=\d+$/, ready + 1);
    await manager.message(/^READY=1\nSTATUS=2 routes, /, reloading + 1);
    assert.equal((await get(edge, "new.example.com")).status, 200);

    edge.signal("SIGTERM");
    const stopping = await manager.message(/^STOPPING=1\nSTATUS=.*\nEXTEND_TIMEOUT_USEC=\d+$/, reloading + 1);
    const microseconds = Number(/EXTEND_TIMEOUT_USEC=(\d+)/.exec(manager.messages[stopping] ?? "")?.[1]);
    assert.ok(microseconds >= 7_000_000 && microseconds < 20_000_000, manager.messages[stopping]);
    assert.equal(await edge.exited, 0);
    assert.equal(manager.messages.slice(stopping).some((message) => message.includes("READY=1")), false);
  });
}

test("a proxy without routes is not READY; the status says what it waits for", async () => {
  await using platform = await Platform.start(server, {});
  await using manager = await Systemd.start();
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "1", ...manager.env }, { ready: false });
  await edge.waitForLog((line) => line["level"] === "error");
  assert.equal(manager.messages.some((message) => message.includes("READY=1")), false);
  assert.equal(await edge.stop(), 0);
  assert.equal(manager.messages.some((message) => message.includes("READY=1")), false);
});

test("WATCHDOG comes while workers answer, stays away while they stand still, and comes back", async () => {
  await using platform = await Platform.start(server);
  await using manager = await Systemd.start({ WATCHDOG_USEC: "1200000" });
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2", ...manager.env });
  await manager.message(/^WATCHDOG=1$/, 1 + await manager.message(/^WATCHDOG=1$/));
  const pids = (await edge.workers()).map((worker) => worker.pid);
  for (const pid of pids) await stopProcess(pid);
  const line = await edge.waitForLog((each) => each["msg"] === "self-check failed");
  assert.match(String(line["problem"]), /no worker/);
  const said = await manager.fence(); // what came on the way to us was said before
  await edge.waitFor(async () => (await edge.workers()).every(({ state }) => state === "silent"), "does not notice");
  assert.deepEqual(manager.messages.slice(said).filter((message) => message === "WATCHDOG=1"), []);
  for (const pid of pids) process.kill(pid, "SIGCONT");
  await manager.message(/^WATCHDOG=1$/, said);
  await edge.waitForLog((each) => each["msg"] === "self-check passes again");
  assert.deepEqual((await edge.workers()).map((worker) => worker.pid), pids, "nobody was replaced");
});

for (const workers of ["0", "1", "2"]) {
  test(`a socket that the manager has opened is accepted from, also what came before the start (${workers} workers)`, async () => {
    await using platform = await Platform.start(server);
    await platform.vm("app.example.com");
    using socket = await listeningDescriptor(platform.region.address, platform.edgePort);
    const waiting = async (): Promise<{ readonly served: (edge: Edgeproxy) => Promise<void> } & AsyncDisposable> => {
      const connection = await openRaw(platform.edgePort, platform.region.address);
      connection.send(getRequest("app.example.com"));
      const served = async (edge: Edgeproxy): Promise<void> => {
        assert.equal((await connection.readResponse()).status, 200, edge.report());
      };
      return { served, [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose]() };
    };
    await using early = await waiting();
    const edge = await platform.edge({ EDGEPROXY_WORKERS: workers }, { sockets: [socket.fd] });
    await early.served(edge);
    assert.equal((await get(edge, "app.example.com")).status, 200);
    assert.equal(await edge.stop(), 0, edge.report());
    // The manager still holds it: who comes now waits for the next start.
    await using late = await waiting();
    await late.served(await platform.edge({ EDGEPROXY_WORKERS: workers }, { sockets: [socket.fd] }));
  });
}

test("the next generation is no child of the old one when it becomes the main process: systemd would not wait for its end", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com");
  const held = Promise.withResolvers<VmConnection>();
  vm.script = (_request, connection) => held.resolve(connection);
  await using manager = await Systemd.start();
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2", ...manager.env });
  const answer = get(edge, "app.example.com"); // the old one stays until it has gone out
  const connection = await held.promise;
  edge.signal("SIGUSR2");
  const main = await manager.message(/^MAINPID=\d+$/);
  const pid = Number(manager.messages[main]?.slice("MAINPID=".length));
  assert.ok(alive(edge.pid) && alive(pid) && pid !== edge.pid);
  assert.notEqual(parentOf(pid), edge.pid);
  assert.ok(!commandOf(parentOf(pid)).includes("launch"));
  connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  await answer;
  assert.equal(await edge.ended, 0);
  process.kill(pid, "SIGTERM");
  await edge.exited;
});

test("a generation that is succeeded by one of somebody else's says that it stops, and keeps the watchdog until it has", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com");
  const held = Promise.withResolvers<VmConnection>();
  vm.script = (_request, connection) => held.resolve(connection);
  await using manager = await Systemd.start({ WATCHDOG_USEC: "1200000" });
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2", ...manager.env });
  const answer = get(edge, "app.example.com");
  const connection = await held.promise;
  const second = await platform.edge({ EDGEPROXY_WORKERS: "2" }, { adminPort: edge.adminPort, ready: false });
  const stopping = await manager.message(/^STOPPING=1\nSTATUS=.*\nEXTEND_TIMEOUT_USEC=\d+$/);
  await manager.message(/^WATCHDOG=1$/, 1 + await manager.message(/^WATCHDOG=1$/, stopping));
  assert.equal(manager.messages.some((message) => message.startsWith("MAINPID=")), false);
  connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  assert.equal((await answer).status, 200);
  assert.equal(await edge.exited, 0, edge.report());
  assert.equal(await second.stop(), 0);
});

test("SIGUSR2 makes the next generation the main process, which is READY and keeps the watchdog; the old one says nothing more", async () => {
  await using platform = await Platform.start(server);
  await platform.vm("app.example.com");
  await using manager = await Systemd.start({ WATCHDOG_USEC: "1200000" });
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2", ...manager.env });
  await manager.message(/^WATCHDOG=1$/);
  edge.signal("SIGUSR2");
  const main = await manager.message(/^MAINPID=\d+$/);
  const pid = Number(manager.messages[main]?.slice("MAINPID=".length));
  assert.ok(pid !== edge.pid && alive(pid));
  await manager.message(/^READY=1\n/, 1 + await manager.message(/^READY=1\n/));
  assert.equal(await edge.ended, 0);
  const ended = manager.messages.length;
  await manager.message(/^WATCHDOG=1$/, ended);
  assert.equal(manager.messages.some((message) => message.startsWith("STOPPING=1")), false);
  assert.equal((await get(edge, "app.example.com")).status, 200);
  process.kill(pid, "SIGTERM");
  await manager.message(/^STOPPING=1\n/, ended);
  await edge.exited;
});
