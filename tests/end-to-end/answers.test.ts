/** Contract section 8, row by row: what the proxy answers itself, in which form, and with which fields. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { fieldValue, fieldValues } from "../fixtures/http1.ts";
import { get, Platform, postRequest, send } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, rawRequest, type RawResponse } from "../fixtures/raw-client.ts";
import { hang, resetConnection, respond, sendRaw } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";

/** An own answer as plain text: everything that every such answer has. */
function assertAnswer(response: RawResponse, status: number, code: string, text: string): void {
  assert.equal(`${response.status} ${response.body.toString()}`, `${status} ${text}`);
  assert.equal(fieldValue(response, "x-edgeproxy-error"), code);
  assert.match(fieldValue(response, "x-request-id") ?? "", /^[0-9a-f]{32}$/);
  assert.match(fieldValue(response, "content-type") ?? "", /^text\/plain\b/);
  assert.equal(fieldValue(response, "content-length"), String(Buffer.byteLength(text)));
  assert.equal(fieldValue(response, "retry-after"), code === "no_table" ? "1" : undefined);
  const names = response.fields.map(([name]) => name.toLowerCase());
  assert.deepEqual(names, [...new Set(names)], "no field twice");
}

// rule: RFC 9110, 15.5.5 | `404 no_route`
test("edgeproxy answers 404 Service Not Found when there is no route", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  assertAnswer(await get(edge, HOST), 404, "no_route", "Service Not Found");
});

// rule: RFC 9110, 15.6.4 | `503 vm_unhealthy`
test("edgeproxy answers 503 Service Unavailable - VM not responding when the VM is unhealthy", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST, { healthStatus: 500 });
  const edge = await platform.edge();
  assertAnswer(await get(edge, HOST), 503, "vm_unhealthy", "Service Unavailable - VM not responding");
});

// rule: RFC 9110, 15.6.4; RFC 9110, 10.2.3 | `503 no_table`
test("edgeproxy answers 503 and Retry-After: 1 when no table is loaded yet", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({}, { database: `postgres://127.0.0.1:${await freePort()}/none`, ready: false });
  await edge.waitForLog((line) => line["msg"] === "admin listening");
  assertAnswer(await get(edge, HOST), 503, "no_table", "Service Unavailable");
});

// rule: RFC 9110, 15.6.3 | `502 connect_failed`
test("edgeproxy answers 502 Bad Gateway when the other region refuses connections", async () => {
  await using platform = await Platform.start(server);
  await platform.route(HOST, { address: "10.99.0.1", port: 80, region: await platform.addRegion() });
  const edge = await platform.edge();
  assertAnswer(await get(edge, HOST), 502, "connect_failed", "Bad Gateway");
});

// rule: RFC 9110, 15.6.3 | `502 connect_timeout`
test("edgeproxy answers 502 Bad Gateway when the other region does not accept the connection in time", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await platform.route(HOST, { address: "10.99.0.1", port: 80, region: there });
  await using _blackHole = await listenWithoutAccepting(there.address, platform.edgePort);
  const edge = await platform.edge({ EDGEPROXY_CONNECT_TIMEOUT: "200ms" });
  assertAnswer(await get(edge, HOST), 502, "connect_timeout", "Bad Gateway");
});

// rule: RFC 9110, 15.6.3 | `502 upstream_reset`
test("edgeproxy answers 502 Bad Gateway when the VM breaks the connection before it answers", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST, { script: resetConnection() });
  const edge = await platform.edge();
  assertAnswer(await get(edge, HOST), 502, "upstream_reset", "Bad Gateway");
  vm.script = sendRaw("HTTP/1.1 200 OK\r\nContent-Le", "end");
  assertAnswer(await get(edge, HOST), 502, "upstream_reset", "Bad Gateway");
});

// rule: RFC 9110, 15.6.3 | `502 upstream_protocol`
test("edgeproxy answers 502 Bad Gateway when the VM's answer is malformed", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge();
  const answers = [
    "SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/1.1 20x OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
  ];
  for (const answer of answers) {
    vm.script = sendRaw(answer, "end");
    assertAnswer(await get(edge, HOST), 502, "upstream_protocol", "Bad Gateway");
  }
});

// rule: RFC 9110, 15.6.5 | `504 response_timeout`
test("edgeproxy answers 504 Gateway Timeout when the VM is too slow", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST, { script: hang() });
  const edge = await platform.edge({ EDGEPROXY_RESPONSE_TIMEOUT: "1s" });
  assertAnswer(await get(edge, HOST), 504, "response_timeout", "Gateway Timeout");
  vm.script = respond(200, "quick");
  assert.equal((await get(edge, HOST)).status, 200, "a slow answer does not make the VM unhealthy");
});

// rule: RFC 9110, 15.5.1 | `400 bad_request`, client connection closed, nothing reaches the VM
test("edgeproxy answers 400 Bad Request when the request is malformed, and closes", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge();
  const requests = [
    "nonsense\r\n\r\n",
    `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX A: b\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-A : b\r\n\r\n`,
    `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: -1\r\n\r\n`,
  ];
  for (const request of requests) {
    await using connection = await openRaw(edge.port, edge.host);
    connection.send(request);
    const response = await connection.readResponse();
    assertAnswer(response, 400, "bad_request", "Bad Request");
    assert.equal(fieldValue(response, "connection"), "close");
    await connection.ended;
  }
  assert.equal(vm.requests.length, 0);
});

