/*  One route with everything at once (rewrite, edits, split, sticky, retry, limits, rate limit), and what HTTP has besides plain GETs:
 *  upgrades, HEAD, OPTIONS *, interim answers, trailers, HTTP/1.0, pipelining, connections that are used again. Its VMs carry one request
 *  at a time, so a place that is lost or found shows in the next request.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fieldValue, fieldValues } from "../fixtures/http1.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";
import { metric, settled } from "../fixtures/served-vms.ts";
import { respond, startVm, type Vm, type VmConnection, type VmRequest, type VmScript } from "../fixtures/vm.ts";
import { WrittenRoutes } from "../fixtures/written-routes.ts";

const PER_CLIENT = 4;

let vm: Vm;
let routes: WrittenRoutes;

before(async () => {
  vm = await startVm();
  const service = {
    endpoints: [{ url: `http://${vm.host}:${vm.port}` }],
    health: { type: "none" },
    sticky: { cookie: "stuck", ttl: "1h" },
    retry: { attempts: 3, on: ["connect", "reset", "timeout", "503"], budget: 1, backoff: "1ms" },
    limits: { hard: 1, queue: 10, queueTimeout: "20s" },
    ejection: { errors: 100 },
    breaker: { failures: 100, failureRate: 0 },
  };
  const route = {
    split: [{ service: "one", weight: 100 }, { service: "other", weight: 0 }],
    splitKey: "cookie:user",
    rewrite: { stripPrefix: "/app", addPrefix: "/v1", query: { remove: ["secret"] } },
    headers: {
      request: { set: { "X-From": "{client_ip} {host}" }, remove: ["Cookie"] },
      response: { set: { "X-Served": "{service} {method}" }, remove: ["X-Secret"] },
    },
  };
  const rateLimit = { requests: PER_CLIENT, window: "1h", key: "header:X-Client" };
  routes = await WrittenRoutes.start({
    services: { one: service, other: service },
    routes: [{ id: "rich", hosts: ["rich.test"], ...route, rateLimit: { ...rateLimit, requests: 100_000 } }, {
      id: "counted",
      hosts: ["counted.test"],
      ...route,
      rateLimit,
    }],
  }, { EDGEPROXY_ACCESS_LOG: "on" });
});
after(async () => {
  await routes[Symbol.asyncDispose]();
  await vm[Symbol.asyncDispose]();
});
beforeEach(() => {
  vm.script = respond(200, "ok");
  vm.onHead = () => {};
  vm.requests.length = 0;
});

async function opened(): Promise<RawConnection> {
  return await openRaw(routes.proxy.port, routes.proxy.host);
}

/** Nothing is in use any more: the next request gets the one place at once. */
async function placeIsFree(): Promise<void> {
  vm.script = respond(200, "free");
  await using client = await opened();
  client.send(getRequest("rich.test", "/free"));
  assert.equal((await client.readResponse()).body.toString(), "free");
}

/** Resets the first so many connections that a request comes on, then goes on by `script`. */
function afterResets(count: number, script: VmScript): VmScript {
  let left = count;
  return (request, connection) => left-- > 0 ? connection.reset() : script(request, connection);
}

const UPGRADE = ["Connection: Upgrade", "Upgrade: chat", "Cookie: a=1; user=eva"];

/** Switches to a protocol in which everything comes back in capitals. */
const shouting: VmScript = (_request, connection) => {
  connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\nX-Secret: 1\r\n\r\n");
  connection.socket.once("end", () => connection.end());
  connection.takeOver((chunk) => connection.write(chunk.toString("latin1").toUpperCase()));
};

test("an upgrade is retried until it is answered, takes its place until it ends, and is counted once", async () => {
  vm.script = afterResets(2, shouting);
  await using client = await opened();
  client.send(getRequest("counted.test", "/app/chat?secret=1&a=b", "X-Client: chat", ...UPGRADE));
  const switched = await client.readResponse();
  assert.deepEqual([switched.status, fieldValue(switched, "x-edgeproxy-attempts")], [101, "3"]);
  assert.deepEqual([fieldValue(switched, "x-served"), fieldValues(switched, "x-secret")], ["one GET", []]);
  assert.match(fieldValue(switched, "set-cookie") ?? "", /^stuck=/);
  const { startLine, fields } = vm.requests.at(-1)!;
  assert.equal(startLine, "GET /v1/chat?a=b HTTP/1.1");
  assert.deepEqual(fieldValues({ fields }, "cookie"), []);
  client.send("hello");
  assert.equal((await client.readBytes(5)).toString(), "HELLO");

  vm.script = respond(200, "next");
  await using next = await opened();
  next.send(getRequest("counted.test", "/app", "X-Client: chat"));
  await routes.proxy.waitFor(async () => await metric(routes.proxy, "edgeproxy_exchanges_queued") === 1, "does not wait");
  client.send("again");
  assert.equal((await client.readBytes(5)).toString(), "AGAIN", "the tunnel goes on");
  client.end();
  assert.equal((await next.readResponse()).body.toString(), "next");

  const rest: number[] = [];
  for (let i = 2; i <= PER_CLIENT; i++) {
    next.send(getRequest("counted.test", "/app", "X-Client: chat"));
    rest.push((await next.readResponse()).status);
  }
  assert.deepEqual(rest, [200, 200, 429], "three attempts and a tunnel were one request");
});

test("a tunnel that breaks is not made again, whoever breaks it", async () => {
  for (const breaker of ["VM", "client"]) {
    vm.requests.length = 0;
    let held: VmConnection | null = null;
    vm.script = (request, connection) => {
      held = connection;
      return shouting(request, connection);
    };
    await using client = await opened();
    client.send(getRequest("rich.test", "/app", ...UPGRADE));
    assert.equal((await client.readResponse()).status, 101);
    if (breaker === "VM") {
      held!.reset();
      assert.equal(await client.ended, "reset");
    } else {
      const { socket } = held!;
      const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
      client.reset();
      await closed;
    }
    assert.equal(vm.requests.length, 1);
    await placeIsFree();
  }
});

