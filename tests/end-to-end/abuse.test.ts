/*  Clients and VMs that mean harm or are merely broken, in numbers: what they cost is bounded, the others are served meanwhile, and
 *  nothing is left when they have gone.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { postRequest } from "../fixtures/platform.ts";
import { getRequest, openRaw, rawRequest } from "../fixtures/raw-client.ts";
import { residentBytes } from "../fixtures/processes.ts";
import { DataPlane, metric, ONE_PROCESS, settled } from "../fixtures/served-vms.ts";
import { startSlowReader } from "../fixtures/slow-reader.ts";
import { respond, type VmConnection, type VmScript } from "../fixtures/vm.ts";

const MIB = 2 ** 20;

let plane: DataPlane;
before(async () => plane = await DataPlane.start(ONE_PROCESS));
after(() => plane[Symbol.asyncDispose]());

async function assertServed(host: string, proxy: Edgeproxy = plane.proxy): Promise<void> {
  assert.equal((await rawRequest(proxy.port, getRequest(host), proxy.host)).status, 200);
}

/** Takes one chunk of what has come (half a MiB at most), then nothing for a while, again and again; what it has taken so far. */
function crawl(socket: Socket, everyMs: number): { taken: number; stop(): void } {
  const crawling = { taken: 0, stop: (): void => clearInterval(timer) };
  socket.pause();
  socket.removeAllListeners("data");
  socket.on("data", (chunk: Buffer) => {
    crawling.taken += chunk.length;
    socket.pause();
  });
  const timer = setInterval(() => socket.resume(), everyMs);
  return crawling;
}

/** Offers a GiB at the pace of the socket; how much of it has left. */
function offerGiB(socket: Socket): { sent: number } {
  const offer = { sent: 0 };
  const block = Buffer.alloc(MIB);
  const next = (): void => {
    if (offer.sent >= 2 ** 30) return;
    socket.write(block, () => {
      offer.sent += MIB;
      next();
    });
  };
  next();
  return offer;
}

/** How much the proxy's memory has grown at the most, seen for twelve seconds. */
async function growthBytes(proxy: Edgeproxy, before: number): Promise<number> {
  let most = 0;
  for (let i = 0; i < 120; i++) {
    await wait(100);
    most = Math.max(most, residentBytes(proxy.pid));
  }
  return most - before;
}

// rule: RFC 9112, 9.3 | the sender waits, memory stays flat
test("a GiB to a client that takes 10 KiB a second, and one to a slow VM: the proxy stays flat, and holds the sender back", async () => {
  await using proxy = await plane.another(ONE_PROCESS);
  const { vm, host } = await plane.vm();
  await assertServed(host, proxy);
  const before = residentBytes(proxy.pid);
  const sending = Promise.withResolvers<VmConnection>(), taking = Promise.withResolvers<VmConnection>();
  vm.onHead = (head, connection) => {
    if (head.startLine.startsWith("PUT")) connection.takeOver(() => {});
    else connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 30}\r\n\r\n`);
    (head.startLine.startsWith("PUT") ? taking : sending).resolve(connection);
  };
  vm.script = () => {};
  const bytesPerSecond = 10 * 1024, startedAtMs = performance.now();
  await using reader = startSlowReader({ host: proxy.host, port: proxy.port, request: getRequest(host), bytesPerSecond });
  await using writer = await openRaw(proxy.port, proxy.host);
  writer.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${2 ** 30}\r\n\r\n`);
  const slowVm = crawl((await taking.promise).socket, 5000);
  const offers = [offerGiB((await sending.promise).socket), offerGiB(writer.socket)];
  const growth = await growthBytes(proxy, before);
  const most = bytesPerSecond * (1 + (performance.now() - startedAtMs) / 1000);
  assert.ok(growth < 16 * MIB, `The proxy has grown by ${Math.round(growth / MIB)} MiB`);
  // What the kernel holds on the way, both sides
  for (const { sent } of offers) assert.ok(sent < 24 * MIB, `${sent} bytes were taken from the sender`);
  assert.ok(reader.taken > 3 * bytesPerSecond && reader.taken <= most, `The client has taken ${reader.taken} bytes`);
  assert.ok(slowVm.taken > 0, "it went on");
  await vm.until(() => vm.open <= 2); // a probe may be under way
  assert.ok(!reader.ended && !writer.socket.destroyed && vm.open === 2);
  slowVm.stop();
  writer.reset();
  await reader[Symbol.asyncDispose]();
  vm.resetConnections();
  await settled(proxy);
});

// ---- broken off anywhere

/** Every message of these is cut at an offset of its own. */
const requestsOf = (host: string): string[] => [
  getRequest(host, "/cut", "X-A: b"),
  postRequest(host, "body of a known length", "/cut"),
  `POST /cut HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n`,
  getRequest(host, "/cut").repeat(3),
  `POST /cut HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody`,
];

