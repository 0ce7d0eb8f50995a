/** The head that an endpoint gets (contract, section 7). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { trustedProxies } from "../../src/downstream/client-address.ts";
import type { Exchange } from "../../src/downstream/exchange.ts";
import { forwardingIdentity, upgradeOffer, writeRequestHead } from "../../src/forwarding/request-fields.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { requestBodyLength } from "../../src/wire/h1/framing.ts";
import { requestHead } from "../fixtures/heads.ts";

const IDENTITY = forwardingIdentity("edgeproxy-here", trustedProxies(["10.0.0.0/8"]));
const ID = "000000000000000a00000000000000b1";
const TRACE = `traceparent: 00-${ID}-00000000000000b1-00`;
const UNTRUSTED = "203.0.113.9", TRUSTED = "10.0.0.1";

/** What of an exchange the writer looks at. */
function exchangeOf(peerAddress: string, startLine: string, fields: readonly string[]): Exchange {
  const head = requestHead(startLine, ...fields);
  const trusted = IDENTITY.isTrusted(peerAddress);
  const peer = { address: peerAddress, port: 1, trusted, forwarded: null };
  const exchange: Partial<Exchange> = {
    traceId: ID,
    spans: null,
    head,
    peer,
    scheme: "http",
    requestId: ID,
    requestLength: requestBodyLength(head),
  };
  return exchange as Exchange;
}

function written(exchange: Exchange): string[] {
  const out = new ByteWriter(1);
  writeRequestHead(out, exchange, upgradeOffer(exchange), IDENTITY);
  const text = out.bytes.toString("latin1", 0, out.length);
  assert.ok(text.endsWith("\r\n\r\n"));
  return text.slice(0, -4).split("\r\n");
}

const from = (peer: string, startLine: string, ...fields: readonly string[]): string[] =>
  written(exchangeOf(peer, startLine, fields));
const GET = "GET /a HTTP/1.1", HOST = "Host: a.test:80";

/** What is added for a client that is not trusted. */
const ADDED = [
  `X-Forwarded-For: ${UNTRUSTED}`,
  "X-Forwarded-Proto: http",
  "X-Forwarded-Host: a.test:80",
  `X-Real-IP: ${UNTRUSTED}`,
  `X-Request-Id: ${ID}`,
  TRACE,
  "Via: 1.1 edgeproxy-here",
];

test("writeRequestHead() keeps Host and everything else, and adds what the proxy knows", () => {
  assert.deepEqual(from(UNTRUSTED, GET, "b:1", HOST, "B:  2 "), [GET, "b:1", HOST, "B:  2 ", ...ADDED]);
});

test("writeRequestHead() drops what untrusted clients say of themselves", () => {
  const spoofed = [
    "X-Forwarded-For: 1.1.1.1",
    "x-forwarded-proto: https",
    "X-Forwarded-Host: bank.test",
    "X-Forwarded-Port: 443",
    "X-Real-IP: 1.1.1.1",
    "X-Request-Id: mine",
    "Forwarded: for=1.1.1.1",
  ];
  assert.deepEqual(from(UNTRUSTED, GET, HOST, ...spoofed), [GET, HOST, ...ADDED]);
});

test("writeRequestHead() drops what servers read as one of our fields, underscores for dashes", () => {
  const spoofed = ["X_Forwarded_For: 1.1.1.1", "x_forwarded-PROTO: https", "X_Real_IP: 1.1.1.1", "X-Request_Id: mine"];
  const harmless = ["X_Other: 1", "X_Real_IPs: 2", "Y_Real_IP: 3"];
  assert.deepEqual(from(UNTRUSTED, GET, HOST, ...spoofed, ...harmless), [GET, HOST, ...harmless, ...ADDED]);
});

test("writeRequestHead() keeps what trusted peers say, and appends the peer", () => {
  const said = [
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-For: 203.0.113.9, 10.0.0.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: b.test",
  ];
  const kept = ["X-Forwarded-Port: 443", "Forwarded: for=1.1.1.1"];
  assert.deepEqual(from(TRUSTED, GET, HOST, ...said, ...kept), [
    GET,
    HOST,
    ...kept,
    "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.2, 10.0.0.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: b.test",
    "X-Real-IP: 203.0.113.9",
    `X-Request-Id: ${ID}`,
    TRACE,
    "Via: 1.1 edgeproxy-here",
  ]);
});

test("writeRequestHead() fills in what trusted peers leave out", () => {
  assert.deepEqual(from(TRUSTED, GET, HOST, "X-Forwarded-For:", "X-Forwarded-Proto:"), [
    GET,
    HOST,
    "X-Forwarded-For: 10.0.0.1",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: a.test:80",
    "X-Real-IP: 10.0.0.1",
    `X-Request-Id: ${ID}`,
    TRACE,
    "Via: 1.1 edgeproxy-here",
  ]);
});

