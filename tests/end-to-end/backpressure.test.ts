/*  The slower side sets the pace: whatever is large and wherever it gets stuck, the proxy holds little of it, and once the
 *  way is free again everything arrives.
 */
import assert from "node:assert/strict";
import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { residentBytes } from "../fixtures/processes.ts";
import { DataPlane, ONE_PROCESS, settled } from "../fixtures/served-vms.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { respond, type VmConnection } from "../fixtures/vm.ts";

const MIB = 2 ** 20;
const TOTAL = 300 * MIB;
/** Of the proxy's memory, whatever is on its way through it. */
const MAX_GROWTH = 60 * MIB;
/** Nothing has moved for so long: everything is stuck. */
const STUCK_MS = 1500;

let plane: DataPlane;
before(async () => plane = await DataPlane.start(ONE_PROCESS));
after(() => plane[Symbol.asyncDispose]());

/** One MiB that differs from its neighbours. */
function block(index: number): Buffer {
  return Buffer.alloc(MIB, `block ${index} `);
}

/** Writes TOTAL bytes at the pace of the socket; `sent` grows meanwhile. */
class Flow {
  sent = 0;
  readonly hash: Hash = createHash("sha256");

  async write(socket: Socket, framing: "plain" | "chunked" = "plain"): Promise<void> {
    for (let index = 0; this.sent < TOTAL; index++) {
      const bytes = block(index);
      this.hash.update(bytes);
      if (framing === "chunked") socket.write(`${bytes.length.toString(16)}\r\n`);
      let goOn = socket.write(bytes);
      if (framing === "chunked") goOn = socket.write("\r\n");
      this.sent += bytes.length;
      if (!goOn) await once(socket, "drain");
    }
    if (framing === "chunked") socket.write("0\r\n\r\n");
  }
}

/** Resolves once `position` has stood still. */
async function stuck(position: () => number): Promise<void> {
  for (let before = -1, stillSinceMs = performance.now(); performance.now() - stillSinceMs < STUCK_MS; await wait(50)) {
    if (position() === before) continue;
    before = position();
    stillSinceMs = performance.now();
  }
}

/** Looks at the proxy's memory until told to stop; answers the most that it has grown. */
function watchGrowth(): () => Promise<number> {
  let watching = true;
  const watched = (async () => {
    const before = residentBytes(plane.proxy.pid);
    let most = 0;
    do {
      most = Math.max(most, residentBytes(plane.proxy.pid) - before);
      await wait(20);
    } while (watching);
    return most;
  })();
  return () => {
    watching = false;
    return watched;
  };
}

function assertFlat(growth: number): void {
  assert.ok(growth < MAX_GROWTH, `The proxy has grown by ${Math.round(growth / MIB)} MiB`);
}

/** A socket of a client that reads nothing until told. */
async function openPaused(): Promise<Socket> {
  const socket = connect({ port: plane.proxy.port, host: plane.proxy.host, allowHalfOpen: true });
  await once(socket, "connect");
  socket.pause();
  return socket;
}

/** Reads up to the empty line, then `length` bytes; the hash of those. */
async function hashBody(socket: Socket, length: number): Promise<string> {
  const hash = createHash("sha256");
  let head = Buffer.alloc(0);
  let inBody = false;
  let read = 0;
  const done = Promise.withResolvers<void>();
  socket.on("data", (chunk: Buffer) => {
    let bytes = chunk;
    if (!inBody) {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      inBody = true;
      bytes = head.subarray(end + 4);
    }
    hash.update(bytes);
    read += bytes.length;
    if (read >= length) done.resolve();
  });
  socket.on("close", () => done.reject(new Error(`Closed after ${read} of ${length} bytes`)));
  socket.resume();
  await done.promise;
  return hash.digest("hex");
}

