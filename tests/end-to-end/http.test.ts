/** What the data plane promises about HTTP (contract, section 7), on the wire, through the compiled binary. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { DataPlane, metric, reaches, settled } from "../fixtures/served-vms.ts";
import { cutMessage, fieldValue, fieldValues } from "../fixtures/http1.ts";
import { getRequest, rawRequest } from "../fixtures/raw-client.ts";
import { respond, sendRaw, type VmConnection } from "../fixtures/vm.ts";

const MIB = 2 ** 20;

let plane: DataPlane;
before(async () => plane = await DataPlane.start());
after(() => plane[Symbol.asyncDispose]());

/** The field lines of a message as they were on the wire. */
function fieldLines(raw: Buffer | string): string[] {
  const text = typeof raw === "string" ? raw : raw.toString("latin1");
  return text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n").slice(1);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** As chunks of uneven sizes. */
function chunked(bytes: Buffer, trailers = ""): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0, size = 1; at < bytes.length; at += size, size = size * 3 % 70_001 + 1) {
    const piece = bytes.subarray(at, at + size);
    parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
  }
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailers}\r\n`)]);
}

test("a request target reaches the VM byte for byte", async () => {
  const { vm, host } = await plane.vm();
  const targets = [
    "/",
    "//",
    "//double//slash//",
    "/a;b=c/d;e",
    "/?",
    "/??a=b?c",
    "/x?&&=&;y#".slice(0, -1),
    "/%2F%2f%zz%00%",
    "/../.././a/../b/.",
    '/a|b"c<d>e\\f^g`h{i}',
    "/a:b@c,d!$'()*+~",
    "/\xe9\xff\x80\xfc",
    `/${"long/".repeat(1600)}`,
    "/http://other.example.com/",
  ];
  await using connection = await plane.open();
  for (const target of targets) {
    connection.send(getRequest(host, target));
    assert.equal((await connection.readResponse()).status, 200, target);
  }
  assert.deepEqual(vm.requests.map((request) => request.target), targets);
});

test("order, spelling, duplicates and bytes of the fields survive, both ways", async () => {
  const { vm, host } = await plane.vm();
  const lines = [
    "X-one: 1",
    "x-ONE: 2",
    "Accept: text/html, */*;q=0.1",
    "X-One: 1",
    "X-Empty:",
    "X-Bytes: caf\xe9 \xff\x80",
    "X-Inner: a \t  b",
    "Cookie: a=1",
    "cookie: b=2",
    `X-Long: ${"v".repeat(8000)}`,
    "_under_score: kept",
    "!#$%&'*+-.^_`|~: token",
  ];
  vm.script = sendRaw(
    `HTTP/1.1 200 Very \xf6k\r\nContent-Length: 0\r\nSet-Cookie: b=2\r\nset-cookie: a=1\r\n${lines.join("\r\n")}\r\n\r\n`,
  );
  const response = await rawRequest(plane.proxy.port, [`GET / HTTP/1.1`, `HOST: ${host}`, ...lines, "", ""].join("\r\n"));

  const received = fieldLines(vm.requests[0]!.raw);
  assert.deepEqual(received.slice(0, lines.length + 1), [`HOST: ${host}`, ...lines]);
  assert.equal(response.startLine, "HTTP/1.1 200 Very \xf6k");
  assert.deepEqual(fieldLines(response.raw), ["Content-Length: 0", "Set-Cookie: b=2", "set-cookie: a=1", ...lines]);
});

test("hop-by-hop fields and those that Connection names stay behind, both ways", async () => {
  const { vm, host } = await plane.vm();
  vm.script = respond(
    200,
    "x",
    "Connection: X-Secret, close",
    "X-Secret: s",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "X-Kept: k",
  );
  const response = await rawRequest(
    plane.proxy.port,
    getRequest(
      host,
      "/",
      "Connection: keep-alive, X-Private,, x-other",
      "X-Private: p",
      "X-OTHER: o",
      "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "TE: gzip",
      "Upgrade: h2c",
      "HTTP2-Settings: AAMAAABk",
      "X-Kept: k",
    ),
  );
  const names = fieldLines(vm.requests[0]!.raw).map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
  assert.deepEqual(names, [
    "host",
    "x-kept",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "via",
  ]);
  assert.equal(response.status, 200);
  assert.deepEqual(fieldLines(response.raw), ["Content-Length: 1", "X-Kept: k"]);
});