test("writeRequestHead() appends to the way that the request has come, trusted or not", () => {
  for (const peer of [TRUSTED, UNTRUSTED]) {
    assert.equal(from(peer, GET, HOST, "Via: 1.0 a", "via: 1.1 b (c)").at(-1), "Via: 1.0 a, 1.1 b (c), 1.1 edgeproxy-here");
    assert.equal(from(peer, "GET / HTTP/1.0", HOST).at(-1), "Via: 1.0 edgeproxy-here");
    assert.equal(from(peer, GET, HOST, "Via:").at(-1), "Via: 1.1 edgeproxy-here");
  }
});

test("writeRequestHead() says anew who the client is when the host changes within a connection", () => {
  const exchange = exchangeOf(UNTRUSTED, GET, [HOST]);
  written(exchange);
  const next: Exchange = { ...exchange, head: requestHead(GET, "Host: other.test") };
  assert.ok(written(next).includes("X-Forwarded-Host: other.test"));
});

test("writeRequestHead() removes hop-by-hop fields and those that Connection names", () => {
  const hops = [
    "Connection: close, X-Secret",
    "Keep-Alive: 5",
    "Proxy-Connection: close",
    "TE: gzip",
    "Upgrade: websocket",
    "X-Secret: 1",
  ];
  assert.deepEqual(from(UNTRUSTED, GET, ...hops, HOST), [GET, HOST, ...ADDED]);
});

test("writeRequestHead() does not let Connection name framing and routing away", () => {
  const lines = from(
    UNTRUSTED,
    "POST / HTTP/1.1",
    HOST,
    "Content-Length: 3",
    "Connection: host, content-length, via, x-forwarded-for",
  );
  assert.deepEqual(lines, ["POST / HTTP/1.1", HOST, "Content-Length: 3", ...ADDED]);
});

