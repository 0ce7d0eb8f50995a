/** What happens between the signal and the end, as seen from the admin address, by clients and in the log. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { IDLE_GRACE_MS } from "../../src/downstream/h1-connection.ts";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest } from "../fixtures/raw-client.ts";
import { stopProcess } from "../fixtures/processes.ts";
import { DataPlane, ONE_PROCESS, reaches } from "../fixtures/served-vms.ts";
import type { VmConnection, VmScript } from "../fixtures/vm.ts";

let plane: DataPlane;
before(async () => plane = await DataPlane.start());
after(() => plane[Symbol.asyncDispose]());

interface DrainView {
  readonly phase: string;
  readonly reason: string;
  readonly exchanges: number;
  readonly tunnels: number;
  readonly connections: number;
  readonly "seconds_left": number;
}

/** What the admin address says of the drain; null before. */
async function drainOf(proxy: Edgeproxy): Promise<DrainView | null> {
  const { drain } = await (await proxy.admin("/api/drain")).json() as { drain: DrainView | null };
  return drain;
}

/** Exchanges, tunnels and connections that are left. */
async function workOf(proxy: Edgeproxy): Promise<string> {
  const { exchanges, tunnels, connections } = (await drainOf(proxy))!;
  return [exchanges, tunnels, connections].join(" ");
}