test("Connection cannot name away Host, the framing or the fields of the proxy", async () => {
  const { vm, host } = await plane.vm();
  const nominated =
    "Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Real-IP, X-Request-Id, Via, traceparent";
  const response = await rawRequest(
    plane.proxy.port,
    `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\nConnection: ${nominated}\r\n\r\nabc`,
  );
  const [request] = vm.requests;
  assert.equal(response.status, 200);
  assert.equal(request?.body.toString(), "abc");
  for (const name of nominated.split(", ")) assert.equal(fieldValues(request!, name).length, 1, name);
});

test("Host is preserved as the client spelled it", async () => {
  const { vm, host } = await plane.vm();
  const spellings = [host.toUpperCase(), `${host}.`, `${host}:8080`, `${host.toUpperCase()}.:80`];
  for (const spelling of spellings) assert.equal((await rawRequest(plane.proxy.port, getRequest(spelling))).status, 200, spelling);
  assert.deepEqual(vm.requests.map((request) => fieldValue(request, "host")), spellings);
});

test("the forwarding fields of a stranger are replaced", async () => {
  const { vm, host } = await plane.vm();
  const spoofed = [
    "X-Forwarded-For: 6.6.6.6",
    "x-forwarded-for: 7.7.7.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example.com",
    "X-Forwarded-Port: 443",
    "X-Real-IP: 6.6.6.6",
    "X-Request-Id: spoofed",
    "Forwarded: for=6.6.6.6",
    "Via: 1.0 elsewhere",
  ];
  await rawRequest(plane.proxy.port, getRequest(`${host}:80`, "/", ...spoofed));
  const request = vm.requests[0]!;
  assert.deepEqual(fieldValues(request, "x-forwarded-for"), ["127.0.0.1"]);
  assert.deepEqual(fieldValues(request, "x-forwarded-proto"), ["http"]);
  assert.deepEqual(fieldValues(request, "x-forwarded-host"), [`${host}:80`]);
  assert.deepEqual(fieldValues(request, "x-real-ip"), ["127.0.0.1"]);
  assert.deepEqual(fieldValues(request, "x-forwarded-port"), []);
  assert.deepEqual(fieldValues(request, "forwarded"), []);
  assert.deepEqual(fieldValues(request, "via"), [`1.0 elsewhere, 1.1 edgeproxy-${plane.region}`]);
  const [id, ...more] = fieldValues(request, "x-request-id");
  assert.deepEqual(more, []);
  assert.ok(id !== undefined && id !== "spoofed" && id.length >= 8, id);
});

// rule: RFC 7239, 8.1 | believed and continued
test("the forwarding fields of a trusted proxy are believed and continued", async () => {
  await using trusting = await plane.another({ EDGEPROXY_TRUSTED_PROXIES: "127.0.0.0/8, 10.0.0.0/8" });
  const { vm, host } = await plane.vm();
  await rawRequest(
    trusting.port,
    getRequest(
      host,
      "/",
      "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Host: shop.example.com",
      "X-Request-Id: from-the-edge-before",
    ),
  );
  const request = vm.requests[0]!;
  assert.deepEqual(fieldValues(request, "x-forwarded-for"), ["6.6.6.6, 203.0.113.9, 10.1.2.3, 127.0.0.1"]);
  assert.deepEqual(fieldValues(request, "x-forwarded-proto"), ["https"]);
  assert.deepEqual(fieldValues(request, "x-forwarded-host"), ["shop.example.com"]);
  assert.deepEqual(fieldValues(request, "x-real-ip"), ["203.0.113.9"]);
  assert.deepEqual(fieldValues(request, "x-request-id"), ["from-the-edge-before"]);
});