test("writeRequestHead() frames chunked bodies anew and passes on that trailers are welcome", () => {
  const lines = from(UNTRUSTED, "POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "TE: trailers", "Trailer: X-Sum");
  assert.deepEqual(lines, [
    "POST / HTTP/1.1",
    HOST,
    "Trailer: X-Sum",
    "Transfer-Encoding: chunked",
    "TE: trailers",
    "Connection: TE",
    ...ADDED,
  ]);
});

test("writeRequestHead() asks for an upgrade on behalf of the client", () => {
  const lines = from(UNTRUSTED, GET, HOST, "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x");
  assert.deepEqual(lines, [GET, HOST, "Upgrade: websocket", "Sec-WebSocket-Key: x", "Connection: Upgrade", ...ADDED]);
});

test("writeRequestHead() keeps the bytes of Upgrade unless a protocol is taken out", () => {
  const upgrade = (...fields: readonly string[]): string[] => from(UNTRUSTED, GET, HOST, "Connection: Upgrade", ...fields);
  const before = [GET, HOST], after = ["Connection: Upgrade", ...ADDED];
  assert.deepEqual(upgrade("UPGRADE:foo/1 ,bar", "X: 1", "Upgrade: Baz"), [
    ...before,
    "UPGRADE:foo/1 ,bar",
    "X: 1",
    "Upgrade: Baz",
    ...after,
  ]);
  assert.deepEqual(upgrade("Upgrade: websocket, h2c", "X: 1"), [...before, "X: 1", "Upgrade: websocket", ...after]);
  assert.deepEqual(upgrade("Upgrade: H2C-14", "X: 1", "Upgrade: Foo/1, , bar"), [
    ...before,
    "X: 1",
    "Upgrade: Foo/1, bar",
    ...after,
  ]);
});

test("upgradeOffer() is never h2c, HTTP/1.0, with a body, or without Connection", () => {
  const offered = (startLine: string, ...fields: readonly string[]): readonly string[] | undefined =>
    upgradeOffer(exchangeOf(UNTRUSTED, startLine, [HOST, ...fields]))?.protocols;
  assert.deepEqual(offered(GET, "Connection: upgrade", "Upgrade: WebSocket"), ["websocket"]);
  assert.deepEqual(offered(GET, "Connection: x, UPGRADE", "Upgrade: foo/1, bar"), ["foo/1", "bar"]);
  assert.deepEqual(offered(GET, "Connection: Upgrade", "Upgrade: websocket", "Upgrade: H2C-14"), ["websocket"]);
  assert.deepEqual(offered(GET, "Connection: Upgrade", "Upgrade: websocket, foo h2c, h2c/2, a/b/c"), ["websocket"]);
  for (const field of ["Upgrade:", "Upgrade: ,", "Upgrade: h2c", "Upgrade: H2C-14, h2c"]) {
    assert.equal(offered(GET, "Connection: Upgrade", field), undefined, field);
  }
  assert.equal(offered(GET, "Connection: Upgrade"), undefined);
  assert.equal(offered(GET, "Upgrade: websocket"), undefined);
  assert.equal(offered("GET /a HTTP/1.0", "Connection: Upgrade", "Upgrade: websocket"), undefined);
  for (const body of ["Content-Length: 1", "Transfer-Encoding: chunked"]) {
    assert.equal(offered("POST /a HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", body), undefined);
  }
});

test("writeRequestHead() speaks HTTP/1.1 for clients of HTTP/1.0", () => {
  assert.equal(from(UNTRUSTED, "GET /a?b HTTP/1.0", HOST)[0], "GET /a?b HTTP/1.1");
  assert.ok(from(UNTRUSTED, "PUT / HTTP/1.1", HOST, "Expect: 100-continue").includes("Expect: 100-continue"));
  assert.ok(!from(UNTRUSTED, "PUT / HTTP/1.0", HOST, "Expect: 100-continue").includes("Expect: 100-continue"));
});

test("writeRequestHead() turns absolute targets into paths and takes their authority for Host", () => {
  const lines = from(UNTRUSTED, "GET http://b.test:81/x?y HTTP/1.1", "X-A: 1", HOST);
  assert.deepEqual(lines.slice(0, 3), ["GET /x?y HTTP/1.1", "Host: b.test:81", "X-A: 1"]);
  assert.ok(lines.includes("X-Forwarded-Host: b.test:81"));
  assert.equal(from(UNTRUSTED, "GET http://b.test HTTP/1.1", HOST)[0], "GET / HTTP/1.1");
  assert.equal(from(UNTRUSTED, "GET http://b.test?y HTTP/1.1", HOST)[0], "GET /?y HTTP/1.1");
  assert.equal(from(UNTRUSTED, "OPTIONS http://b.test HTTP/1.1", HOST)[0], "OPTIONS * HTTP/1.1");
  assert.equal(from(UNTRUSTED, "OPTIONS http://b.test/ HTTP/1.1", HOST)[0], "OPTIONS / HTTP/1.1");
  assert.equal(from(UNTRUSTED, "OPTIONS * HTTP/1.1", HOST)[0], "OPTIONS * HTTP/1.1");
});

const GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test("writeRequestHead() keeps the bytes of a valid traceparent and its tracestate, of anybody", () => {
  const trace = [`TraceParent:${GIVEN} `, "tracestate: a=1", "Tracestate: b=2"];
  const added = ADDED.filter((line) => line !== TRACE);
  assert.deepEqual(from(UNTRUSTED, GET, trace[0]!, HOST, trace[1]!, "X: 1", trace[2]!), [
    GET,
    trace[0],
    HOST,
    trace[1],
    "X: 1",
    trace[2],
    ...added,
  ]);
  assert.ok(from(TRUSTED, GET, HOST, ...trace).includes(trace[0]!));
  assert.equal(from(UNTRUSTED, GET, HOST, trace[0]!, "Via: 1.1 a").at(-1), "Via: 1.1 a, 1.1 edgeproxy-here");
});

test("writeRequestHead() begins a trace where there is none, or a malformed one, whose tracestate goes, too", () => {
  for (const parents of [[], [`traceparent: ${GIVEN}x`], [`traceparent: ${GIVEN}`, `Traceparent: ${GIVEN}`]]) {
    assert.deepEqual(from(UNTRUSTED, GET, HOST, ...parents, "tracestate: a=1"), [GET, HOST, ...ADDED]);
  }
  assert.equal(from(UNTRUSTED, GET, HOST, "Via: 1.0 a").at(-2), TRACE);
  assert.equal(from(UNTRUSTED, "GET / HTTP/1.0", HOST).at(-2), TRACE);
  const traceId = `${"1".repeat(16)}${"0".repeat(16)}`;
  const half = written({ ...exchangeOf(UNTRUSTED, GET, [HOST]), traceId });
  assert.equal(half.at(-2), `traceparent: 00-${traceId}-${"1".repeat(16)}-00`, "a span's id is never all zero");
});

test("writeRequestHead() makes a span that is recorded the parent of what happens at the endpoint", () => {
  const spans = { parent: "", server: "1".repeat(16), client: "2".repeat(16) };
  const begun = written({ ...exchangeOf(UNTRUSTED, GET, [HOST]), spans });
  assert.deepEqual(begun.slice(-2), [`traceparent: 00-${ID}-${spans.client}-01`, "Via: 1.1 edgeproxy-here"]);
  for (const [flags, ours] of [["00", "01"], ["01", "01"], ["03", "03"], ["fe", "03"]] as const) {
    const given = ["tracestate: a=1", `traceparent: 7f-${ID}-b7ad6b7169203331-${flags}-more`];
    const joined = written({ ...exchangeOf(UNTRUSTED, GET, [HOST, ...given]), spans });
    assert.deepEqual(joined.filter((line) => line.startsWith("trace")), [
      given[0],
      `traceparent: 00-${ID}-${spans.client}-${ours}`,
    ]);
  }
});
