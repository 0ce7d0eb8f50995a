/** The end of a process (contract, section 9): what is accepted is answered, what idles is closed, what is too long is cut. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { DataPlane } from "../fixtures/served-vms.ts";
import type { Edgeproxy, LogLine } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest, type RawConnection } from "../fixtures/raw-client.ts";
import { hang, type VmConnection, type VmScript } from "../fixtures/vm.ts";

let plane: DataPlane;
before(async () => plane = await DataPlane.start());
after(() => plane[Symbol.asyncDispose]());

/** The last line that a process in good order writes. */
function stopped(proxy: Edgeproxy): LogLine | undefined {
  return proxy.log.find((line) => line["msg"] === "stopped");
}

/** A script that leaves the answer to the test. */
function held(): { readonly script: VmScript; readonly connection: Promise<VmConnection> } {
  const { promise, resolve } = Promise.withResolvers<VmConnection>();
  return { script: (_request, connection) => resolve(connection), connection: promise };
}

/** Sends one request after the other until an answer says close; how many were answered. */
async function load(client: RawConnection, host: string): Promise<number> {
  for (let answered = 0;; answered++) {
    client.send(`POST /${answered} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 4\r\n\r\nbody`);
    const response = await client.readResponse();
    assert.equal(response.status, 200);
    if (fieldValue(response, "connection") !== "close") continue;
    assert.equal(await client.ended, "end");
    return answered + 1;
  }
}

/** The data plane has begun to drain. */
async function untilRefused(proxy: Edgeproxy): Promise<void> {
  await proxy.waitFor(() => plane.open(proxy).then((client) => client[Symbol.asyncDispose]().then(() => false), () => true));
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  // rule: RFC 9112, 9.6 | every request answered, the last answer with Connection: close
  test(`${signal} under load: every request that was sent is answered, the last one says close, and the exit code is 0`, async () => {
    const proxy = await plane.another({});
    const { vm, host } = await plane.vm();
    const clients = await Promise.all(Array.from({ length: 8 }, () => plane.open(proxy)));
    const loads = clients.map((client) => load(client, host));
    await vm.until(() => vm.requests.length > 200);
    const exited = proxy.stop(signal);
    const answered = (await Promise.all(loads)).reduce((sum, each) => sum + each, 0);
    assert.equal(await exited, 0, proxy.report());
    assert.equal(answered, vm.requests.length);
    assert.equal(stopped(proxy)?.["exchanges_cut"], 0, proxy.report());
    assert.ok(proxy.log.some((line) => line["msg"] === "shutting down" && line["signal"] === signal));
    assert.equal(proxy.stderr, "");
  });
}

