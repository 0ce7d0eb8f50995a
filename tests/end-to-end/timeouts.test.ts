/*  Each timeout of the contract (section 3): what it ends, how, never early, and what it leaves alone. Upper bounds are wide,
 *  since a busy machine is late; lower bounds are exact, since nothing may be early.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { DataPlane, settled } from "../fixtures/served-vms.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { insertRegion, insertRoute } from "../fixtures/postgres.ts";
import { getRequest, type RawConnection } from "../fixtures/raw-client.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";
import { hang, respond, type VmConnection } from "../fixtures/vm.ts";

const HEADER_MS = 400;
const IDLE_MS = 700;
const RESPONSE_MS = 900;
const STREAM_MS = 1200;
const CONNECT_MS = 500;
const HEALTH_MS = 300;
/** Timers count in milliseconds: what is less is not early. */
const EARLY_MS = 1;
/** What a busy machine may add. */
const LATE_MS = 8000;
/** Between two steps of something that is slow but moves. */
const STEP_MS = 100;
/** A stream timeout that a step which is late does not exceed. */
const PATIENT_MS = 3000;

let plane: DataPlane;
let silent: UnresponsiveListener;
before(async () => {
  silent = await UnresponsiveListener.start("127.0.0.1");
  plane = await DataPlane.start({
    EDGEPROXY_HEADER_TIMEOUT: `${HEADER_MS}ms`,
    EDGEPROXY_IDLE_TIMEOUT: `${IDLE_MS}ms`,
    EDGEPROXY_RESPONSE_TIMEOUT: `${RESPONSE_MS}ms`,
    EDGEPROXY_STREAM_TIMEOUT: `${STREAM_MS}ms`,
    EDGEPROXY_CONNECT_TIMEOUT: `${CONNECT_MS}ms`,
    EDGEPROXY_REGION_PORT: String(silent.port),
  });
});
after(async () => {
  await plane[Symbol.asyncDispose]();
  await silent[Symbol.asyncDispose]();
});

/** Checks that `what` takes as long as a timeout says. `startedAtMs`: before what the timeout counts from was sent. */
async function takes<T>(timeoutMs: number, what: Promise<T>, startedAtMs: number): Promise<T> {
  const result = await what;
  const elapsedMs = performance.now() - startedAtMs;
  assert.ok(elapsedMs > timeoutMs - EARLY_MS, `${elapsedMs} ms are early for ${timeoutMs} ms`);
  assert.ok(elapsedMs < timeoutMs + LATE_MS, `${elapsedMs} ms are late for ${timeoutMs} ms`);
  return result;
}

/** The status and code of the next response, then the end of the connection. */
async function refusalAndEnd(client: RawConnection): Promise<string> {
  const response = await client.readResponse();
  assert.equal(await client.readToEnd(), "");
  return `${response.status} ${fieldValue(response, "x-edgeproxy-error")}`;
}

/** Sends a byte every STEP_MS until the connection ends. */
async function trickle(client: RawConnection, byte: string): Promise<void> {
  let ended = false;
  void client.ended.then(() => ended = true);
  while (!ended) {
    client.send(byte);
    await Promise.race([wait(STEP_MS), client.ended]);
  }
}

// rule: RFC 9110, 15.5.9 | `408 head_timeout`, client connection closed
test("header timeout: a head that is not complete in time is answered with 408, also when bytes keep coming", async () => {
  const { host } = await plane.vm();
  await using second = await plane.open();
  second.send(getRequest(host));
  assert.equal((await second.readResponse()).status, 200);
  const startedAtMs = performance.now();
  second.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  await using stopping = await plane.open();
  stopping.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  await using trickling = await plane.open();
  trickling.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  const trickled = trickle(trickling, "a");
  const refusals = [stopping, trickling, second].map((client) => takes(HEADER_MS, refusalAndEnd(client), startedAtMs));
  assert.deepEqual(await Promise.all(refusals), Array(3).fill("408 head_timeout"));
  await trickled;
});

