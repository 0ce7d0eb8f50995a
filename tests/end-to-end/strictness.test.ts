/*  Nothing ambiguous passes, in either direction. The VM is built to be fooled: it keeps every byte it gets, so whatever of a
 *  refused request reaches it shows, and it answers what a broken or hostile server would.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DataPlane, metric, reaches, type RoutedVm, settled } from "../fixtures/served-vms.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest, rawRequest, type RawResponse } from "../fixtures/raw-client.ts";
import { resetConnection, sendRaw } from "../fixtures/vm.ts";

let plane: DataPlane;
let fooled: RoutedVm;
before(async () => {
  plane = await DataPlane.start();
  fooled = await plane.vm();
  await rawRequest(plane.proxy.port, getRequest(fooled.host)); // healthy, and a connection in the pool
});
after(() => plane[Symbol.asyncDispose]());

/** HOST stands for the domain of the VM; every text is followed by a request that must not get through either. */
interface Refused {
  readonly why: string;
  readonly request: string;
  /** Default 400. */
  readonly status?: number;
}

const POST = "POST / HTTP/1.1\r\nHost: HOST\r\n";
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";

/** `POST /` with these field lines and a body that each reading of them would understand somehow. */
function framed(...lines: string[]): string {
  return `${POST}${lines.join("\r\n")}\r\n\r\n0\r\n\r\n`;
}

function field(line: string): string {
  return `GET / HTTP/1.1\r\nHost: HOST\r\n${line}\r\n\r\n`;
}