test("a refused upgrade is an answer, and may be retried by its status", async () => {
  let asked = 0;
  vm.script = (request, connection) => respond(++asked === 1 ? 503 : 426, "no")(request, connection);
  await using client = await opened();
  client.send(getRequest("rich.test", "/app", ...UPGRADE));
  const refused = await client.readResponse();
  assert.deepEqual([refused.status, fieldValue(refused, "x-edgeproxy-attempts")], [426, "2"]);
  client.send(getRequest("rich.test", "/app"));
  assert.equal((await client.readResponse()).status, 426, "on the same connection");
});

test("HEAD and OPTIONS * are retried and edited like others, CONNECT is refused", async () => {
  let asked = 0;
  vm.script = (request, connection) => respond(++asked % 2 === 1 ? 503 : 200, "body")(request, connection);
  await using client = await opened();
  client.send("HEAD /app/x HTTP/1.1\r\nHost: rich.test\r\n\r\n");
  const head = await client.readResponse({ toHead: true });
  assert.deepEqual([head.status, fieldValue(head, "content-length"), fieldValue(head, "x-served")], [200, "4", "one HEAD"]);
  for (const target of ["*", "http://rich.test"]) {
    client.send(`OPTIONS ${target} HTTP/1.1\r\nHost: rich.test\r\n\r\n`);
    const options = await client.readResponse();
    assert.deepEqual([options.status, fieldValue(options, "x-edgeproxy-attempts")], [200, "2"]);
    assert.equal(vm.requests.at(-1)!.startLine, "OPTIONS * HTTP/1.1");
  }
  client.send("CONNECT rich.test:80 HTTP/1.1\r\nHost: rich.test\r\n\r\n");
  assert.equal((await client.readResponse()).status, 400);
  await placeIsFree();
});

test("interim answers of all attempts arrive, and trailers both ways, without what the route removes", async () => {
  let asked = 0;
  vm.script = (request, connection) => {
    connection.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Secret: 1\r\n\r\n");
    if (++asked === 1) return respond(503, "")(request, connection);
    const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    connection.write(`${head}4\r\nbody\r\n0\r\nX-Sum: 4\r\nX-Secret: 1\r\nX-Edgeproxy-Decided: 1\r\n\r\n`);
  };
  await using client = await opened();
  client.send(getRequest("rich.test", "/app", "TE: trailers"));
  const answer = await client.readResponse();
  assert.deepEqual(answer.interim.map(({ fields }) => fields), [[["Link", "</a>"]], [["Link", "</a>"]]]);
  assert.deepEqual([answer.status, answer.trailers], [200, [["X-Sum", "4"]]]);

  vm.script = respond(200, "ok");
  client.send("POST /app HTTP/1.1\r\nHost: rich.test\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("2\r\nhi\r\n0\r\nX-Sum: 2\r\nCookie: a=1\r\nX-From: me\r\nX-Edgeproxy-Decided: 1\r\n\r\n");
  assert.equal((await client.readResponse()).status, 200);
  const { body, trailers } = vm.requests.at(-1)!;
  assert.deepEqual([body.toString(), trailers], ["hi", [["X-Sum", "2"]]]);
});

test("clients of HTTP/1.0 get edited answers of any framing, and keep their connections where that can be", async () => {
  await using client = await opened();
  for (let i = 0; i < 2; i++) {
    client.send("GET /app/old HTTP/1.0\r\nHost: rich.test\r\nConnection: keep-alive\r\n\r\n");
    const answer = await client.readResponse();
    assert.deepEqual([answer.body.toString(), fieldValue(answer, "x-served")], ["ok", "one GET"]);
    assert.equal(vm.requests.at(-1)!.startLine, "GET /v1/old HTTP/1.1");
  }
  vm.script = (_request, connection) =>
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n");
  client.send("GET /app/old HTTP/1.0\r\nHost: rich.test\r\nConnection: keep-alive\r\n\r\n");
  const answer = await client.readToEnd();
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(answer.endsWith("\r\n\r\nbody") && !/transfer-encoding|content-length/i.test(answer), answer);
});

test("pipelined requests are answered in their order, each with its retries, and with its body", async () => {
  const tries = new Map<string, number>();
  vm.script = (request: VmRequest, connection: VmConnection) => {
    const times = (tries.get(request.target) ?? 0) + 1;
    tries.set(request.target, times);
    if (times === 1 && request.method !== "POST") return connection.reset();
    return respond(200, `${request.target} ${request.body}`)(request, connection);
  };
  await using client = await opened();
  const put = "PUT /app/1 HTTP/1.1\r\nHost: rich.test\r\nContent-Length: 3\r\n\r\none";
  const chunked = "PUT /app/2 HTTP/1.1\r\nHost: rich.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n";
  const post = "POST /app/3 HTTP/1.1\r\nHost: rich.test\r\nContent-Length: 5\r\n\r\nthree";
  client.send(getRequest("rich.test", "/app/0") + put + chunked + post + getRequest("rich.test", "/app/4"));
  const bodies: string[] = [];
  for (let i = 0; i < 5; i++) bodies.push((await client.readResponse()).body.toString());
  assert.deepEqual(bodies, ["/v1/0 ", "/v1/1 one", "/v1/2 two", "/v1/3 three", "/v1/4 "]);
  assert.deepEqual(tries.get("/v1/3"), 1);
});

test("nothing is left in use when all clients have gone", async () => {
  await placeIsFree();
  await settled(routes.proxy);
});