// rule: RFC 9112, 9.5 | no answer, client connection closed
test("header timeout: a connection that never says anything is closed without an answer", async () => {
  const startedAtMs = performance.now();
  await using client = await plane.open();
  assert.equal(await takes(HEADER_MS, client.readToEnd(), startedAtMs), "");
});

// rule: RFC 9112, 9.5 | no answer, client connection closed
test("idle timeout: a connection without a further request is closed without an answer", async () => {
  const { host } = await plane.vm();
  await using client = await plane.open();
  client.send(getRequest(host));
  const startedAtMs = performance.now();
  assert.equal((await client.readResponse()).status, 200);
  assert.equal(await takes(IDLE_MS, client.readToEnd(), startedAtMs), "");
});

// rule: RFC 9112, 9.5 | all answers arrive, then client connection closed
test("idle timeout: a client that is slow to read its answers is not idle", async () => {
  const idleMs = 300;
  await using proxy = await plane.another({ EDGEPROXY_IDLE_TIMEOUT: `${idleMs}ms` });
  const size = 100_000, count = 200; // more than the kernel takes, so that some of it waits in the proxy
  const { vm, host } = await plane.vm({ script: respond(200, Buffer.alloc(size)) });
  const socket = connect({ port: proxy.port, host: proxy.host });
  socket.pause();
  const closed = once(socket, "close");
  await once(socket, "connect");
  socket.write(getRequest(host).repeat(count));
  let asked = -1;
  while (vm.requests.length > asked) {
    asked = vm.requests.length;
    await wait(2 * idleMs);
  }
  assert.ok(asked < count, "nothing is stuck");
  let received = 0;
  socket.on("data", (chunk: Buffer) => received += chunk.length);
  const resumedAtMs = performance.now();
  socket.resume();
  await takes(idleMs, closed, resumedAtMs);
  assert.equal(vm.requests.length, count);
  assert.ok(received > count * size);
});

// rule: RFC 9110, 15.6.5 | `504 response_timeout`, VM connection never used again, the request is not sent again
test("response timeout: a VM that accepts and says nothing is answered for with 504 and loses its connection", async () => {
  const { vm, host } = await plane.vm({ script: hang() });
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  const response = await takes(RESPONSE_MS, client.readResponse(), startedAtMs);
  assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [504, "response_timeout"]);
  assert.equal(response.body.toString(), "Gateway Timeout");
  await vm.until(() => vm.open === 0);
  assert.equal(vm.requests.length, 1, "it is not asked again");
});

// rule: RFC 9110, 15.2 | `103` relayed, then `504`
test("response timeout: an interim answer is not an answer", async () => {
  const { host } = await plane.vm({ script: (_request, connection) => connection.write("HTTP/1.1 103 Early Hints\r\n\r\n") });
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  const response = await takes(RESPONSE_MS, client.readResponse(), startedAtMs);
  assert.deepEqual([response.status, response.interim.length], [504, 1]);
});

test("response timeout: a head that comes byte by byte must be complete in time", async () => {
  const { vm, host } = await plane.vm();
  vm.script = (_request, connection) => {
    connection.write("HTTP/1.1 200 OK\r\nX-Slow: ");
    const trickling = setInterval(() => connection.write("a"), STEP_MS);
    connection.socket.on("close", () => clearInterval(trickling));
  };
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  const response = await takes(RESPONSE_MS, client.readResponse(), startedAtMs);
  assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [504, "response_timeout"]);
  await vm.until(() => vm.open === 0);
});

test("response timeout: a VM that answers nothing to Expect: 100-continue is answered for, and the connection closes", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`);
  assert.equal(await takes(RESPONSE_MS, refusalAndEnd(client), startedAtMs), "504 response_timeout");
  await vm.until(() => vm.open === 0);
});

// rule: RFC 9110, 15.6.5 | `504`, counted from the end of the request
test("response timeout: it begins when the request is complete", async () => {
  const { host } = await plane.vm({ script: hang() });
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 12\r\n\r\n`);
  let sentAtMs = startedAtMs;
  for (let i = 0; i < 12; i++) {
    await wait(STEP_MS);
    sentAtMs = performance.now();
    client.send("x");
  }
  assert.ok(sentAtMs - startedAtMs > RESPONSE_MS);
  assert.equal((await takes(RESPONSE_MS, client.readResponse(), sentAtMs)).status, 504);
});