// rule: RFC 9110, 7.6 | relayed as it comes
test("an answer reaches the client while the VM is still writing it", async () => {
  const { vm, host } = await plane.vm();
  const { promise, resolve } = Promise.withResolvers<VmConnection>();
  vm.script = (_request, connection) => {
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
    resolve(connection);
  };
  await using client = await plane.open();
  client.send(getRequest(host));
  await client.readUntil("\r\n\r\nfirst");
  (await promise).write("-last");
  assert.equal((await client.readBytes(5)).toString(), "-last");
});

for (const framing of ["length", "chunked"] as const) {
  // rule: RFC 9110, 7.6 | relayed as it comes
  test(`a request body (${framing}) reaches the VM while the client is still sending it`, async () => {
    const { vm, host } = await plane.vm();
    const field = framing === "length" ? "Content-Length: 11" : "Transfer-Encoding: chunked";
    const piece = (text: string): string => framing === "length" ? text : `${text.length.toString(16)}\r\n${text}\r\n`;
    await using client = await plane.open();
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\n${field}\r\n\r\n${piece("first")}`);
    await vm.until(() => vm.transcripts[0]?.includes(piece("first")) === true);
    client.send(piece("second") + (framing === "length" ? "" : "0\r\n\r\n"));
    assert.equal((await client.readResponse()).status, 200);
    assert.equal(vm.requests[0]?.body.toString(), "firstsecond");
    assert.equal(fieldValue(vm.requests[0]!, field.split(":")[0]!), field.split(": ")[1]);
  });
}

test("a chunked request is framed anew: extensions are gone, chunks and body are whole", async () => {
  const { vm, host } = await plane.vm();
  const response = await rawRequest(plane.proxy.port, [
    `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n5;name=value;q="x y"\r\nhel`,
    "lo\r\n0006\r\n world\r\n000;last\r\n\r\n",
  ]);
  assert.equal(response.status, 200);
  assert.equal(vm.requests[0]?.body.toString(), "hello world");
  const sent = vm.transcripts[0]!;
  assert.doesNotMatch(sent.slice(sent.indexOf("\r\n\r\n")), /name=value|;last|0006/); // ids in the head may hold any digits
});

test("answers keep their framing; one that ends with the connection becomes chunked", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();

  vm.script = sendRaw(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhel", "lo\r\n6\r\n world\r\n0\r\n\r\n"]);
  client.send(getRequest(host));
  const chunkedResponse = await client.readResponse();
  assert.deepEqual([fieldValue(chunkedResponse, "transfer-encoding"), chunkedResponse.body.toString()], ["chunked", "hello world"]);

  vm.script = respond(200, "hello world");
  client.send(getRequest(host));
  const lengthResponse = await client.readResponse();
  assert.deepEqual([fieldValue(lengthResponse, "content-length"), lengthResponse.body.toString()], ["11", "hello world"]);

  vm.script = sendRaw(["HTTP/1.1 200 OK\r\n\r\nhello", " world"], "end");
  client.send(getRequest(host));
  const closeResponse = await client.readResponse();
  assert.deepEqual([fieldValue(closeResponse, "transfer-encoding"), closeResponse.body.toString()], ["chunked", "hello world"]);

  client.send(getRequest(host)); // the client's connection lives on
  assert.equal((await client.readResponse()).status, 200);
});

test("answers to HEAD, 204 and 304 have no body, whatever their fields say", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  vm.script = (request, connection) => {
    const status = request.target.slice(1);
    const framing = request.method === "HEAD" && status === "201" ? "Transfer-Encoding: chunked" : "Content-Length: 1000";
    connection.write(`HTTP/1.1 ${status} Status\r\n${status === "204" ? "" : `${framing}\r\n`}ETag: "x"\r\n\r\n`);
  };
  for (
    const [method, status, length] of [["HEAD", 200, "1000"], ["HEAD", 201, undefined], ["GET", 204, undefined], [
      "GET",
      304,
      "1000",
    ], ["POST", 204, undefined]] as const
  ) {
    client.send(`${method} /${status} HTTP/1.1\r\nHost: ${host}\r\n${method === "POST" ? "Content-Length: 0\r\n" : ""}\r\n`);
    const response = await client.readResponse({ toHead: true });
    assert.equal(response.status, status);
    assert.equal(fieldValue(response, "content-length"), length, `${method} ${status}`);
    assert.equal(fieldValue(response, "etag"), '"x"');
  }
  assert.equal(vm.transcripts.length, 1, "one connection to the VM served them all");
});

test("interim answers are relayed, but not to clients of HTTP/1.0", async () => {
  const { vm, host } = await plane.vm();
  vm.script = sendRaw([
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nlink: </b.css>\r\nConnection: X-Hop\r\nX-Hop: h\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ]);
  const response = await rawRequest(plane.proxy.port, getRequest(host));
  assert.deepEqual([response.status, response.body.toString()], [200, "ok"]);
  assert.deepEqual(response.interim.map((each) => each.startLine), [
    "HTTP/1.1 103 Early Hints",
    "HTTP/1.1 102 Processing",
    "HTTP/1.1 199 Odd",
  ]);
  assert.deepEqual(fieldLines(response.interim[0]!.raw), ["Link: </a.css>; rel=preload", "link: </b.css>"]);

  const old = await rawRequest(plane.proxy.port, `GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`);
  assert.deepEqual([old.status, old.interim.length, old.body.toString()], [200, 0, "ok"]);
});

test("Expect: 100-continue goes to the VM, whose 100 starts the body", async () => {
  const { vm, host } = await plane.vm();
  vm.onHead = (head, connection) => {
    if (fieldValue(head, "expect") === "100-continue") connection.write("HTTP/1.1 100 Continue\r\n\r\n");
  };
  await using client = await plane.open();
  for (const body of ["hello", "again"]) {
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
    assert.equal(await client.readUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body);
    assert.equal((await client.readResponse()).status, 200);
  }
  assert.deepEqual(vm.requests.map((request) => request.body.toString()), ["hello", "again"]);
});

test("Expect: 100-continue ends with the VM's refusal: the body is neither asked for nor taken for a request", async () => {
  const { vm, host } = await plane.vm();
  vm.onHead = (_head, connection) => connection.write("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
  await using client = await plane.open();
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 46\r\n\r\n`);
  const response = await client.readResponse();
  assert.deepEqual([response.status, response.body.toString(), response.interim.length], [417, "no", 0]);
  client.send(`GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`); // RFC 9110, 10.1.1: a client may send the body nevertheless
  await client.ended;
  await settled(plane.proxy);
  assert.doesNotMatch(vm.transcripts.join(), /smuggled/);
});

