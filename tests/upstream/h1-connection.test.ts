/** The connection to an endpoint: when it may be used again, when a request may be sent again, who waits for whom. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics } from "../../src/observation/metrics.ts";
import type { ProxyError } from "../../src/observation/proxy-error.ts";
import { Sweep } from "../../src/runtime/clock.ts";
import { ConnectionLimit } from "../../src/upstream/connection-limit.ts";
import { Endpoints, type EndpointState } from "../../src/upstream/endpoint-state.ts";
import { H1UpstreamConnection } from "../../src/upstream/h1-connection.ts";
import { Pool } from "../../src/upstream/pool.ts";
import type { ResponseSink } from "../../src/upstream/response-sink.ts";
import { CHUNKED, UNTIL_CLOSE } from "../../src/wire/h1/framing.ts";
import type { ResponseHead } from "../../src/wire/h1/message-head.ts";
import { type ClosingStyle, MemorySocket, Network } from "../fixtures/memory-socket.ts";
import { HEAD_LIMITS } from "../fixtures/heads.ts";
import { vm } from "../fixtures/records.ts";

/** One connection, and what its sink is told. */
class Upstream implements ResponseSink, Disposable {
  readonly network: Network;
  readonly socket: MemorySocket;
  readonly endpoint: EndpointState;
  readonly connection: H1UpstreamConnection;
  readonly sweep: Sweep = new Sweep();
  readonly metrics: Metrics = new Metrics();
  readonly endpoints: Endpoints = new Endpoints({ wanted() {}, failed() {} });
  told: string[] = [];
  error: ProxyError | null = null;

  constructor(style: ClosingStyle = "at once") {
    this.network = new Network(style);
    this.socket = new MemorySocket(this.network, "10.0.0.1");
    this.endpoint = this.endpoints.of(vm("10.0.0.1"));
    this.connection = new H1UpstreamConnection(this.socket, this.endpoint, this);
    this.socket.handler = this.connection;
  }

  readonly limits = HEAD_LIMITS;
  readonly connections: ConnectionLimit = new ConnectionLimit(Infinity);

  get idle(): boolean {
    return this.endpoint.idle.includes(this.connection);
  }

  /** Begins an exchange without a body. */
  ask(method = "GET", offered: readonly string[] | null = null): void {
    const at = this.endpoint.idle.indexOf(this.connection);
    if (at >= 0) this.endpoint.idle.splice(at, 1);
    this.told = [];
    this.connection.begin(this, method, 0, offered);
    this.connection.out.open().text(`${method} / HTTP/1.1\r\n\r\n`);
    this.connection.endRequest(null, this.sweep.nowMs + 1000);
    this.connection.out.flush();
  }

  say(text: string): void {
    this.socket.send(Buffer.from(text, "latin1"));
    this.network.settle();
  }

  onInformational = (head: { status: number }): void => void this.told.push(`informational ${head.status}`);
  onHead = (head: ResponseHead, length: number): void => void this.told.push(`head ${head.status} ${length}`);
  onBody = (chunk: Buffer): void => void this.told.push(`body ${chunk.toString("latin1")}`);
  onEnd = (): void => void this.told.push("end");
  onReadPause = (): void => {};
  onRequestProgress = (): void => void this.told.push("progress");
  onRequestDrain = (): void => void this.told.push("drain");
  onFailure = (error: ProxyError): void => {
    this.error = error;
    this.told.push(`failure ${error.code} ${error.retry}`);
  };

  [Symbol.dispose](): void {
    this.sweep.close();
  }
}

test("H1UpstreamConnection rests in the pool after a clean answer, and carries the next exchange", () => {
  using u = new Upstream();
  for (let exchange = 0; exchange < 3; exchange++) {
    u.ask();
    u.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert.deepEqual(u.told, ["head 200 2", "body ok", "end"]);
    assert.deepEqual([u.idle, u.connection.uses, u.socket.state], [true, exchange, "open"]);
  }
});

test("H1UpstreamConnection holds no receive buffer while it rests", () => {
  using u = new Upstream();
  for (
    const body of [
      `Content-Length: 100000\r\n\r\n${"x".repeat(100_000)}`,
      "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n",
    ]
  ) {
    let head: ResponseHead | null = null;
    u.ask();
    u.onHead = (given) => void (head = given);
    u.say(`HTTP/1.1 200 OK\r\n${body}`);
    assert.equal(u.idle, true);
    assert.equal(head!.fields.bytes.length, 0);
  }
});

const NOT_AGAIN: Readonly<Record<string, string>> = {
  "says close": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
  "says close among other options": "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 0\r\n\r\n",
  "is HTTP/1.0": "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  "is longer than it should be": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx",
  "has more behind its last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
};