// rule: RFC 9112, 9.5 | nothing is left of them
test("clients that reset at every offset of their request leave nothing behind", async () => {
  const { vm, host } = await plane.vm();
  await assertServed(host);
  for (const request of requestsOf(host)) {
    for (let from = 0; from <= request.length; from += 50) {
      await Promise.all(Array.from({ length: Math.min(50, request.length + 1 - from) }, async (_, index) => {
        await using client = await plane.open();
        client.send(request.slice(0, from + index));
        // At once, or when the proxy has most likely read it
        if (index % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        client.reset();
      }));
    }
  }
  await settled(plane.proxy);
  await vm.until(() => vm.open <= 64);
  await assertServed(host);
});

/** Complete with their last byte only. */
const ANSWERS: readonly string[] = [
  "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
];

for (const how of ["end", "reset"] as const) {
  // rule: RFC 9112, 8 | `502`, an abort or the whole answer
  test(`VMs that break off (${how}) at every offset of their answer: 502, an abort or the whole answer, never part of one`, async () => {
    const { vm, host } = await plane.vm();
    vm.script = ({ target }, connection) => {
      const [, answer = 0, offset = 0] = target.split("/").map(Number);
      connection.write(ANSWERS[answer]!.slice(0, offset));
      connection[how]();
    };
    const outcome = async (answer: number, offset: number): Promise<string> => {
      await using client = await plane.open();
      client.send(`POST /${answer}/${offset} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`);
      try {
        const response = await client.readResponse();
        return `${response.status} ${response.status === 200 ? response.body : fieldValue(response, "x-edgeproxy-error")}`;
      } catch {
        return await client.ended;
      }
    };
    for (const [index, answer] of ANSWERS.entries()) {
      const offsets = Array.from({ length: answer.length + 1 }, (_, offset) => offset);
      const outcomes = await Promise.all(offsets.map((offset) => outcome(index, offset)));
      const headEnd = answer.lastIndexOf("\r\n\r\n", answer.indexOf("hello")) + 4;
      const wrong = outcomes.filter((got, offset) => {
        const right = offset < headEnd ? "502 upstream_reset" : offset < answer.length ? "reset" : "200 hello world";
        // Bytes right before a reset may be lost with it, so the outcomes of smaller offsets are right too
        const alsoRight = how === "end" ? [] : ["502 upstream_reset", ...(offset < headEnd ? [] : ["reset"])];
        return got !== right && !alsoRight.includes(got);
      });
      assert.deepEqual(wrong, [], answer);
    }
    assert.equal(vm.requests.length, ANSWERS.reduce((sum, { length }) => sum + length + 1, 0), "none was sent twice");
    await settled(plane.proxy);
  });
}

// rule: RFC 9112, 9.5 | VM connection never used again, the others kept
test("clients that reset anywhere in an answer take its connection with them, and no other", async () => {
  const size = 200_000;
  const { vm, host } = await plane.vm({ script: respond(200, Buffer.alloc(size, "x")) });
  for (let round = 0; round < 20; round++) {
    const whole = rawRequest(plane.proxy.port, getRequest(host));
    await Promise.all(Array.from({ length: 20 }, async (_, index) => {
      await using client = await plane.open();
      client.send(getRequest(host));
      await client.readBytes(Math.round((round * 20 + index) / 400 * size));
      client.reset();
    }));
    assert.equal((await whole).body.length, size);
  }
  await settled(plane.proxy);
  await vm.until(() => vm.open <= 21);
});

// ---- keep-alive races

for (const how of ["FIN", "RST"] as const) {
  // rule: RFC 9110, 9.2.2 | GET is sent again, POST never
  test(`a VM that closes idle connections (${how}) just as a request leaves: no GET fails, no POST runs twice`, async () => {
    const { vm, host } = await plane.vm();
    const runs: Map<string, number> = new Map();
    let answered = 0;
    vm.script = (request, connection) => {
      runs.set(request.target, (runs.get(request.target) ?? 0) + 1);
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      // After every delay from none to 1.5 ms, one after the other; a server that closes does not read any more
      const closesAtMs = performance.now() + (answered++ % 150) / 100;
      const close = (): void => {
        if (performance.now() < closesAtMs) setImmediate(close);
        else if (how === "FIN") connection.socket.destroy();
        else connection.reset();
      };
      close();
    };
    const repeated = () => metric(plane.proxy, 'edgeproxy_upstream_retries_total{reason="stale_connection"}');
    const repeatedBefore = await repeated();
    const failures: string[] = [];
    const client = async (name: string): Promise<void> => {
      await using connection = await plane.open();
      for (let index = 0; index < 300; index++) {
        const target = `/${name}/${index}`;
        const isGet = index % 2 === 0;
        connection.send(isGet ? getRequest(host, target) : postRequest(host, "once", target));
        const { status } = await connection.readResponse();
        if (status !== 200 && (isGet || status !== 502)) failures.push(`${isGet ? "GET" : "POST"} ${status}`);
      }
    };
    let isMet = false; // the race
    for (let round = 0; round < 10 && !isMet; round++) {
      await Promise.all(["a", "b", "c", "d"].map((name) => client(`${name}${round}`)));
      isMet = await repeated() > repeatedBefore;
    }
    assert.deepEqual(failures, []);
    assert.deepEqual([...runs].filter(([target, times]) => times > 1 && Number(target.split("/")[2]) % 2 === 1), []);
    assert.ok(isMet, "the race was met at all");
    await settled(plane.proxy);
  });
}

// ---- odd but right

// rule: RFC 9112, 2.2 | relayed, VM connection kept
test("an answer that comes byte by byte is the same answer, and its connection is used again", async () => {
  const { vm, host } = await plane.vm();
  const script: VmScript = async ({ target }, connection) => {
    for (const byte of ANSWERS[Number(target.slice(1))]!) {
      connection.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  vm.script = script;
  await using client = await plane.open();
  for (const index of ANSWERS.keys()) {
    client.send(getRequest(host, `/${index}`, "TE: trailers", "Connection: TE"));
    const response = await client.readResponse();
    assert.deepEqual([response.status, response.body.toString()], [200, "hello world"]);
    assert.equal(response.interim.length, index === 2 ? 1 : 0);
    assert.equal(response.trailers.length, index === 1 ? 1 : 0);
  }
  assert.equal(vm.transcripts.length, 1);
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