// rule: RFC 9112, 9.3 | the VM waits, memory stays flat
test("a large answer waits for a client that reads nothing for a while, then arrives unchanged", async () => {
  const { vm, host } = await plane.vm();
  const flow = new Flow();
  vm.script = async (_request, connection) => {
    connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${TOTAL}\r\n\r\n`);
    await flow.write(connection.socket);
  };
  const socket = await openPaused();
  const growth = watchGrowth();
  socket.write(getRequest(host));
  await vm.until(() => vm.requests.length === 1);
  await stuck(() => flow.sent);
  assert.ok(flow.sent < TOTAL / 2, `${flow.sent} bytes have left the VM, although nobody reads`);
  assert.equal(await hashBody(socket, TOTAL), flow.hash.digest("hex"));
  assertFlat(await growth());
  socket.destroy();
});

for (const framing of ["length", "chunked"] as const) {
  // rule: RFC 9112, 9.3 | the client waits, memory stays flat
  test(`a large request (${framing}) waits for a VM that does not read, then arrives unchanged`, async () => {
    const { vm, host } = await plane.vm();
    const begun = Promise.withResolvers<VmConnection>();
    vm.onHead = (_head, connection) => {
      connection.takeOver(() => {});
      connection.socket.pause();
      begun.resolve(connection);
    };
    const socket = connect({ port: plane.proxy.port, host: plane.proxy.host });
    const growth = watchGrowth();
    const field = framing === "length" ? `Content-Length: ${TOTAL}` : "Transfer-Encoding: chunked";
    socket.write(`PUT / HTTP/1.1\r\nHost: ${host}\r\nExpect: nothing\r\n${field}\r\n\r\n`);
    const connection = await begun.promise;
    const flow = new Flow();
    const written = flow.write(socket, framing === "length" ? "plain" : "chunked");
    await stuck(() => flow.sent);
    assert.ok(flow.sent < TOTAL / 2, `${flow.sent} bytes have left the client, although nobody reads`);

    const body = bodyHash(framing === "length" ? TOTAL : null);
    connection.takeOver((chunk) => body.read(chunk));
    connection.socket.resume();
    await written;
    assert.equal(await body.digest, flow.hash.digest("hex"));
    assertFlat(await growth());
    connection.write("HTTP/1.1 204 No Content\r\n\r\n");
    await once(socket, "data");
    socket.destroy();
  });
}

/** Hashes a body behind its head, by length or (null) as chunks, however it is cut. */
function bodyHash(length: number | null): { read(chunk: Buffer): void; readonly digest: Promise<string> } {
  const hash = createHash("sha256");
  const { promise, resolve } = Promise.withResolvers<string>();
  let left = length ?? 0;
  let line = "";
  const read = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length) {
      if (left > 0) {
        const take = Math.min(left, chunk.length - at);
        hash.update(chunk.subarray(at, at + take));
        at += take;
        left -= take;
        if (left === 0 && length !== null) resolve(hash.digest("hex"));
        continue;
      }
      const lineEnd = chunk.indexOf(10, at);
      line += chunk.toString("latin1", at, lineEnd < 0 ? chunk.length : lineEnd + 1);
      at = lineEnd < 0 ? chunk.length : lineEnd + 1;
      if (lineEnd < 0 || line === "\r\n") continue;
      left = Number.parseInt(line, 16);
      line = "";
      if (left === 0) resolve(hash.digest("hex"));
    }
  };
  return { read, digest: promise };
}

// rule: RFC 9110, 7.8 | the other side waits, memory stays flat
test("a tunnel waits for the side that does not read", async () => {
  const { vm, host } = await plane.vm();
  const begun = Promise.withResolvers<VmConnection>();
  vm.onHead = (_head, connection) => {
    connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    connection.takeOver(() => {});
    connection.socket.pause();
    begun.resolve(connection);
  };
  const socket = await openPaused();
  const growth = watchGrowth();
  socket.write(getRequest(host, "/", "Connection: Upgrade", "Upgrade: raw"));
  const connection = await begun.promise;
  const down = new Flow(), up = new Flow();
  const written = Promise.all([down.write(connection.socket), up.write(socket)]);
  await stuck(() => down.sent + up.sent);
  assert.ok(down.sent < TOTAL / 2 && up.sent < TOTAL / 2, `${down.sent} and ${up.sent} bytes are on their way`);
  const upBody = bodyHash(TOTAL);
  connection.takeOver((chunk) => upBody.read(chunk));
  connection.socket.resume();
  assert.equal(await hashBody(socket, TOTAL), (await written.then(() => down.hash)).digest("hex"));
  assert.equal(await upBody.digest, up.hash.digest("hex"));
  assertFlat(await growth());
  socket.resetAndDestroy();
});

/** The proxy closes these connections by itself, but not before the client has got everything. */
const LAST_ANSWERS = [
  ["that the client wants to be the last", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"],
  ["to a client of HTTP/1.0", "GET / HTTP/1.0\r\nHost: HOST\r\n\r\n"],
  ["to a request whose body is not complete", "PUT / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1000000000\r\n\r\nbeginning"],
] as const;

// rule: RFC 9112, 9.6 | the connection closes only behind the whole answer
test("the last answer on a connection waits for its client too", async () => {
  await Promise.all(LAST_ANSWERS.map(async ([what, request]) => {
    const { vm, host } = await plane.vm();
    const body = Buffer.alloc(20 * MIB, "answer ");
    vm.onHead = (_head, connection) => {
      connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
      connection.write(body);
    };
    const socket = await openPaused();
    socket.write(request.replace("HOST", host));
    // Almost all of it, at once; the rest only when a connection that lingers after its answer would be gone.
    let received = 0;
    const closed = Promise.withResolvers<void>();
    socket.on("end", closed.resolve);
    socket.on("error", closed.reject);
    socket.on("data", (chunk: Buffer) => {
      const before = received;
      received += chunk.length;
      const brink = body.length - 6 * MIB;
      if (before >= brink || received < brink) return;
      socket.pause();
      void wait(2 * STUCK_MS).then(() => socket.resume());
    });
    socket.resume();
    await closed.promise;
    assert.ok(received > body.length, `An answer ${what} was cut after ${received} bytes`);
    socket.destroy();
  }));
});

// rule: RFC 9112, 9.3.2 | they wait, memory stays flat
test("pipelined requests of a client that reads no answers wait", async () => {
  const { vm, host } = await plane.vm({ script: respond(200, Buffer.alloc(100_000)) });
  const socket = await openPaused();
  const growth = watchGrowth();
  const count = 3000; // 300 MB of answers
  socket.write(getRequest(host).repeat(count));
  await stuck(() => vm.requests.length);
  const answered = vm.requests.length;
  assertFlat(await growth());
  assert.ok(answered < count / 2, `${answered} of ${count} requests were sent to the VM, although nobody reads their answers`);
  let received = 0;
  socket.on("data", (chunk: Buffer) => received += chunk.length);
  socket.resume();
  await vm.until(() => vm.requests.length === count);
  await stuck(() => received);
  assert.ok(received > count * 100_000);
  socket.destroy();
});

// rule: RFC 9112, 9.3.2 | it waits, memory stays flat
test("a client that sends and sends without reading is not read for ever", async () => {
  const { vm, host } = await plane.vm({ script: () => {} });
  await using client = await openRaw(plane.proxy.port, plane.proxy.host);
  const growth = watchGrowth();
  client.send(getRequest(host));
  await vm.until(() => vm.requests.length === 1);
  const flow = new Flow();
  void flow.write(client.socket);
  await stuck(() => flow.sent);
  assert.ok(flow.sent < TOTAL / 2);
  assertFlat(await growth());
  client.reset();
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