// rule: RFC 9110, 15.5; RFC 6585, 5 | `431 head_too_large`, `414 target_too_long`, `413 body_too_large`, `408 head_timeout`, `501 unsupported_coding`
test("edgeproxy answers 431, 414, 413, 408 and 501 when a request is too large, too slow or oddly coded", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge({
    EDGEPROXY_MAX_HEADER_SIZE: "16KiB",
    EDGEPROXY_MAX_BODY_SIZE: "1000B",
    EDGEPROXY_HEADER_TIMEOUT: "2s", // clients that are only slow to begin have time
  });
  const large = getRequest(HOST, "/", `X-Large: ${"x".repeat(17_000)}`);
  assertAnswer(await send(edge, large), 431, "head_too_large", "Request Header Fields Too Large");
  assertAnswer(await get(edge, HOST, `/${"x".repeat(9000)}`), 414, "target_too_long", "URI Too Long");
  assertAnswer(await send(edge, postRequest(HOST, "x".repeat(1001))), 413, "body_too_large", "Content Too Large");
  assert.equal((await send(edge, postRequest(HOST, "x".repeat(1000)))).status, 200);
  assertAnswer(await send(edge, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n`), 408, "head_timeout", "Request Timeout");
  const gzipped = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`;
  assertAnswer(await send(edge, gzipped), 501, "unsupported_coding", "Not Implemented");
});

// rule: RFC 5842, 7.2; RFC 9110, 7.6.3 | `508 loop`
test("edgeproxy answers 508 Loop Detected when a request comes back", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge();
  assertAnswer(await get(edge, HOST, "/", `Via: 1.1 edgeproxy-${platform.region.id}`), 508, "loop", "Loop Detected");
});

// rule: RFC 9110, 12.5.1 | `text/html`, `application/json` or text, as Accept says
test("edgeproxy answers with a page to those who ask for HTML, JSON to those who ask for it, text to all others", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  const asked = async (accept: string): Promise<RawResponse> => await get(edge, HOST, "/", `Accept: ${accept}`);
  for (
    const accept of [
      "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
      "TEXT/HTML",
      "application/json;q=0.5, text/html",
    ]
  ) {
    const page = await asked(accept);
    const id = fieldValue(page, "x-request-id") ?? "absent";
    assert.match(fieldValue(page, "content-type") ?? "", /^text\/html; charset=utf-8$/);
    assert.match(page.body.toString(), /^<!doctype html>/i);
    assert.ok(page.body.includes("Service Not Found") && page.body.includes(id) && page.body.includes("no_route"));
    assert.equal(fieldValue(page, "x-edgeproxy-error"), "no_route");
  }
  for (const accept of ["application/json", "application/json, text/plain, */*", "text/html;q=0.1, application/json;q=0.2"]) {
    const json = await asked(accept);
    assert.match(fieldValue(json, "content-type") ?? "", /^application\/json\b/);
    assert.deepEqual(JSON.parse(json.body.toString()), {
      error: "no_route",
      message: "Service Not Found",
      request_id: fieldValue(json, "x-request-id"),
    });
  }
  for (const accept of ["*/*", "text/plain", "image/*", "text/html;q=0", "text/*"]) {
    assertAnswer(await asked(accept), 404, "no_route", "Service Not Found");
  }
});

// rule: RFC 9110, 9.3.2 | no body
test("edgeproxy answers HEAD with the fields of GET and no body", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  for (const accept of ["*/*", "text/html", "application/json"]) {
    await using connection = await openRaw(edge.port, edge.host);
    connection.send(getRequest(HOST, "/", `Accept: ${accept}`));
    const toGet = await connection.readResponse();
    connection.send(getRequest(HOST, "/", `Accept: ${accept}`).replace("GET", "HEAD"));
    const toHead = await connection.readResponse({ toHead: true });
    for (const name of ["content-type", "content-length", "x-edgeproxy-error"]) {
      assert.deepEqual(fieldValues(toHead, name), fieldValues(toGet, name), name);
    }
    assert.equal(toHead.status, 404);
    // A body would be in the way of the next answer.
    connection.send(getRequest(HOST));
    assertAnswer(await connection.readResponse(), 404, "no_route", "Service Not Found");
  }
});

test("edgeproxy gives each of its answers a new X-Request-Id, a trusted peer's own", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_TRUSTED_PROXIES: "127.0.0.9" });
  const request = getRequest(HOST, "/", "X-Request-Id: given-by-the-client");
  const ids = await Promise.all(Array.from({ length: 20 }, async () => fieldValue(await send(edge, request), "x-request-id")));
  assert.equal(new Set(ids).size, 20);
  assert.ok(!ids.includes("given-by-the-client"));
  const trusted = await rawRequest(edge.port, request, edge.host, "127.0.0.9");
  assert.equal(fieldValue(trusted, "x-request-id"), "given-by-the-client");
  const harmful = getRequest(HOST, "/", 'X-Request-Id: "><script>', "Accept: text/html");
  const page = await rawRequest(edge.port, harmful, edge.host, "127.0.0.9");
  assert.ok(!page.body.includes("<script>"), "what is shown in a page is safe");
});

/**
 * A stopped process whose queue of connections is full: packets that ask for one more are dropped, as by a firewall.
 * Node.js, because Bun does not listen with the backlog it is given.
 */
async function listenWithoutAccepting(host: string, port: number): Promise<AsyncDisposable> {
  const program = `require("node:net").createServer().listen({host:"${host}",port:${port},backlog:1},()=>console.log("listening"))`;
  const child = spawn("node", ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGSTOP");
  const queued = Array.from({ length: 8 }, () => connect({ host, port }).on("error", () => {}));
  // A backlog of one holds two.
  await Promise.all(queued.slice(0, 2).map((socket) => once(socket, "connect")));
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of queued) socket.destroy();
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