for (const [what, answer] of Object.entries(NOT_AGAIN)) {
  test(`H1UpstreamConnection is never used again when the answer ${what}`, () => {
    using u = new Upstream();
    u.ask();
    u.say(answer);
    assert.equal(u.told.at(-1), "end", "the answer itself is whole");
    assert.deepEqual([u.idle, u.socket.state], [false, "closed"]);
    assert.equal(u.metrics.upstreamOpen, 0);
  });
}

test("H1UpstreamConnection of HTTP/1.0 is used again when it says keep-alive", () => {
  using u = new Upstream();
  u.ask();
  u.say("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n");
  assert.equal(u.idle, true);
});

test("H1UpstreamConnection is not used again when some of the request may be left in it, or for an endpoint without routes", () => {
  using early = new Upstream();
  early.connection.begin(early, "POST", CHUNKED, null);
  early.say("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
  assert.deepEqual([early.told, early.idle, early.socket.state], [["head 413 0", "end"], false, "closed"]);

  for (const method of ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "POST", "PUT", "REPORT"]) {
    using u = new Upstream();
    u.connection.begin(u, method, 4, null);
    u.connection.out.sendBody(Buffer.from("body"));
    u.connection.endRequest(null, u.sweep.nowMs + 1000);
    u.say("HTTP/1.1 204 No Content\r\n\r\n");
    assert.equal(u.idle, ["POST", "PUT", "REPORT"].includes(method), method); // others leave such a body unread
  }

  using orphan = new Upstream();
  orphan.ask();
  orphan.endpoints.forget([orphan.endpoint.record.key]);
  orphan.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  assert.deepEqual([orphan.told, orphan.socket.state], [["head 200 0", "end"], "closed"]);
});

test("H1UpstreamConnection lets a request be sent again only when reused and without a byte of an answer", () => {
  using u = new Upstream();
  u.ask();
  u.socket.abort();
  assert.deepEqual(u.told, ["failure upstream_reset never"]);

  using reused = new Upstream();
  reused.ask();
  reused.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  reused.ask();
  reused.socket.finish();
  assert.deepEqual(reused.told, ["failure upstream_reset if-reused"]);

  using begun = new Upstream();
  begun.ask();
  begun.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  begun.ask();
  begun.say("H");
  begun.socket.finish();
  assert.deepEqual(begun.told, ["failure upstream_reset never"]);
});