const MALFORMED_HEADS: readonly Refused[] = [
  // framing
  { why: "Content-Length with Transfer-Encoding", request: framed("Content-Length: 5", "Transfer-Encoding: chunked") },
  { why: "Transfer-Encoding with Content-Length", request: framed("Transfer-Encoding: chunked", "Content-Length: 5") },
  { why: "two Content-Length that differ", request: framed("Content-Length: 5", "Content-Length: 6") },
  { why: "two Content-Length that agree", request: framed("Content-Length: 5", "content-length: 5") },
  { why: "a list in Content-Length", request: framed("Content-Length: 5, 5") },
  { why: "a signed Content-Length", request: framed("Content-Length: +5") },
  { why: "a negative Content-Length", request: framed("Content-Length: -5") },
  { why: "a hexadecimal Content-Length", request: framed("Content-Length: 0x5") },
  { why: "an empty Content-Length", request: framed("Content-Length:") },
  { why: "a decimal point in Content-Length", request: framed("Content-Length: 5.0") },
  { why: "inner space in Content-Length", request: framed("Content-Length: 1 0") },
  { why: "a Content-Length that overflows 64 bits", request: framed("Content-Length: 18446744073709551621") },
  { why: "a Content-Length that overflows a double", request: framed("Content-Length: 9007199254740993") },
  { why: "chunked twice", request: framed("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") },
  { why: "chunked twice in a list", request: framed("Transfer-Encoding: chunked, chunked") },
  { why: "chunked in capitals", request: framed("Transfer-Encoding: Chunked") },
  { why: "a tab before chunked", request: framed("Transfer-Encoding:\tchunked") },
  { why: "two spaces before chunked", request: framed("Transfer-Encoding:  chunked") },
  { why: "a space behind chunked", request: framed("Transfer-Encoding: chunked ") },
  { why: "a vertical tab before chunked", request: framed("Transfer-Encoding: \x0bchunked") },
  { why: "quoted chunked", request: framed('Transfer-Encoding: "chunked"') },
  { why: "chunked with a parameter", request: framed("Transfer-Encoding: chunked;q=1") },
  { why: "a comma behind chunked", request: framed("Transfer-Encoding: chunked,") },
  { why: "an empty Transfer-Encoding", request: framed("Transfer-Encoding:") },
  { why: "a folded Transfer-Encoding", request: framed("Transfer-Encoding:", " chunked") },
  { why: "a space before the colon of Transfer-Encoding", request: framed("Transfer-Encoding : chunked") },
  { why: "Transfer-Encoding in HTTP/1.0", request: framed("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0") },
  { why: "an unknown transfer coding", request: framed("Transfer-Encoding: gzip"), status: 501 },
  { why: "a transfer coding before chunked", request: framed("Transfer-Encoding: gzip, chunked"), status: 501 },
  { why: "identity", request: framed("Transfer-Encoding: identity"), status: 501 },
  { why: "xchunked", request: framed("Transfer-Encoding: xchunked"), status: 501 },
  // lines
  { why: "a bare line feed behind the request line", request: "GET / HTTP/1.1\nHost: HOST\r\n\r\n" },
  { why: "a bare line feed behind a field", request: "GET / HTTP/1.1\r\nHost: HOST\nX: y\r\n\r\n" },
  { why: "a bare line feed as the empty line", request: "GET / HTTP/1.1\r\nHost: HOST\r\n\n" },
  { why: "a bare carriage return in a value", request: field("X: a\rb") },
  { why: "a bare carriage return before a field", request: field("\rX: a") },
  { why: "a bare carriage return before the request line", request: "\rGET / HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "NUL in a value", request: field("X: a\0b") },
  { why: "NUL in a name", request: field("X\0: a") },
  { why: "a control byte in a value", request: field("X: a\x01b") },
  { why: "DEL in a value", request: field("X: a\x7fb") },
  { why: "a space before the colon", request: field("X : a") },
  { why: "a tab before the colon", request: field("X\t: a") },
  { why: "an empty name", request: field(": a") },
  { why: "a line without a colon", request: field("X") },
  { why: "a name with a bracket", request: field("X[1]: a") },
  { why: "a name with a byte above 0x7f", request: field("X\xe9: a") },
  { why: "a folded line", request: field("X: a\r\n b") },
  { why: "a line folded with a tab", request: field("X: a\r\n\tb") },
  { why: "an indented first field", request: "GET / HTTP/1.1\r\n Host: HOST\r\n\r\n" },
  // request line
  { why: "an empty method", request: " / HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a method that is no token", request: "GE(T / HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "no version", request: "GET /\r\nHost: HOST\r\n\r\n" },
  { why: "a version in small letters", request: "GET / http/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "HTTP/1.2", request: "GET / HTTP/1.2\r\nHost: HOST\r\n\r\n" },
  { why: "HTTP/0.9", request: "GET / HTTP/0.9\r\nHost: HOST\r\n\r\n" },
  { why: "HTTP/1.10", request: "GET / HTTP/1.10\r\nHost: HOST\r\n\r\n" },
  { why: "the preface of HTTP/2", request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
  { why: "two spaces behind the method", request: "GET  / HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a tab behind the method", request: "GET\t/ HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "two spaces before the version", request: "GET /  HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a space behind the version", request: "GET / HTTP/1.1 \r\nHost: HOST\r\n\r\n" },
  { why: "a space in the target", request: "GET /a b HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a control byte in the target", request: "GET /a\x01b HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "NUL in the target", request: "GET /a\0b HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a fragment in the target", request: "GET /a#b HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a target that is no path", request: "GET a HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a target of an unknown scheme", request: "GET ftp://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "user information in the target", request: "GET http://me@HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "an absolute-form without authority", request: "GET http:///x HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "a bad port in the target", request: "GET http://HOST:99999/ HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "asterisk-form without OPTIONS", request: "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n" },
  { why: "CONNECT", request: "CONNECT HOST:443 HTTP/1.1\r\nHost: HOST:443\r\n\r\n" },
  // Host
  { why: "no Host", request: "GET / HTTP/1.1\r\n\r\n" },
  { why: "two Host that agree", request: "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n" },
  { why: "two Host that differ", request: "GET / HTTP/1.1\r\nHost: HOST\r\nhost: other\r\n\r\n" },
  { why: "an empty Host", request: "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
  { why: "a list in Host", request: "GET / HTTP/1.1\r\nHost: HOST, HOST\r\n\r\n" },
  { why: "user information in Host", request: "GET / HTTP/1.1\r\nHost: me@HOST\r\n\r\n" },
  { why: "a path in Host", request: "GET / HTTP/1.1\r\nHost: HOST/x\r\n\r\n" },
  { why: "a space in Host", request: "GET / HTTP/1.1\r\nHost: HO ST\r\n\r\n" },
  { why: "a bad port in Host", request: "GET / HTTP/1.1\r\nHost: HOST:8o\r\n\r\n" },
  { why: "a byte above 0x7f in Host", request: "GET / HTTP/1.1\r\nHost: HOST\xe9\r\n\r\n" },
  { why: "an open bracket in Host", request: "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },
  // no request at all
  { why: "the start of a TLS handshake", request: "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" },
  { why: "three empty lines", request: "\r\n\r\n\r\n" },
];

function refusal(response: RawResponse): string {
  return `${response.status} ${fieldValue(response, "x-edgeproxy-error")}, ${fieldValue(response, "connection")}`;
}

function expectedRefusal({ status = 400 }: Refused): string {
  return status === 501 ? "501 unsupported_coding, close" : "400 bad_request, close";
}

// rule: RFC 9112, 11.2 | 400 or 501, client connection closed, nothing reaches the VM
test("a malformed or ambiguous head is refused, the connection closes, and the VM gets nothing", async () => {
  const before = fooled.vm.transcripts.join();
  const wrong: string[] = [];
  for (const refused of MALFORMED_HEADS) {
    const { why, request } = refused;
    await using client = await plane.open();
    client.send((request + SMUGGLED).replaceAll("HOST", fooled.host));
    const response = await client.readResponse();
    const got = refusal(response) + await client.readToEnd();
    if (got !== expectedRefusal(refused)) wrong.push(`${why}: ${got}`);
  }
  await settled(plane.proxy);
  assert.deepEqual(wrong, []);
  assert.equal(fooled.vm.transcripts.join(), before);
});

// rule: RFC 9112, 9.3.2 | `200` relayed, then refused as alone
test("a malformed head behind a good pipelined request is refused after its answer", async () => {
  const { vm, host } = await plane.vm();
  const wrong: string[] = [];
  for (const refused of MALFORMED_HEADS) {
    const { why, request } = refused;
    await using client = await plane.open();
    client.send(getRequest(host, "/good") + (request + SMUGGLED).replaceAll("HOST", host));
    assert.equal((await client.readResponse()).status, 200, why);
    const response = await client.readResponse();
    const got = refusal(response) + await client.readToEnd();
    if (got !== expectedRefusal(refused)) wrong.push(`${why}: ${got}`);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual([...new Set(vm.requests.map((request) => request.target))], ["/good"]);
  assert.equal(vm.requests.length, MALFORMED_HEADS.length);
});

const BAD_CHUNKS: readonly (readonly [why: string, body: string])[] = [
  ["a size that overflows 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"],
  ["a size that overflows a double", "20000000000001\r\nhello\r\n0\r\n\r\n"],
  ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
  ["a signed size", "+5\r\nhello\r\n0\r\n\r\n"],
  ["a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"],
  ["a space before the size", " 5\r\nhello\r\n0\r\n\r\n"],
  ["a space behind the size", "5 \r\nhello\r\n0\r\n\r\n"],
  ["a tab before the extension", "5\t;x\r\nhello\r\n0\r\n\r\n"],
  ["an empty size", "\r\nhello\r\n0\r\n\r\n"],
  ["an extension without a size", ";x\r\nhello\r\n0\r\n\r\n"],
  ["no digits", "hello\r\n0\r\n\r\n"],
  ["a bare line feed behind the size", "5\nhello\r\n0\r\n\r\n"],
  ["a bare carriage return behind the size", "5\rhello\r\n0\r\n\r\n"],
  ["a line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"],
  ["NUL in an extension", "5;a\0b\r\nhello\r\n0\r\n\r\n"],
  ["an endless extension", `5;${"x".repeat(5000)}\r\nhello\r\n0\r\n\r\n`],
  ["data that is longer than its size", "4\r\nhello\r\n0\r\n\r\n"],
  ["no line end behind the data", "5\r\nhello0\r\n\r\n"],
  ["a bare line feed behind the data", "5\r\nhello\n0\r\n\r\n"],
  ["a bare line feed behind the last chunk", "5\r\nhello\r\n0\n\r\n"],
  ["a space before the colon of a trailer", "0\r\nX : y\r\n\r\n"],
  ["NUL in a trailer", "0\r\nX: \0\r\n\r\n"],
  ["a bare line feed in the trailers", "0\r\nX: y\nZ: z\r\n\r\n"],
  ["a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"],
  ["a request instead of trailers", "0\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"],
];

// rule: RFC 9112, 7.1 | `400`, client connection closed, the request never complete for the VM
test("a malformed chunked body is refused and never becomes a complete request of the VM", async () => {
  const { vm, host } = await plane.vm();
  await rawRequest(plane.proxy.port, getRequest(host));
  for (const [why, body] of BAD_CHUNKS) {
    // At once, and cut behind the head, when the attempt has already begun
    for (const cut of [false, true]) {
      const bytes = (CHUNKED + body + SMUGGLED).replaceAll("HOST", host);
      const headEnd = bytes.indexOf("\r\n\r\n") + 4;
      await using client = await plane.open();
      await client.sendPieces(cut ? [bytes.slice(0, headEnd), bytes.slice(headEnd)] : [bytes]);
      const response = await client.readResponse();
      assert.equal(response.status, 400, why);
      assert.equal(await client.readToEnd(), "", why);
    }
  }
  await settled(plane.proxy);
  assert.equal(vm.requests.length, 1, "only the first request was ever complete");
  for (const transcript of vm.transcripts) assert.doesNotMatch(transcript, /smuggled|\r\n0\r\n\r\n$/);
});

test("a chunked body that breaks behind valid chunks cancels the attempt", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  client.send(CHUNKED.replace("HOST", host) + "5\r\nhello\r\n");
  await vm.until(() => vm.transcripts[0]?.endsWith("5\r\nhello\r\n") === true);
  client.send("5 \r\nhello\r\n0\r\n\r\n");
  assert.equal((await client.readResponse()).status, 400);
  await vm.until(() => vm.open === 0);
  assert.equal(vm.requests.length, 0);
});

// rule: RFC 9112, 11.2 | `200` relayed, three requests reach the VM
test("what a body contains is never taken for a request", async () => {
  const { vm, host } = await plane.vm();
  const body = SMUGGLED.replace("HOST", host);
  await using client = await plane.open();
  client.send(`POST /1 HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  client.send(
    `POST /2 HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  );
  client.send(getRequest(host, "/3"));
  for (let i = 0; i < 3; i++) assert.equal((await client.readResponse()).status, 200);
  assert.deepEqual(vm.requests.map((request) => request.target), ["/1", "/2", "/3"]);
});

test("a body ends where its length says: the bytes behind it are the next request, and refused if they are none", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  client.send(`POST /1 HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\n\r\nhello, world\r\n\r\n`);
  assert.equal((await client.readResponse()).status, 200);
  assert.equal((await client.readResponse()).status, 400);
  assert.equal(await client.readToEnd(), "");
  assert.deepEqual(vm.requests.map((request) => request.body.toString()), ["hello"]);
});

// ---- the VM's side

/** What the VM answers, and `then` what it does; each must become a 502 without a byte of it. */
const BAD_ANSWERS: readonly (readonly [why: string, answer: string])[] = [
  ["two Content-Length that differ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
  ["two Content-Length that agree", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"],
  ["a list in Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"],
  ["Content-Length with chunked", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["a negative Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello"],
  ["an unknown transfer coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
  ["chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["no status line", "hello\r\n\r\n"],
  ["HTTP/0.9", "<html>hello</html>"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
  ["a status below 100", "HTTP/1.1 099 OK\r\n\r\n"],
  ["HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"],
  ["a bare line feed", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
  ["NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"],
  ["NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"],
  ["a space before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"],
  ["a folded field", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"],
  ["a head that is too large", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(40_000)}\r\nContent-Length: 0\r\n\r\n`],
  ["too many fields", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(200)}Content-Length: 0\r\n\r\n`],
  ["endless interim answers", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100)],
  ["101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
];

// rule: RFC 9112, 11.1 | `502 upstream_protocol`, VM connection never used again
test("a malformed or ambiguous answer of the VM becomes 502, and its connection is never used again", async () => {
  const { vm, host } = await plane.vm();
  const counter = 'edgeproxy_routing_errors_total{code="upstream_protocol"}';
  const before = await metric(plane.proxy, counter);
  for (const [index, [why, answer]] of BAD_ANSWERS.entries()) {
    vm.script = sendRaw(answer);
    await using client = await plane.open();
    client.send(getRequest(host));
    const response = await client.readResponse();
    assert.equal(response.status, 502, why);
    assert.equal(fieldValue(response, "x-edgeproxy-error"), "upstream_protocol", why);
    assert.equal(response.body.toString(), "Bad Gateway", why);
    await vm.until(() => vm.open === 0);
    assert.equal(vm.transcripts.length, index + 1, `${why}: a connection of its own, and not tried again`);
  }
  await reaches(plane.proxy, { [counter]: before + BAD_ANSWERS.length });
});

/** Answers that go wrong when the head has left: the client's connection breaks, so that nothing looks complete. */
const BROKEN_BODIES: readonly (readonly [why: string, answer: string, then: "keep" | "end" | "reset"])[] = [
  ["a bad chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", "keep"],
  ["data longer than its chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "keep"],
  ["a bad trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX : y\r\n\r\n", "keep"],
  ["a body shorter than announced", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "end"],
  ["a reset before the body has ended", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "reset"],
  ["no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "end"],
  ["an end within the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y", "end"],
];

// rule: RFC 9112, 8 | client connection `reset`, VM connection never used again
test("an answer that breaks in its body aborts the client: it never looks complete", async () => {
  const { vm, host } = await plane.vm();
  for (const [why, answer, then] of BROKEN_BODIES) {
    vm.script = sendRaw(answer, then);
    await using client = await plane.open();
    client.send(getRequest(host));
    assert.equal(await client.ended, "reset", why);
    await vm.until(() => vm.open === 0);
  }
  assert.equal(vm.requests.length, BROKEN_BODIES.length, "none was tried again");
});

// rule: RFC 9112, 11.1 | relayed up to its length, VM connection never used again
test("an answer longer than announced is cut at its length, and its connection is never used again", async () => {
  const { vm, host } = await plane.vm();
  const surplus = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned";
  await using client = await plane.open();
  for (
    const answer of [
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]
  ) {
    for (const [index, pieces] of [[answer + surplus], [answer, surplus]].entries()) {
      vm.script = sendRaw(pieces);
      client.send(getRequest(host));
      assert.equal((await client.readResponse()).body.toString(), "hello", `${index}`);
      await vm.until(() => vm.open === 0);
    }
  }
  assert.equal(vm.transcripts.length, 4);
});

test("a body behind an answer that has none poisons the VM's connection", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  for (
    const [method, head] of [["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 8"], ["GET", "HTTP/1.1 204 No Content"], [
      "GET",
      "HTTP/1.1 304 Not Modified",
    ]]
  ) {
    vm.script = sendRaw(`${head}\r\n\r\npoisoned`);
    client.send(`${method} / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    const response = await client.readResponse({ toHead: true });
    assert.equal(response.body.length, 0);
    await vm.until(() => vm.open === 0);
  }
  vm.script = sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  client.send(getRequest(host));
  assert.equal((await client.readResponse()).body.toString(), "ok");
});

// rule: RFC 9112, 11.1 | VM connection never used again
test("bytes that the VM sends between two answers end its connection", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  client.send(getRequest(host));
  assert.equal((await client.readResponse()).status, 200);
  const taken = Promise.withResolvers<void>();
  vm.script = (_request, connection) => {
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    setTimeout(() => {
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned");
      taken.resolve();
    }, 20);
  };
  client.send(getRequest(host));
  assert.equal((await client.readResponse()).body.toString(), "ok");
  await taken.promise;
  await vm.until(() => vm.open === 0);
  vm.script = sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean");
  client.send(getRequest(host));
  assert.equal((await client.readResponse()).body.toString(), "clean");
});

test("a VM that resets every request gets each of them once", async () => {
  const { vm, host } = await plane.vm({ script: resetConnection() });
  for (let i = 0; i < 3; i++) assert.equal((await rawRequest(plane.proxy.port, getRequest(host))).status, 502);
  assert.equal(vm.requests.length, 3);
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