for (
  const [answer, status] of [["HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n", 413], [
    "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    302,
  ]] as const
) {
  test(`an early answer ${status} is relayed while the body is still coming`, async () => {
    const { vm, host } = await plane.vm();
    vm.onHead = (_head, connection) => connection.write(answer);
    await using client = await plane.open();
    client.send(`PUT /big HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 100000000\r\n\r\nbeginning`);
    assert.equal((await client.readResponse()).status, status);
    assert.equal(await client.ended, "end", "a body of that size is not read to its end");
  });
}

test("after an early answer the rest of a small body is dropped and the connection lives on", async () => {
  const { vm, host } = await plane.vm();
  vm.onHead = (head, connection) => {
    if (head.startLine.startsWith("PUT")) connection.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
  };
  await using client = await plane.open();
  const body = `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n`);
  assert.equal((await client.readResponse()).status, 403);
  client.send(body + getRequest(host, "/next"));
  assert.equal((await client.readResponse()).status, 200);
  assert.deepEqual(vm.requests.map((request) => request.target), ["/next"]);
});

test("trailers of a request reach the VM", async () => {
  const { vm, host } = await plane.vm();
  const response = await rawRequest(
    plane.proxy.port,
    `POST / HTTP/1.1\r\nHost: ${host}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-sum: \xe9\r\nContent-Length: 9\r\nHost: evil\r\n\r\n`,
  );
  assert.equal(response.status, 200);
  assert.equal(fieldValue(vm.requests[0]!, "trailer"), "X-Sum");
  assert.deepEqual(vm.requests[0]?.trailers, [["X-Sum", "1"], ["x-sum", "\xe9"]]);
});