// rule: RFC 9110, 15.5.9 | `408 body_timeout`, client connection closed, the request never complete for the VM
test("stream timeout: a request body that stops coming is answered with 408", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\nhalf`);
  assert.equal(await takes(STREAM_MS, refusalAndEnd(client), startedAtMs), "408 body_timeout");
  await vm.until(() => vm.open === 0);
  assert.equal(vm.requests.length, 0);
});

// rule: RFC 9112, 8 | client connection `reset`, VM connection never used again
test("stream timeout: an answer that stops coming breaks the client's connection", async () => {
  const { vm, host } = await plane.vm();
  vm.script = (_request, connection) => connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  assert.equal(await takes(STREAM_MS, client.ended, startedAtMs), "reset");
  await vm.until(() => vm.open === 0);
});

// rule: RFC 9112, 9.5 | both connections closed
test("stream timeout: a client that reads nothing is cut off, with the VM's connection", async () => {
  const { vm, host } = await plane.vm();
  const bytes = Buffer.alloc(50_000_000);
  vm.script = (_request, connection) => {
    connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n\r\n`);
    connection.write(bytes);
  };
  await using client = await plane.open();
  client.socket.pause();
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  await vm.until(() => vm.requests.length === 1);
  await takes(STREAM_MS, vm.until(() => vm.open === 0), startedAtMs);
});

// rule: RFC 9112, 9.5 | `101` relayed, tunnel, then both connections closed
test("stream timeout: a tunnel without a byte in either direction is closed", async () => {
  const { vm, host } = await plane.vm();
  vm.onHead = (_head, connection) => {
    connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    connection.takeOver(() => {});
  };
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest(host, "/", "Connection: Upgrade", "Upgrade: echo"));
  assert.equal((await client.readResponse()).status, 101);
  await takes(STREAM_MS, client.ended, startedAtMs);
  await vm.until(() => vm.open === 0);
});

test("stream timeout: a tunnel whose client takes nothing any more is closed, though its VM goes on", async () => {
  const { vm, host } = await plane.vm();
  vm.onHead = (_head, connection) => {
    connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    connection.takeOver(() => {});
    connection.write(Buffer.alloc(50_000_000));
  };
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest(host, "/", "Connection: Upgrade", "Upgrade: echo"));
  await client.readUntil("\r\n\r\n");
  client.socket.pause();
  await takes(STREAM_MS, vm.until(() => vm.open === 0), startedAtMs);
});

/** Slow but moving, in one direction. */
async function moveSlowly(patient: Edgeproxy): Promise<void> {
  const steps = Math.ceil(PATIENT_MS * 1.5 / STEP_MS);
  const upload = async (): Promise<void> => {
    const { vm, host } = await plane.vm();
    await using client = await plane.open(patient);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${steps}\r\n\r\n`);
    for (let i = 0; i < steps; i++) {
      await wait(STEP_MS);
      client.send("x");
    }
    assert.equal((await client.readResponse()).status, 200);
    assert.equal(vm.requests[0]?.body.length, steps);
  };
  const writeSlowly = async (connection: VmConnection): Promise<void> => {
    for (let i = 0; i < steps; i++) {
      await wait(STEP_MS);
      connection.write("y");
    }
  };
  const download = async (): Promise<void> => {
    const { vm, host } = await plane.vm();
    vm.script = async (_request, connection) => {
      connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${steps}\r\n\r\n`);
      await writeSlowly(connection);
    };
    await using client = await plane.open(patient);
    client.send(getRequest(host));
    assert.equal((await client.readResponse()).body.length, steps);
  };
  const tunnel = async (): Promise<void> => {
    const { vm, host } = await plane.vm();
    vm.onHead = (_head, connection) => {
      connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      connection.takeOver(() => {});
      void writeSlowly(connection);
    };
    await using client = await plane.open(patient);
    client.send(getRequest(host, "/", "Connection: Upgrade", "Upgrade: echo"));
    assert.equal((await client.readResponse()).status, 101);
    assert.equal((await client.readBytes(steps)).toString(), "y".repeat(steps));
  };
  await Promise.all([upload(), download(), tunnel()]);
}

