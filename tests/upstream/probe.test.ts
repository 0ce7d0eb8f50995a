import { test } from "node:test";
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { httpProbe, type ProbeResult } from "../../src/upstream/probe.ts";
import { systemTimers } from "../../src/runtime/timers.ts";
import type { HealthPolicy } from "../../src/table/policy.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { freePort } from "../fixtures/ports.ts";
import { HEALTH } from "../fixtures/services.ts";

/** A VM that speaks what it is told to; `closed` resolves once the probe has hung up. */
async function scriptedVm(onRequest: (socket: Socket, request: string) => void, host = "127.0.0.1") {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const server: Server = createServer((socket) => {
    let request = "";
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.on("data", (chunk) => {
      request += chunk.toString("latin1");
      if (request.endsWith("\r\n\r\n")) onRequest(socket, request);
    });
  }).listen(await freePort(host), host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: endpointAt(host, port),
    closed,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

function endpointAt(address: string, port: number): EndpointRecord {
  return { key: `vm/${address}:${port}`, kind: "vm", address, port, region: "eu" };
}

/** Keeps the process alive while only unref'd timers are pending. */
async function probe(endpoint: EndpointRecord, timeoutMs = 30_000, health: HealthPolicy | null = null): Promise<ProbeResult> {
  const keepAlive = setTimeout(() => {}, 60_000);
  const start = httpProbe({ path: "/health?x=1", timeoutMs, version: "1.2.3" }, systemTimers, () => health);
  const result = await new Promise<ProbeResult>((resolve) => start(endpoint, resolve));
  clearTimeout(keepAlive);
  return result;
}

async function probeAnswer(answer: string, end = false): Promise<ProbeResult> {
  await using vm = await scriptedVm((socket) => end ? socket.end(answer, "latin1") : socket.write(answer, "latin1"));
  const result = await probe(vm.endpoint);
  await vm.closed;
  return result;
}

test("httpProbe() sends the request of the contract and hangs up", async () => {
  let seen = "";
  await using vm = await scriptedVm((socket, request) => {
    seen = request;
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  });
  const result = await probe(vm.endpoint);
  assert.deepEqual([result.healthy, result.reason], [true, "status 200"]);
  assert.ok(result.latencyMs >= 0);
  await vm.closed;
  assert.equal(
    seen,
    `GET /health?x=1 HTTP/1.1\r\nHost: 127.0.0.1:${vm.endpoint.port}\r\nUser-Agent: edgeproxy-health/1.2.3\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
  );
});

test("httpProbe() judges 200 to 399 healthy and all else unhealthy", async () => {
  for (
    const [status, healthy] of [[200, true], [204, true], [301, true], [399, true], [400, false], [404, false], [500, false], [
      101,
      false,
    ]] as const
  ) {
    const result = await probeAnswer(`HTTP/1.1 ${status} X\r\nLocation: http://127.0.0.1:1/\r\n\r\n`);
    assert.deepEqual([result.healthy, result.reason], [healthy, `status ${status}`]);
  }
});

test("httpProbe() takes HTTP/1.0, a missing reason and bare line feeds", async () => {
  for (const answer of ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n"]) {
    assert.equal((await probeAnswer(answer)).reason, "status 200");
  }
});

test("httpProbe() skips interim answers, also when bytes come one by one", async () => {
  await using vm = await scriptedVm(async (socket) => {
    socket.setNoDelay(true);
    for (const byte of "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n") {
      if (!socket.destroyed) await new Promise((resolve) => socket.write(byte, resolve));
    }
  });
  assert.equal((await probe(vm.endpoint)).reason, "status 503");
});

test("httpProbe() calls what is not HTTP unhealthy", async () => {
  assert.match((await probeAnswer("SSH-2.0-OpenSSH_9\r\n")).reason, /^not HTTP: "SSH-2.0/);
  assert.match((await probeAnswer("HTTP/1.1 2000 OK\r\n\r\n")).reason, /^not HTTP/);
  assert.match((await probeAnswer("HTTP/2 200\r\n\r\n")).reason, /^not HTTP/);
  assert.equal((await probeAnswer("HTTP/1.1 200 OK\r\nA: b\r\n", true)).reason, "connection closed before an answer");
  assert.equal((await probeAnswer("", true)).reason, "connection closed before an answer");
});

test("httpProbe() reads a bounded head, interim heads included", async () => {
  assert.equal((await probeAnswer("HTTP/1.1 200 OK\r\nA: " + "b".repeat(20_000))).reason, "head larger than 16 KiB");
  assert.equal((await probeAnswer("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000))).reason, "head larger than 16 KiB");
});

test("httpProbe() says that the connection was refused", async () => {
  const vm = await scriptedVm(() => {});
  await vm[Symbol.asyncDispose]();
  const result = await probe(vm.endpoint);
  assert.deepEqual([result.healthy, result.reason], [false, "connection refused"]);
});

test("httpProbe() gives up a VM that accepts and says nothing, and hangs up", async () => {
  await using vm = await scriptedVm(() => {});
  assert.equal((await probe(vm.endpoint, 50)).reason, "no answer within 50ms");
  await vm.closed;
});

test("httpProbe() reports nothing after it was cancelled, and hangs up", async () => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  await using vm = await scriptedVm(() => resolve());
  const cancel = httpProbe({ path: "/", timeoutMs: 30_000, version: "1" }, systemTimers)(
    vm.endpoint,
    () => assert.fail("must not report"),
  );
  await asked;
  cancel();
  cancel();
  await vm.closed;
});

test("httpProbe() brackets an IPv6 address in Host", async () => {
  let seen = "";
  await using vm = await scriptedVm((socket, request) => {
    seen = request;
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
  }, "::1");
  assert.equal((await probe(vm.endpoint)).healthy, true);
  assert.match(seen, /\r\nHost: \[::1\]:\d+\r\n/);
});

test("httpProbe() asks as the service wants: its path, method, fields and statuses", async () => {
  let seen = "";
  await using vm = await scriptedVm((socket, request) => {
    seen = request;
    socket.write("HTTP/1.1 404 Not Found\r\n\r\n");
  });
  const health: HealthPolicy = {
    ...HEALTH,
    path: "/ready?deep=1",
    method: "POST",
    status: [{ from: 204, to: 204 }, { from: 400, to: 404 }],
    headers: [["Host", "app.example.com"], ["X-Probe", "1"]],
  };
  assert.deepEqual(await probe(vm.endpoint, 1, health).then(({ healthy, reason }) => [healthy, reason]), [true, "status 404"]);
  assert.equal(
    seen,
    "POST /ready?deep=1 HTTP/1.1\r\nUser-Agent: edgeproxy-health/1.2.3\r\nAccept: */*\r\nContent-Length: 0\r\n" +
      "Host: app.example.com\r\nX-Probe: 1\r\nConnection: close\r\n\r\n",
  );
  const strict = await probe(vm.endpoint, 1, { ...health, status: [{ from: 200, to: 299 }] });
  assert.deepEqual([strict.healthy, strict.reason], [false, "status 404"]);
});

test("httpProbe() waits as long as the service wants", async () => {
  await using vm = await scriptedVm(() => {});
  assert.equal((await probe(vm.endpoint, 60_000, { ...HEALTH, timeoutMs: 20 })).reason, "no answer within 20ms");
});

test("httpProbe() of a service that wants TCP is content with a connection", async () => {
  let said = false;
  await using vm = await scriptedVm(() => said = true);
  const result = await probe(vm.endpoint, 1, { ...HEALTH, type: "tcp" });
  await vm.closed;
  assert.deepEqual([result.healthy, result.reason, said], [true, "connected", false]);
  assert.equal(
    (await probe(endpointAt("127.0.0.1", await freePort()), 1000, { ...HEALTH, type: "tcp" })).reason,
    "connection refused",
  );
});