test("trailers of an answer reach clients that say TE: trailers, and no others", async () => {
  const { vm, host } = await plane.vm();
  vm.script = sendRaw([
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-S",
    "um: 1\r\ngrpc-status: 0\r\n\r\n",
  ]);
  const asked = await rawRequest(plane.proxy.port, getRequest(host, "/", "TE: gzip, trailers", "Connection: TE"));
  assert.deepEqual(asked.trailers, [["X-Sum", "1"], ["grpc-status", "0"]]);
  assert.equal(fieldValue(vm.requests[0]!, "te"), "trailers");
  const unasked = await rawRequest(plane.proxy.port, getRequest(host));
  assert.deepEqual([unasked.body.toString(), unasked.trailers], ["ok", []]);
  assert.equal(fieldValue(vm.requests[1]!, "te"), undefined);
});

test("HTTP/1.0 clients get one answer and the end, or further ones when they ask for keep-alive", async () => {
  const { vm, host } = await plane.vm();
  await using once = await plane.open();
  once.send(`GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`);
  const text = await once.readToEnd();
  assert.match(text, /^HTTP\/1\.1 200 [^]*\r\nConnection: close\r\n[^]*hello from/);
  assert.match(vm.transcripts[0]!, /^GET \/ HTTP\/1\.1\r\n[^]*\r\nVia: 1\.0 edgeproxy-/);

  await using keeping = await plane.open();
  for (let i = 0; i < 3; i++) {
    keeping.send(`GET / HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`);
    const response = await keeping.readResponse();
    assert.equal(fieldValue(response, "connection"), "keep-alive");
  }
});

test("HTTP/1.0 clients get a chunked answer without chunks, ended by the connection", async () => {
  const { vm, host } = await plane.vm();
  vm.script = sendRaw([
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "6\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
  ]);
  await using client = await plane.open();
  client.send(`GET / HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`);
  const text = await client.readToEnd();
  assert.equal(text.slice(text.indexOf("\r\n\r\n") + 4), "hello world");
  assert.doesNotMatch(text, /transfer-encoding|keep-alive/i);
});

test("a half-closed client still gets its answer, then the end", async () => {
  const { vm, host } = await plane.vm();
  const { promise, resolve } = Promise.withResolvers<VmConnection>();
  vm.script = (_request, connection) => resolve(connection);
  await using client = await plane.open();
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 2\r\n\r\nab`);
  client.end();
  (await promise).write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
  // Whether the answer says so depends on whether our FIN was there before it
  assert.match(await client.readToEnd(), /^HTTP\/1.1 200 OK\r\nContent-Length: 4\r\n(Connection: close\r\n)?\r\nlate$/);
  assert.equal(await client.ended, "end");
});

test("unknown methods and OPTIONS * pass; an absolute-form target goes by its authority", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  const requests = [
    `BREW /pot HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    `OPTIONS * HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    `GET http://${host}/a?b HTTP/1.1\r\nHost: elsewhere.example.com\r\n\r\n`,
    `GET HTTP://${host}?q HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    `OPTIONS http://${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    `\r\nGET /after-an-empty-line HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  ];
  for (const request of requests) {
    client.send(request);
    assert.equal((await client.readResponse()).status, 200, request);
  }
  assert.deepEqual(vm.requests.map((request) => `${request.method} ${request.target} ${fieldValues(request, "host").join()}`), [
    `BREW /pot ${host}`,
    `OPTIONS * ${host}`,
    `GET /a?b ${host}`,
    `GET /?q ${host}`,
    `OPTIONS * ${host}`,
    `GET /after-an-empty-line ${host}`,
  ]);
});