/** Taken slowly but steadily, though the kernel holds much of it. */
async function takeSlowly(patient: Edgeproxy): Promise<void> {
  const total = 64 * 2 ** 20;
  const { vm, host } = await plane.vm();
  const uploading = Promise.withResolvers<VmConnection>();
  vm.onHead = (head, connection) => {
    if (head.startLine.startsWith("PUT")) return uploading.resolve(connection);
    connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
    connection.write(Buffer.alloc(total));
  };
  await using down = await plane.open(patient);
  down.send(getRequest(host));
  await using up = await plane.open(patient);
  up.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${total}\r\n\r\n`);
  up.send(Buffer.alloc(total));
  const slow = [down.socket, (await uploading.promise).socket];
  for (const socket of slow) {
    socket.removeAllListeners("data");
    socket.on("data", () => socket.pause());
    const stepping = setInterval(() => socket.resume(), 1500); // half a MiB at most each time
    socket.on("close", () => clearInterval(stepping));
  }
  const closed = slow.map((socket) => new Promise<void>((resolve) => socket.on("close", () => resolve())));
  await Promise.race([wait(4 * PATIENT_MS), ...closed]);
  assert.deepEqual(slow.map((socket) => socket.destroyed), [false, false]);
  down.reset();
  up.reset();
  vm.resetConnections();
}

// rule: RFC 9112, 9.5 | bodies and tunnels go on
test("stream timeout: what is slow but moves, in one direction, or is taken slowly but steadily, lives longer than that", async () => {
  await using patient = await plane.another({ EDGEPROXY_STREAM_TIMEOUT: `${PATIENT_MS}ms` });
  await Promise.all([moveSlowly(patient), takeSlowly(patient)]);
});

// rule: RFC 9110, 15.6.3 | `502 connect_timeout`
test("connect timeout: another region that does not accept is answered for with 502", async () => {
  const elsewhere = await insertRegion(plane.database, { publicIpv4: silent.host });
  await insertRoute(plane.database, { name: "far.example.com", regionId: elsewhere, privateIp: "10.255.255.1", port: 80 });
  await plane.refresh();
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(getRequest("far.example.com"));
  const response = await takes(CONNECT_MS, client.readResponse(), startedAtMs);
  assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [502, "connect_timeout"]);
  assert.equal(response.body.toString(), "Bad Gateway");
});

// rule: RFC 9110, 15.6.4 | `503 vm_unhealthy`
test("health timeout: a VM that does not answer its probe is answered for with 503", async () => {
  await using hasty = await plane.another({ EDGEPROXY_HEALTH_TIMEOUT: `${HEALTH_MS}ms` });
  const { host } = await plane.vm({ healthStatus: "hang" });
  await using client = await plane.open(hasty);
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  const response = await takes(HEALTH_MS, client.readResponse(), startedAtMs);
  assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [503, "vm_unhealthy"]);
});

test("health timeout: an answer to a probe that comes byte by byte must be complete in time", async () => {
  await using hasty = await plane.another({ EDGEPROXY_HEALTH_TIMEOUT: `${HEALTH_MS}ms` });
  const { vm, host } = await plane.vm({ healthStatus: "hang" });
  vm.onAccept = ({ socket }) => {
    socket.write("HTTP/1.1 200 OK\r\nX-Slow: ");
    const trickling = setInterval(() => socket.write("a"), STEP_MS);
    socket.on("close", () => clearInterval(trickling));
  };
  await using client = await plane.open(hasty);
  const startedAtMs = performance.now();
  client.send(getRequest(host));
  assert.equal((await takes(HEALTH_MS, client.readResponse(), startedAtMs)).status, 503);
  assert.equal(vm.requests.length, 0);
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
