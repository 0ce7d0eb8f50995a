/** Floods: connections in numbers that mean harm. What they cost is bounded, the others are served, nothing is left behind. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest, openRaw, type RawConnection, rawRequest } from "../fixtures/raw-client.ts";
import { cpuSeconds, openFiles, residentBytes } from "../fixtures/processes.ts";
import { DataPlane, metric, ONE_PROCESS, settled } from "../fixtures/served-vms.ts";
import { hang, respond } from "../fixtures/vm.ts";

const MIB = 2 ** 20;

let plane: DataPlane;
before(async () => plane = await DataPlane.start(ONE_PROCESS));
after(() => plane[Symbol.asyncDispose]());

/** `count` connections that have sent these bytes, a hundred at a time. */
async function openMany(count: number, bytes: string, proxy: Edgeproxy): Promise<RawConnection[]> {
  const connections: RawConnection[] = [];
  while (connections.length < count) {
    const opening = Array.from({ length: Math.min(100, count - connections.length) }, () => openRaw(proxy.port, proxy.host));
    for (const connection of await Promise.all(opening)) {
      if (bytes !== "") connection.send(bytes);
      connections.push(connection);
    }
  }
  return connections;
}

async function assertServed(host: string, proxy: Edgeproxy): Promise<void> {
  assert.equal((await rawRequest(proxy.port, getRequest(host), proxy.host)).status, 200);
}

/** Resolves with a second in which the process took at most `most` of CPU time: what a flood has begun, such as a collection, may go on first. */
async function comesToRest(pid: number, most: number): Promise<void> {
  const seen: number[] = [];
  while (seen.length < 10) {
    const before = cpuSeconds(pid), sinceMs = performance.now();
    await wait(1000);
    const share = (cpuSeconds(pid) - before) / ((performance.now() - sinceMs) / 1000);
    if (share < most) return;
    seen.push(share);
  }
  assert.fail(`takes ${seen.join(", ")} s of CPU time per second, although nobody asks for anything`);
}

// rule: RFC 9112, 9.5 | others are served
test("an idle flood: thousands of idle connections, with and without a first request, cost little each, and others are served", async () => {
  await using proxy = await plane.another({ ...ONE_PROCESS, EDGEPROXY_HEADER_TIMEOUT: "10m", EDGEPROXY_IDLE_TIMEOUT: "10m" });
  const { host } = await plane.vm();
  await assertServed(host, proxy);
  const before = residentBytes(proxy.pid);
  const silent = await openMany(1500, "", proxy);
  const resting = await openMany(1500, getRequest(host), proxy);
  for (const client of resting) assert.equal((await client.readResponse()).status, 200);
  await proxy.waitFor(async () => await metric(proxy, "edgeproxy_connections") === 3000);
  const each = (residentBytes(proxy.pid) - before) / 3000;
  assert.ok(each < 24 * 1024, `${Math.round(each)} bytes for each idle connection`);
  await assertServed(host, proxy);

  await comesToRest(proxy.pid, 0.3);
  for (const client of [...silent, ...resting]) client.reset();
  await settled(proxy);
});

// rule: RFC 9110, 15.5.9 | 408 in time, others are served
test("a flood of slow heads: each gets 408 in time, the memory stays flat, and others are served meanwhile", async () => {
  await using proxy = await plane.another({ ...ONE_PROCESS, EDGEPROXY_HEADER_TIMEOUT: "2s" });
  const { vm, host } = await plane.vm();
  await assertServed(host, proxy);
  const before = residentBytes(proxy.pid);
  const slow = await openMany(500, `GET /slow HTTP/1.1\r\nHost: ${host}\r\nX-Fill: ${"x".repeat(4000)}`, proxy);
  // Not to who has been answered: what comes then is reset, and an answer that nobody has read yet would be lost with it
  const trickling = setInterval(
    () => slow.forEach((client) => client.unread === 0 && client.ending === null && client.send("x")),
    100,
  );
  const answers = slow.map((client) => client.readResponse());
  for (let i = 0; i < 20; i++) await assertServed(host, proxy);
  const growth = residentBytes(proxy.pid) - before;
  for (const answer of await Promise.all(answers)) assert.equal(fieldValue(answer, "x-edgeproxy-error"), "head_timeout");
  clearInterval(trickling);
  assert.ok(growth < 40 * MIB, `The proxy has grown by ${Math.round(growth / MIB)} MiB`);
  assert.ok(vm.requests.every(({ target }) => target !== "/slow"));
  for (const client of slow) client.reset();
  await settled(proxy);
});

// rule: RFC 9112, 9.5 | some are shed, others are served
test("a connection flood up to the file limit: idle connections to VMs make room, the rest is shed, and all is well afterwards", async () => {
  await using proxy = await plane.another({ ...ONE_PROCESS, EDGEPROXY_HEADER_TIMEOUT: "10m" }, { fileLimit: 256 });
  const [resting, busy] = [await plane.vm(), await plane.vm({ script: hang() })];
  const opening = Array.from({ length: 250 }, () => openRaw(proxy.port, proxy.host).catch(() => null)); // null: closed at once
  const flood = (await Promise.all(opening)).filter((client) => client !== null);
  await proxy.waitFor(async () => {
    return await metric(proxy, "edgeproxy_connections") + await metric(proxy, "edgeproxy_connections_shed_total") === 250;
  });
  const open = await metric(proxy, "edgeproxy_connections");
  const clients = (await Promise.all(flood.map(async (client) => {
    client.send(getRequest(resting.host));
    return await client.readResponse().then(() => client, () => null);
  }))).filter((client) => client !== null);
  assert.equal(clients.length, open);
  // As many connections as there may be are idle or busy with one VM; now all of them are wanted for another.
  for (const client of clients) client.send(getRequest(busy.host));
  await busy.vm.until((vm) => vm.requests.length === open);
  for (const client of clients) client.reset();
  await settled(proxy);
  await assertServed(resting.host, proxy);
  assert.equal(proxy.log.filter((line) => line["msg"] === "connections shed").length, 1, "logged once");
  assert.ok(proxy.log.every((line) => line["msg"] !== "VM unhealthy" && line["level"] !== "error"), "no VM is blamed");
});

test("no file left at all: what needs one gets 503 or waits, nothing spins, no VM is blamed, and all is well afterwards", async () => {
  // 16 connections are granted to either side however low the limit is; here there are files for 24 beside the proxy's own.
  const own = openFiles(plane.proxy.pid);
  await using proxy = await plane.another(ONE_PROCESS, { fileLimit: own + 24 });
  const { vm, host } = await plane.vm();
  await assertServed(host, proxy);
  vm.script = hang();
  const answers: string[] = [];
  const clients = await openMany(16, getRequest(host), proxy);
  for (const client of clients) {
    void client.readResponse().then((response) => answers.push(`${fieldValue(response, "x-edgeproxy-error")}`), () => {});
  }
  await proxy.waitFor(() => Promise.resolve(vm.requests.length + answers.length === 1 + clients.length));
  assert.deepEqual(new Set(answers), new Set(["overloaded"]));
  const late = await Promise.all(Array.from({ length: 50 }, () => openRaw(proxy.port, proxy.host).catch(() => null)));
  await comesToRest(proxy.pid, 0.4);
  for (const client of [...clients, ...late]) client?.reset();
  vm.script = respond(200, "");
  await settled(proxy);
  await assertServed(host, proxy);
  await settled(proxy);
  assert.ok(proxy.log.every((line) => line["msg"] !== "VM unhealthy"));
});
