/** The access log of the compiled binary: what it never says, and that nobody waits for its reader (docs/access-log.md). */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessLineProblems } from "../fixtures/access-line.ts";
import type { LogLine } from "../fixtures/edgeproxy.ts";
import { getRequest } from "../fixtures/raw-client.ts";
import { DataPlane, metric, type RoutedVm } from "../fixtures/served-vms.ts";
import { respond, sendRaw } from "../fixtures/vm.ts";

const SECRET = "s3cr3t";
/** A line of it has the target twice. */
const LONG = `/${"p".repeat(8000)}`;
const DROPPED = "edgeproxy_log_lines_dropped_total";

let plane: DataPlane;
let routed: RoutedVm;
before(async () => {
  plane = await DataPlane.start({ EDGEPROXY_ACCESS_LOG: "on", EDGEPROXY_LOG_LEVEL: "debug", EDGEPROXY_HEADER_TIMEOUT: "500ms" });
  routed = await plane.vm();
});
after(() => plane[Symbol.asyncDispose]());

function accessLines(): LogLine[] {
  return plane.proxy.log.filter((line) => line["msg"] === "access");
}

/** What a client may send in the hope that it is written down somewhere; each ends its connection. */
function hostileRequests(host: string): string[] {
  const secret = `Authorization: Bearer ${SECRET}\r\nCookie: session=${SECRET}\r\nProxy-Authorization: Basic ${SECRET}`;
  const head = `Host: ${host}\r\n${secret}\r\nConnection: close\r\n`;
  return [
    `GET / HTTP/1.1\r\n${head}\r\n`,
    `GET http://user:${SECRET}@${host}/x HTTP/1.1\r\n${head}\r\n`,
    `GET http://${SECRET}@${host} HTTP/1.1\r\n${head}\r\n`,
    `CONNECT user:${SECRET}@${host}:443 HTTP/1.1\r\n${head}\r\n`,
    `OPTIONS http:user:${SECRET}@${host} HTTP/1.1\r\n${head}\r\n`,
    `GET / HTTP/1.1\r\nHost: user:${SECRET}@${host}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head} folded: ${SECRET}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}Authorization : ${SECRET}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}Authorization: ${SECRET}\x01\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}Content-Length: ${SECRET}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}Transfer-Encoding: ${SECRET}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}Connection: ${SECRET}\r\nUpgrade: ${SECRET}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}traceparent: ${SECRET}\r\ntracestate: ${SECRET}=${SECRET}\r\nX-Request-Id: ${SECRET}\r\n\r\n`,
    `GET / HTTP/9.9\r\n${head}\r\n`,
    `POST / HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n${SECRET}\r\n`,
    `POST / HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n0\r\nCookie ${SECRET}\r\n\r\n`,
    `POST / HTTP/1.1\r\n${head}Content-Length: 6\r\n\r\n${SECRET}`,
    `GET / HTTP/1.1\r\n${head}X: ${SECRET.repeat(6000)}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}${`C: ${SECRET}\r\n`.repeat(130)}\r\n`,
    `GET / HTTP/1.1\r\n${head}`, // and no more of it
  ];
}

test("no field of a request or an answer is ever logged, nor a user in a target, however malformed", async () => {
  const { vm, host } = routed;
  const answers = [
    respond(200, SECRET, `Set-Cookie: session=${SECRET}`, `WWW-Authenticate: ${SECRET}`, "Connection: close"),
    sendRaw(`HTTP/1.1 200 OK\r\nSet-Cookie ${SECRET}\r\n\r\n`, "end"),
    sendRaw(`${SECRET} 200 OK\r\n\r\n`, "end"),
    sendRaw(`HTTP/1.1 200 OK\r\nContent-Length: ${SECRET}\r\n\r\n`, "end"),
    sendRaw(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${SECRET}\r\n`, "end"),
  ];
  const before = accessLines().length;
  let sent = 0;
  for (const script of answers) {
    vm.script = script;
    for (const request of hostileRequests(host)) {
      await using client = await plane.open();
      client.send(request);
      await client.ended;
      sent++;
    }
  }
  const { proxy } = plane;
  await proxy.waitFor(() => Promise.resolve(accessLines().length - before === sent), `did not write ${sent} lines`);
  assert.deepEqual(accessLines().flatMap((line) => accessLineProblems(line)), []);
  const found = proxy.output.split("\n").filter((line) => line.includes(SECRET.slice(0, 5)));
  assert.deepEqual(found, []);
  assert.ok(accessLines().some((line) => line["target"] === `http://***@${host}/x`), "masked, not missing");
});

test("nobody waits for a reader of standard output that stands still; lines are dropped and counted", async () => {
  const { vm, host } = routed;
  const { proxy } = plane;
  vm.script = respond(200, "ok");
  const seen = new Set(accessLines().map((line) => line["request_id"]));
  const droppedBefore = await metric(proxy, DROPPED);
  proxy.pauseOutput();
  await using client = await plane.open();
  let requests = 0;
  while (await metric(proxy, DROPPED) === droppedBefore) {
    assert.ok(requests < 20_000, "never full");
    for (let i = 0; i < 100; i++, requests++) {
      client.send(getRequest(host, LONG));
      assert.equal((await client.readResponse()).status, 200);
    }
  }
  proxy.resumeOutput();
  const admitted = (): number =>
    proxy.log.filter((line) => line["msg"] === "log lines dropped").reduce((sum, line) => sum + Number(line["lines"]), 0);
  // Owned up to when all that was kept has been read
  await proxy.waitFor(async () => admitted() === await metric(proxy, DROPPED) - droppedBefore, "did not own up to all");
  client.send(getRequest(host, "/last"));
  await client.readResponse();
  requests++;
  await proxy.waitForLog((line) => line["target"] === "/last");
  const written = accessLines().filter((line) => !seen.has(line["request_id"])).length;
  // A line of another log may be among those that were dropped
  assert.ok(
    written < requests && written + admitted() >= requests,
    `${written} written, ${admitted()} dropped, ${requests} requests`,
  );
});