test("20 requests in one packet to different hosts are answered in their order", async () => {
  const vms = await Promise.all(Array.from({ length: 4 }, () => plane.vm()));
  // The later one is asked, the sooner it answers: order must come from the proxy.
  vms.forEach(({ vm, host }, index) => {
    vm.script = async (request, connection) => {
      for (let turn = 0; turn < 3 - index; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
      await respond(200, `${host}${request.target}`)(request, connection);
    };
  });
  const asked = Array.from(
    { length: 20 },
    (_, index) => ({ host: vms[index % 4]!.host, target: `/${index}`, post: index % 5 === 0 }),
  );
  await using client = await plane.open();
  client.send(
    asked.map(({ host, target, post }) =>
      post
        ? `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n`
        : getRequest(host, target)
    ).join(""),
  );
  for (const { host, target } of asked) assert.equal((await client.readResponse()).body.toString(), `${host}${target}`);
  assert.equal(vms.reduce((sum, { vm }) => sum + vm.requests.length, 0), 20);
});

test("1000 requests on one connection use one connection to the VM", async () => {
  const { vm, host } = await plane.vm();
  const reusesBefore = await metric(plane.proxy, "edgeproxy_upstream_reuses_total");
  await using client = await plane.open();
  for (let i = 0; i < 1000; i++) {
    client.send(getRequest(host, `/${i}`));
    assert.equal((await client.readResponse()).status, 200);
  }
  assert.equal(vm.requests.length, 1000);
  assert.equal(vm.transcripts.length, 1);
  await reaches(plane.proxy, { "edgeproxy_upstream_reuses_total": reusesBefore + 999 });
});

for (const framing of ["length", "chunked"] as const) {
  // rule: RFC 9110, 7.6 | relayed unchanged
  test(`10 MiB bodies (${framing}) arrive unchanged, both ways`, async () => {
    const { vm, host } = await plane.vm();
    const [up, down] = [randomBytes(10 * MIB), randomBytes(10 * MIB)];
    const field = (bytes: Buffer): string =>
      framing === "length" ? `Content-Length: ${bytes.length}` : "Transfer-Encoding: chunked";
    const body = (bytes: Buffer): Buffer => framing === "length" ? bytes : chunked(bytes);
    let received = "";
    // Not the fixture's own reading, which cuts a message anew with each chunk.
    vm.onHead = (_head, connection) => {
      const chunks: Buffer[] = [];
      let length = 0;
      connection.takeOver((chunk) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length < up.length) return;
        const message = cutMessage(Buffer.concat(chunks));
        if (message === null) return;
        received = sha256(message.body);
        connection.write(`HTTP/1.1 200 OK\r\n${field(down)}\r\n\r\n`);
        connection.write(body(down));
      });
    };
    await using client = await plane.open();
    client.socket.removeAllListeners("data");
    const chunks: Buffer[] = [];
    let length = 0;
    client.socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
    });
    client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\n${field(up)}\r\n\r\n`);
    client.send(body(up));
    let message = null;
    while (message === null) {
      await once(client.socket, "data");
      if (length > down.length) message = cutMessage(Buffer.concat(chunks));
    }
    assert.equal(received, sha256(up));
    assert.equal(sha256(message.body), sha256(down));
  });
}

// rule: RFC 9110, 7.6 | relayed one by one
test("events of a stream arrive one by one, each before the next is written", async () => {
  const { vm, host } = await plane.vm();
  const { promise, resolve } = Promise.withResolvers<VmConnection>();
  vm.script = (_request, connection) => {
    connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    resolve(connection);
  };
  await using client = await plane.open();
  client.send(getRequest(host, "/events", "Accept: text/event-stream"));
  const connection = await promise;
  await client.readUntil("\r\n\r\n");
  for (let i = 0; i < 20; i++) {
    const event = `data: ${i}\n\n`;
    connection.write(`${event.length.toString(16)}\r\n${event}\r\n`);
    await client.readUntil(`${event}\r\n`);
  }
  connection.write("0\r\n\r\n");
  assert.equal(await client.readUntil("0\r\n\r\n"), "0\r\n\r\n");
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