test("an idle connection closes, a running answer is finished, and readiness is false meanwhile", async () => {
  const proxy = await plane.another({ EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" });
  const { script, connection } = held();
  const { host: idleHost } = await plane.vm();
  const { vm, host } = await plane.vm({ script });
  await using fresh = await plane.open(proxy);
  await using idle = await plane.open(proxy);
  idle.send(getRequest(idleHost));
  assert.equal((await idle.readResponse()).status, 200);
  await using running = await plane.open(proxy);
  running.send(getRequest(host));
  const vmConnection = await connection;
  vmConnection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
  await running.readUntil("\r\n\r\nfirst");

  assert.equal((await fetch(`${proxy.adminUrl}/readyz`)).status, 200);
  const exited = proxy.stop();
  assert.equal(await idle.readToEnd(), "");
  assert.equal(await fresh.readToEnd(), "");
  const ready = await fetch(`${proxy.adminUrl}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /shutting|drain/i);
  assert.equal((await fetch(`${proxy.adminUrl}/healthz`)).status, 200);
  const refused = connect({ port: proxy.port, host: proxy.host });
  await assert.rejects(once(refused, "connect"), /ECONNREFUSED/);

  vmConnection.write("-last");
  assert.equal((await running.readBytes(5)).toString(), "-last");
  assert.equal(await exited, 0);
  assert.equal(stopped(proxy)?.["exchanges_cut"], 0);
  assert.equal(vm.requests.length, 1);
});

// rule: RFC 9112, 9.6 | relayed with Connection: `close`, client connection closed
test("an answer that begins during the drain says close", async () => {
  const proxy = await plane.another({});
  const { script, connection } = held();
  const { host } = await plane.vm({ script });
  await using client = await plane.open(proxy);
  client.send(getRequest(host) + getRequest(host, "/pipelined"));
  const vmConnection = await connection;
  const exited = proxy.stop();
  await untilRefused(proxy);
  vmConnection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
  const response = await client.readResponse();
  assert.deepEqual([response.body.toString(), fieldValue(response, "connection")], ["late", "close"]);
  assert.equal(await client.readToEnd(), "");
  assert.equal(await exited, 0);
});

// rule: RFC 9112, 9.6 | `101` relayed, tunnel, finished and not counted as cut
test("a tunnel that ends during the drain is not cut", async () => {
  const proxy = await plane.another({ EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" });
  const { vm, host } = await plane.vm();
  vm.onHead = (_head, connection) => {
    connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    connection.takeOver((chunk) => chunk.includes("still here?") && connection.write("yes"));
  };
  await using client = await plane.open(proxy);
  client.send(getRequest(host, "/", "Connection: Upgrade", "Upgrade: raw"));
  assert.equal((await client.readResponse()).status, 101);
  const exited = proxy.stop();
  await proxy.waitForLog((line) => line["msg"] === "shutting down");
  client.send("still here?");
  assert.equal((await client.readBytes(3)).toString(), "yes");
  client.reset();
  assert.equal(await exited, 0, proxy.report());
  assert.equal(stopped(proxy)?.["exchanges_cut"], 0, proxy.report());
});

// rule: RFC 9112, 9.6 | cut with a `reset`, counted in the log
test("what is not finished after EDGEPROXY_SHUTDOWN_TIMEOUT is cut and counted", async () => {
  const timeoutMs = 500;
  const proxy = await plane.another({ EDGEPROXY_SHUTDOWN_TIMEOUT: `${timeoutMs}ms` });
  const { vm, host } = await plane.vm({ script: hang() });
  const tunnel = await plane.vm();
  tunnel.vm.onHead = (_head, connection) => {
    connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    connection.takeOver(() => {});
  };
  await using waiting = await plane.open(proxy);
  waiting.send(getRequest(host));
  await using sending = await plane.open(proxy);
  sending.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 9\r\n\r\nhalf`);
  await using tunnelling = await plane.open(proxy);
  tunnelling.send(getRequest(tunnel.host, "/", "Connection: Upgrade", "Upgrade: raw"));
  assert.equal((await tunnelling.readResponse()).status, 101);
  await vm.until(() => vm.transcripts.length === 2);

  const startedAtMs = performance.now();
  assert.equal(await proxy.stop(), 0, proxy.report());
  assert.ok(performance.now() - startedAtMs > timeoutMs - 1);
  assert.equal(stopped(proxy)?.["exchanges_cut"], 3, proxy.report());
  assert.equal(stopped(proxy)?.["level"], "warn");
  for (const client of [waiting, sending, tunnelling]) assert.equal(await client.ended, "reset");
  await vm.until(() => vm.open === 0);
});

for (const [first, second] of [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGINT"], ["SIGTERM", "SIGINT"]] as const) {
  test(`a second signal (${first}, then ${second}) ends the process at once`, async () => {
    const proxy = await plane.another({ EDGEPROXY_SHUTDOWN_TIMEOUT: "1h" });
    const { vm, host } = await plane.vm({ script: hang() });
    await using client = await plane.open(proxy);
    client.send(getRequest(host));
    await vm.until(() => vm.requests.length === 1);
    proxy.signal(first);
    await proxy.waitForLog((line) => line["msg"] === "shutting down");
    await proxy.waitFor(async () => (await fetch(`${proxy.adminUrl}/readyz`)).status === 503);
    assert.equal(await proxy.stop(second), 1);
    await client.ended;
    assert.ok(proxy.log.some((line) => String(line["msg"]).includes("second signal")), proxy.report());
  });
}

test("SIGTERM without any client ends the process at once", async () => {
  const proxy = await plane.another({ EDGEPROXY_SHUTDOWN_TIMEOUT: "1h" });
  assert.equal(await proxy.stop(), 0);
  assert.equal(stopped(proxy)?.["exchanges_cut"], 0);
});