test("H1UpstreamConnection tells of failures once, and nothing after them", () => {
  for (const style of ["at once", "later"] as const) {
    using u = new Upstream(style);
    u.ask();
    u.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokxx0\r\n\r\n");
    u.say("2\r\nok\r\n0\r\n\r\n");
    u.socket.finish();
    u.network.settle();
    assert.deepEqual(u.told, ["head 200 -1", "body ok", "failure upstream_protocol never"]);
    assert.match(u.error!.message, /^The endpoint's answer is malformed: /);
    assert.deepEqual([u.socket.state, u.metrics.upstreamOpen], ["closed", 0]);
  }
});

test("H1UpstreamConnection bounds the informational answers", () => {
  using u = new Upstream();
  u.ask();
  u.say("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(16));
  assert.deepEqual(u.told, Array.from({ length: 16 }, () => "informational 103"));
  u.say("HTTP/1.1 103 Early Hints\r\n\r\n");
  assert.equal(u.told.at(-1), "failure upstream_protocol never");
});

test("H1UpstreamConnection bounds the head", () => {
  using u = new Upstream();
  u.ask();
  u.say("HTTP/1.1 200 OK\r\n");
  for (let line = 0; line < 40 && u.error === null; line++) u.say(`X: ${"x".repeat(1000)}\r\n`);
  assert.equal(u.told.at(-1), "failure upstream_protocol never");
});

test("H1UpstreamConnection gives up at the deadline of the answer, counted from the end of the request", () => {
  using u = new Upstream();
  u.connection.begin(u, "POST", 5, null);
  u.connection.out.sendBody(Buffer.from("hello"));
  assert.equal(u.connection.deadlineAtMs, Infinity);
  u.connection.endRequest(null, 1234);
  assert.equal(u.connection.deadlineAtMs, 1234);
  u.connection.onDeadline();
  assert.deepEqual([u.told, u.socket.state], [["failure response_timeout never"], "closed"]);
});

test("H1UpstreamConnection has no deadline once the answer has begun", () => {
  using u = new Upstream();
  u.ask();
  u.say("HTTP/1.1 200 OK\r\n\r\n");
  assert.deepEqual([u.told, u.connection.deadlineAtMs], [[`head 200 ${UNTIL_CLOSE}`], Infinity]);
});

test("H1UpstreamConnection leaves the pool at once when it closes, also where the socket says so later", () => {
  const ends: Readonly<Record<string, (u: Upstream) => void>> = {
    "idle for too long": (u) => u.connection.onDeadline(),
    "ended by the endpoint": (u) => u.socket.finish(),
    "bytes that nobody asked for": (u) => u.socket.send(Buffer.from("x")),
  };
  for (const [why, end] of Object.entries(ends)) {
    using u = new Upstream("later");
    u.ask();
    u.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert.ok(u.idle);
    end(u);
    assert.equal(new Pool(u, 1000).take(u.endpoint), null, why);
    u.network.settle();
    assert.equal(u.metrics.upstreamOpen, 0);
  }
});

test("Pool.take() gives the connection used last", () => {
  using u = new Upstream();
  const connections = Array.from(
    { length: 3 },
    () => new H1UpstreamConnection(new MemorySocket(u.network, "10.0.0.1"), u.endpoint, u),
  );
  u.endpoint.idle.push(...connections);
  const pool = new Pool(u, 1000);
  assert.deepEqual([pool.take(u.endpoint), pool.take(u.endpoint)], [connections[2], connections[1]]);
  assert.equal(u.metrics.upstreamReuses, 2);
});

test("H1UpstreamConnection waits for who reads, and goes on reading when it rests", () => {
  using u = new Upstream();
  u.ask();
  u.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
  u.connection.pause();
  u.say("cd");
  assert.deepEqual(u.told, ["head 200 4", "body ab"]);
  u.connection.resume();
  u.network.settle();
  assert.deepEqual(u.told, ["head 200 4", "body ab", "body cd", "end"]);

  u.ask();
  u.onBody = () => u.connection.pause();
  u.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  assert.deepEqual([u.idle, u.socket.paused], [true, false]);
});

test("H1UpstreamConnection does not let the head of an answer hold its buffer while the body is under way", () => {
  const answers: Readonly<Record<string, string>> = {
    length: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwait",
    chunked: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n",
    "until the end": "HTTP/1.1 200 OK\r\n\r\nwait",
    informational: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    tunnel: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nwait",
  };
  for (const [what, answer] of Object.entries(answers)) {
    using u = new Upstream();
    let head: { fields: { bytes: Buffer } } | undefined;
    u.onHead = (given) => void (head = given);
    u.onInformational = (given) => void (head = given as unknown as ResponseHead);
    u.ask("GET", ["x"]);
    u.say(answer);
    assert.equal(head!.fields.bytes.length, 0, what);
  }
});

test("H1UpstreamConnection says when a request must wait, and when it may go on", () => {
  using u = new Upstream();
  u.socket.stall();
  u.connection.begin(u, "POST", CHUNKED, null);
  assert.equal(u.connection.out.sendBody(Buffer.alloc(20_000, "x")), false);
  u.socket.takeSome(5000);
  u.socket.drain();
  assert.deepEqual(u.told, ["progress", "drain"]);
  u.connection.endRequest(null, Infinity);
  u.connection.out.flush();
  assert.equal(u.socket.take().toString(), `4e20\r\n${"x".repeat(20_000)}\r\n0\r\n\r\n`);
});

test("H1UpstreamConnection becomes a tunnel only to a protocol that was offered", () => {
  const switchTo = (...lines: readonly string[]): string => ["HTTP/1.1 101 Switching Protocols", ...lines, "", ""].join("\r\n");
  const AGREED = switchTo("Connection: upgrade", "Upgrade: X");
  using u = new Upstream();
  u.ask("GET", ["x", "y/1"]);
  u.say(`${AGREED}raw\r\n`);
  assert.deepEqual(u.told, ["head 101 -2", "body raw\r\n"]);
  u.socket.take();
  u.connection.out.sendBody(Buffer.from("0\r\n"));
  u.connection.out.flush();
  assert.equal(u.socket.take().toString(), "0\r\n");
  const refusals: readonly (readonly [offered: readonly string[] | null, answer: string])[] = [
    [null, AGREED],
    [["x"], switchTo("Upgrade: x")],
    [["x"], switchTo("Connection: upgrade")],
    [["x"], switchTo("Connection: upgrade", "Upgrade:")],
    [["x"], switchTo("Connection: upgrade", "Upgrade: h2c")],
    [["x"], switchTo("Connection: upgrade", "Upgrade: x, h2c")],
    [["x"], switchTo("Connection: upgrade", "Upgrade: x/1")],
    [["x"], switchTo("Connection: upgrade", "Upgrade: x", "Upgrade: h2c")],
  ];
  for (const [offered, answer] of refusals) {
    using refused = new Upstream();
    refused.ask("GET", offered);
    refused.say(answer);
    assert.deepEqual(refused.told, ["failure upstream_protocol never"], answer);
  }
});

test("abort() breaks the connection so that the endpoint notices, and says nothing", () => {
  for (const style of ["at once", "later"] as const) {
    using u = new Upstream(style);
    u.ask();
    u.connection.abort();
    u.network.settle();
    assert.deepEqual([u.told, u.socket.state, u.metrics.upstreamOpen], [[], "reset", 0]);
  }
});