/** Nobody listens any more. */
async function refuses({ port, host }: Edgeproxy): Promise<boolean> {
  const socket = connect({ port, host });
  const refused = await once(socket, "connect").then(() => false, (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED");
  socket.destroy();
  return refused;
}

/** A script that leaves the answer to the test. */
function held(): { readonly arrived: Promise<VmConnection>; readonly script: VmScript } {
  const { promise, resolve } = Promise.withResolvers<VmConnection>();
  return { arrived: promise, script: (_request, connection) => resolve(connection) };
}

test("a lame duck is not ready, but accepts and answers as before; a second signal ends it at once", async () => {
  const proxy = await plane.another({ EDGEPROXY_DRAIN_DELAY: "10m" });
  const { host } = await plane.vm();
  await using early = await plane.open(proxy);
  assert.equal(await drainOf(proxy), null);
  proxy.signal("SIGTERM");
  await proxy.waitFor(async () => (await proxy.admin("/readyz")).status === 503, "stayed ready");
  const { reasons, drain } = await (await proxy.admin("/readyz")).json() as { reasons: string[]; drain: DrainView };
  assert.deepEqual([reasons, drain.phase, drain.reason], [["shutting down"], "lame-duck", "SIGTERM"]);
  assert.ok(drain.seconds_left > 590 && drain.seconds_left <= 605, String(drain.seconds_left));

  await using late = await plane.open(proxy);
  for (const client of [early, late, early]) {
    client.send(getRequest(host));
    const response = await client.readResponse();
    assert.deepEqual([response.status, fieldValue(response, "connection")], [200, undefined]);
  }
  assert.equal((await drainOf(proxy))?.phase, "lame-duck");
  assert.equal(await proxy.stop("SIGTERM"), 1);
});

test("after EDGEPROXY_DRAIN_DELAY the listeners close, and the grace begins to count", async () => {
  const proxy = await plane.another({ EDGEPROXY_DRAIN_DELAY: "300ms", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" });
  const { script, arrived } = held();
  const { host } = await plane.vm({ script });
  await using client = await plane.open(proxy);
  client.send(getRequest(host));
  const vmConnection = await arrived;
  const exited = proxy.stop();
  await proxy.waitFor(async () => (await drainOf(proxy))?.phase === "finishing", "did not begin to finish");
  const drain = await drainOf(proxy);
  assert.ok(drain !== null && drain.seconds_left > 30, JSON.stringify(drain));
  // The worker hears of it a moment later
  await proxy.waitFor(async () => await refuses(proxy), "did not close its listeners");
  await proxy.waitFor(async () => await workOf(proxy) === "1 0 1", "does not say what is left");
  vmConnection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  const response = await client.readResponse();
  assert.deepEqual([response.status, fieldValue(response, "connection")], [200, "close"]);
  assert.equal(await exited, 0, proxy.report());
});

test("a long download, an upload and a tunnel go on during the drain, which says what is left and ends with the last of them", async () => {
  const proxy = await plane.another({ EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" });
  const answer = held();
  const [download, upload, tunnel] = await plane.vms([{ script: answer.script }, {}, {}]);
  tunnel!.vm.onHead = (_head, connection) => {
    connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    connection.takeOver((chunk) => /^\d$/.test(chunk.toString()) && connection.write(`echo ${chunk.toString()}`));
  };
  await using downloading = await plane.open(proxy);
  downloading.send(getRequest(download!.host));
  const vmConnection = await answer.arrived;
  vmConnection.write("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n");
  await downloading.readUntil("\r\n\r\n");
  await using uploading = await plane.open(proxy);
  uploading.send(`POST / HTTP/1.1\r\nHost: ${upload!.host}\r\nContent-Length: 2000\r\n\r\n${"u".repeat(1000)}`);
  await upload!.vm.until(() => upload!.vm.transcripts.length === 1);
  await using tunnelling = await plane.open(proxy);
  tunnelling.send(getRequest(tunnel!.host, "/", "Connection: Upgrade", "Upgrade: raw"));
  assert.equal((await tunnelling.readResponse()).status, 101);
  await reaches(proxy, { "edgeproxy_exchanges_active": 3, "edgeproxy_tunnels_active": 1 });

  const exited = proxy.stop();
  await proxy.waitFor(async () => await workOf(proxy) === "2 1 3", "does not say what is left");
  assert.equal((await drainOf(proxy))!.phase, "finishing");
  for (let third = 0; third < 3; third++) {
    vmConnection.write("d".repeat(1000));
    assert.equal((await downloading.readBytes(1000)).toString(), "d".repeat(1000));
    tunnelling.send(`${third}`);
    assert.equal((await tunnelling.readBytes(6)).toString(), `echo ${third}`);
  }
  uploading.send("u".repeat(1000));
  const response = await uploading.readResponse();
  assert.deepEqual([response.status, fieldValue(response, "connection")], [200, "close"]);
  await proxy.waitFor(async () => (await drainOf(proxy))?.exchanges === 0, "does not count down");
  assert.equal((await drainOf(proxy))?.tunnels, 1);
  tunnelling.reset();
  assert.equal(await exited, 0, proxy.report());
  const [begun] = proxy.log.filter((line) => line["msg"] === "draining");
  assert.deepEqual([begun?.["reason"], begun?.["exchanges"], begun?.["tunnels"]], ["SIGTERM", 2, 1], proxy.report());
  assert.equal(proxy.log.find((line) => line["msg"] === "stopped")?.["exchanges_cut"], 0);
});

test("a request that was on its way when the drain began is answered, also by a process that the machine kept meanwhile", async () => {
  const { host } = await plane.vm();
  for (let answered = false; !answered;) {
    const proxy = await plane.another(ONE_PROCESS);
    await using client = await plane.open(proxy);
    client.send(getRequest(host));
    assert.equal((await client.readResponse()).status, 200);
    proxy.signal("SIGTERM");
    await proxy.waitForLog(({ msg }) => msg === "draining");
    await stopProcess(proxy.pid);
    for (let turn = 0; turn < 3; turn++) await wait(10); // what has come is seen
    if (client.ending === null) {
      client.send(getRequest(host, "/late"));
      await wait(2 * IDLE_GRACE_MS);
      process.kill(proxy.pid, "SIGCONT");
      const response = await client.readResponse();
      assert.deepEqual([response.status, fieldValue(response, "connection")], [200, "close"]);
      answered = true;
    } else process.kill(proxy.pid, "SIGCONT"); // it was not stopped in time
    assert.equal(await proxy.exited, 0);
  }
});
