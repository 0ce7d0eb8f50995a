/** Which heads are read, and that every ambiguous one is refused: one row per rule (RFC 9112, 2 to 6). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRequestHead, parseResponseHead, parseTrailers } from "../../../src/wire/h1/head-parser.ts";
import { NEED_MORE, REFUSED } from "../../../src/wire/h1/message-head.ts";
import { listHas } from "../../../src/wire/h1/head-rules.ts";
import { MessageHead, RequestHead, ResponseHead } from "../../../src/wire/h1/message-head.ts";
import { bytesOf, HEAD_LIMITS, requestHead, responseHead } from "../../fixtures/heads.ts";

/** A request with these field lines behind a good start line and Host. */
const withFields = (...lines: string[]): string => ["GET / HTTP/1.1", "Host: a.test", ...lines, "", ""].join("\r\n");
const withLine = (line: string): string => `${line}\r\nHost: a.test\r\n\r\n`;
const answer = (...lines: string[]): string => ["HTTP/1.1 200 OK", ...lines, "", ""].join("\r\n");

const REFUSED_REQUESTS: Readonly<Record<string, string>> = {
  "Content-Length with Transfer-Encoding": withFields("Content-Length: 5", "Transfer-Encoding: chunked"),
  "Transfer-Encoding with Content-Length": withFields("Transfer-Encoding: chunked", "Content-Length: 5"),
  "two Content-Lengths that differ": withFields("Content-Length: 5", "Content-Length: 6"),
  "two Content-Lengths that agree": withFields("Content-Length: 5", "content-length: 5"),
  "a list of Content-Lengths": withFields("Content-Length: 5, 5"),
  "a Content-Length with plus": withFields("Content-Length: +5"),
  "a Content-Length with minus": withFields("Content-Length: -5"),
  "a hexadecimal Content-Length": withFields("Content-Length: 0x5"),
  "a Content-Length with exponent": withFields("Content-Length: 1e3"),
  "a Content-Length with fraction": withFields("Content-Length: 5.0"),
  "a Content-Length with a space inside": withFields("Content-Length: 1 0"),
  "a Content-Length with a leading zero": withFields("Content-Length: 05"),
  "a Content-Length of two zeros": withFields("Content-Length: 00"),
  "a Content-Length with an underscore": withFields("Content_Length: 5"),
  "a Transfer-Encoding with an underscore": withFields("TRANSFER_ENCODING: chunked"),
  "an empty Content-Length": withFields("Content-Length:"),
  "a tab before Content-Length": withFields("Content-Length:\t5"),
  "a tab behind Content-Length": withFields("Content-Length: 5 \t"),
  "an overflowing Content-Length": withFields("Content-Length: 18446744073709551621"),
  "a Content-Length beyond 10^15": withFields("Content-Length: 1000000000000000"),
  "Transfer-Encoding twice": withFields("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
  "chunked listed twice": withFields("Transfer-Encoding: chunked, chunked"),
  "an empty Transfer-Encoding": withFields("Transfer-Encoding:"),
  "Transfer-Encoding in capitals": withFields("Transfer-Encoding: Chunked"),
  "Transfer-Encoding behind two spaces": withFields("Transfer-Encoding:  chunked"),
  "Transfer-Encoding behind a tab": withFields("Transfer-Encoding:\tchunked"),
  "Transfer-Encoding with a trailing space": withFields("Transfer-Encoding: chunked "),
  "Transfer-Encoding with a trailing tab": withFields("Transfer-Encoding: chunked\t"),
  "Transfer-Encoding with a leading comma": withFields("Transfer-Encoding: ,chunked"),
  "Transfer-Encoding with a trailing comma": withFields("Transfer-Encoding: chunked,"),
  "Transfer-Encoding in quotes": withFields('Transfer-Encoding: "chunked"'),
  "Transfer-Encoding with a parameter": withFields("Transfer-Encoding: chunked;q=1"),
  "Transfer-Encoding with a vertical tab": withFields("Transfer-Encoding: \x0bchunked"),
  "Transfer-Encoding with a byte above 0x7f": withFields("Transfer-Encoding: chunked\xa0"),
  "a folded Transfer-Encoding": withFields("Transfer-Encoding:", " chunked"),
  "Transfer-Encoding in HTTP/1.0": "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
  "a space before the colon": withFields("Content-Length : 5"),
  "a tab before the colon": withFields("X\t: 5"),
  "an empty field name": withFields(": 5"),
  "a field without colon": withFields("Content-Length"),
  "a space inside a field name": withFields("X Y: 5"),
  "a control byte in a field name": withFields("X\x01: 5"),
  "a byte above 0x7f in a field name": withFields("X\xe4: 5"),
  "a line folded by a space": withFields("X: a", " b"),
  "a line folded by a tab": withFields("X: a", "\tb"),
  "a space before the first field": "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
  "NUL in a value": withFields("X: a\0b"),
  "DEL in a value": withFields("X: a\x7fb"),
  "a control byte in a value": withFields("X: a\x1bb"),
  "a bare line feed in a value": withFields("X: a\nY: b"),
  "a bare carriage return in a value": withFields("X: a\rY: b"),
  "a bare carriage return before CRLF": withFields("X: a\r"),
  "a bare line feed at the end of a field": "GET / HTTP/1.1\r\nHost: a.test\n\r\n",
  "a bare line feed at the end of the head": "GET / HTTP/1.1\r\nHost: a.test\r\n\n",
  "a bare carriage return at the end of the head": "GET / HTTP/1.1\r\nHost: a.test\r\n\rX",
  "a bare line feed at the end of the request line": "GET / HTTP/1.1\nHost: a.test\r\n\r\n",
  "a bare carriage return at the end of the request line": "GET / HTTP/1.1\rHost: a.test\r\n\r\n",
  "a line feed before the request line": `\n${withFields()}`,
  "three empty lines before the request line": `\r\n\r\n\r\n${withFields()}`,
  "a space before the method": withLine(" GET / HTTP/1.1"),
  "no method": withLine("/ HTTP/1.1"),
  "a method that is no token": withLine("G(T / HTTP/1.1"),
  "a method with NUL": withLine("G\0T / HTTP/1.1"),
  "an endless method": withLine(`${"A".repeat(65)} / HTTP/1.1`),
  "two spaces before the target": withLine("GET  / HTTP/1.1"),
  "two spaces behind the target": withLine("GET /  HTTP/1.1"),
  "a tab before the target": withLine("GET\t/ HTTP/1.1"),
  "a space in the target": withLine("GET /a b HTTP/1.1"),
  "a tab in the target": withLine("GET /a\tb HTTP/1.1"),
  "NUL in the target": withLine("GET /a\0 HTTP/1.1"),
  "DEL in the target": withLine("GET /a\x7f HTTP/1.1"),
  "a fragment": withLine("GET /a#b HTTP/1.1"),
  "no target": withLine("GET HTTP/1.1"),
  "HTTP/0.9": withLine("GET /"),
  "HTTP/1.2": withLine("GET / HTTP/1.2"),
  "HTTP/2.0": withLine("GET / HTTP/2.0"),
  "HTTP/01.1": withLine("GET / HTTP/01.1"),
  "a version in small letters": withLine("GET / http/1.1"),
  "a version with a second digit": withLine("GET / HTTP/1.10"),
  "a space behind the version": withLine("GET / HTTP/1.1 "),
  "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "the asterisk for another method": withLine("GET * HTTP/1.1"),
  "an authority as target": withLine("GET a.test:443 HTTP/1.1"),
  "a target that is no path": withLine("GET a/b HTTP/1.1"),
  "another scheme": withLine("GET ftp://a.test/ HTTP/1.1"),
  "an absolute target without authority": withLine("GET http:///a HTTP/1.1"),
  "user information in an absolute target": withLine("GET http://me@a.test/ HTTP/1.1"),
  "CONNECT": withLine("CONNECT a.test:443 HTTP/1.1"),
  "HTTP/1.1 without Host": "GET / HTTP/1.1\r\nX: y\r\n\r\n",
  "HTTP/1.1 without any field": "GET / HTTP/1.1\r\n\r\n",
  "an absolute target without Host": "GET http://a.test/ HTTP/1.1\r\n\r\n",
  "an absolute target with a malformed Host": "GET http://a.test/ HTTP/1.1\r\nHost: a, b\r\n\r\n",
  "Host twice": withFields("Host: b.test"),
  "the same Host twice": withFields("host: a.test"),
};

for (const [what, text] of Object.entries(REFUSED_REQUESTS)) {
  test(`parseRequestHead() refuses ${what}`, () => {
    const head = new RequestHead();
    assert.equal(parseRequestHead(bytesOf(text), 0, text.length, HEAD_LIMITS, head), REFUSED);
    assert.equal(head.refusal, "bad_request");
    assert.notEqual(head.problem, "");
  });
}

const REFUSED_RESPONSES: Readonly<Record<string, string>> = {
  "two lengths": answer("Content-Length: 1", "Content-Length: 2"),
  "two lengths that agree": answer("Content-Length: 1", "Content-Length: 1"),
  "a list of lengths": answer("Content-Length: 1, 1"),
  "a length with a tab": answer("Content-Length: 1\t"),
  "a negative length": answer("Content-Length: -1"),
  "length with chunked": answer("Content-Length: 1", "Transfer-Encoding: chunked"),
  "chunked twice": answer("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
  "another coding": answer("Transfer-Encoding: gzip, chunked"),
  "obfuscated chunked": answer("Transfer-Encoding:\tchunked"),
  "chunked in HTTP/1.0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  "no version": "200 OK\r\n\r\n     ",
  "another protocol": "ICY 200 OK\r\n\r\n",
  "HTTP/2": "HTTP/2 200\r\n\r\n     ",
  "a status of two digits": "HTTP/1.1 20 OK\r\n\r\n",
  "a status of four digits": "HTTP/1.1 2000 OK\r\n\r\n",
  "a status below 100": "HTTP/1.1 099 OK\r\n\r\n",
  "a status with a letter": "HTTP/1.1 2x0 OK\r\n\r\n",
  "a status with a sign": "HTTP/1.1 +20 OK\r\n\r\n",
  "two spaces before the status": "HTTP/1.1  200 OK\r\n\r\n",
  "NUL in the reason": "HTTP/1.1 200 O\0K\r\n\r\n",
  "a bare line feed behind the reason": "HTTP/1.1 200 OK\n\r\n",
  "a bare carriage return behind the reason": "HTTP/1.1 200 OK\rX\r\n\r\n",
  "an empty line first": "\r\nHTTP/1.1 200 OK\r\n\r\n",
  "NUL in a value": answer("X: a\0b"),
  "a folded line": answer("X: a", " b"),
  "a space before the colon": answer("X : a"),
  "a bare line feed": answer("X: a\nY: b"),
};

test("parseResponseHead() takes chunked in any case, since answers are framed anew", () => {
  const head = new ResponseHead();
  const text = answer("Transfer-Encoding: Chunked");
  assert.equal(parseResponseHead(bytesOf(text), 0, text.length, HEAD_LIMITS, head), text.length);
  assert.equal(head.chunked, true);
});

for (const [what, text] of Object.entries(REFUSED_RESPONSES)) {
  test(`parseResponseHead() refuses ${what}`, () => {
    const head = new ResponseHead();
    assert.equal(parseResponseHead(bytesOf(text), 0, text.length, HEAD_LIMITS, head), REFUSED);
  });
}

test("parseRequestHead() says 501 for codings that it does not know", () => {
  for (const coding of ["gzip", "gzip, chunked", "identity", "chunked, gzip", "xchunked"]) {
    const text = withFields(`Transfer-Encoding: ${coding}`);
    const head = new RequestHead();
    assert.equal(parseRequestHead(bytesOf(text), 0, text.length, HEAD_LIMITS, head), REFUSED);
    assert.equal(head.refusal, "unsupported_coding", coding);
  }
});

test("parseRequestHead() keeps its limits to the byte", () => {
  const refusalOf = (text: string, limits = HEAD_LIMITS): string => {
    const head = new RequestHead();
    return parseRequestHead(bytesOf(text), 0, text.length, limits, head) === REFUSED ? head.refusal : "none";
  };
  const target = `/${"a".repeat(8191)}`;
  assert.equal(refusalOf(withLine(`GET ${target} HTTP/1.1`)), "none");
  assert.equal(refusalOf(withLine(`GET ${target}a HTTP/1.1`)), "target_too_long");
  assert.equal(refusalOf(`GET ${target}a`), "target_too_long");
  const fields = Array.from({ length: 127 }, (_, index) => `X${index}: y`);
  assert.equal(refusalOf(withFields(...fields)), "none");
  assert.equal(refusalOf(withFields(...fields, "X: y")), "head_too_large");
  const text = withFields("X: yz");
  assert.equal(refusalOf(text, { ...HEAD_LIMITS, maxHeadBytes: text.length }), "none");
  assert.equal(refusalOf(text, { ...HEAD_LIMITS, maxHeadBytes: text.length - 1 }), "head_too_large");
  assert.equal(
    refusalOf(`${text}POST / HTTP/1.1\r\n`, { ...HEAD_LIMITS, maxHeadBytes: text.length }),
    "none",
    "what is behind does not count",
  );
  assert.equal(
    refusalOf(`GET / HTTP/1.1\r\nX: ${"y".repeat(100)}`, { ...HEAD_LIMITS, maxHeadBytes: 64 }),
    "head_too_large",
    "no line end",
  );
});

test("parseResponseHead() keeps its limits to the byte", () => {
  const text = answer("X: yz");
  const parse = (maxHeadBytes: number, bytes = bytesOf(text)): number => {
    return parseResponseHead(bytes, 0, bytes.length, { ...HEAD_LIMITS, maxHeadBytes }, new ResponseHead());
  };
  assert.equal(parse(text.length), text.length);
  assert.equal(parse(text.length - 1), REFUSED);
  assert.equal(parse(64, bytesOf(`HTTP/1.1 200 ${"x".repeat(64)}`)), REFUSED);
  const fields = Array.from({ length: 129 }, (_, index) => `X${index}: y`);
  assert.equal(parse(HEAD_LIMITS.maxHeadBytes, bytesOf(answer(...fields))), REFUSED);
});

test("parseTrailers() keeps the rules of heads", () => {
  const parse = (text: string): number => parseTrailers(bytesOf(text), 0, text.length, HEAD_LIMITS, new MessageHead());
  assert.equal(parse("\r\n"), 2);
  assert.equal(parse("X: y\r\n\r\nmore"), 8);
  assert.equal(parse("X: y\r\n"), NEED_MORE);
  for (
    const bad of ["X : y\r\n\r\n", " X: y\r\n\r\n", "X: y\n\n", "X: a\0\r\n\r\n", "X: a\rb\r\n\r\n", "X\r\n\r\n", ": y\r\n\r\n"]
  ) {
    assert.equal(parse(bad), REFUSED, JSON.stringify(bad));
  }
  assert.equal(parse("X: y\r\n".repeat(129) + "\r\n"), REFUSED);
});

test("parseRequestHead() asks for more at every cut of a good head, and reads it from any offset", () => {
  const text = `\r\n${withFields("Transfer-Encoding: chunked", "Connection: keep-alive, X-Y", "X:", "Y: \t z \t")}`;
  const before = "BODY OF THE REQUEST BEFORE";
  const bytes = bytesOf(`${before}${text}0\r\n\r\n`);
  for (let end = before.length; end < before.length + text.length; end++) {
    assert.equal(parseRequestHead(bytes, before.length, end, HEAD_LIMITS, new RequestHead()), NEED_MORE, `cut at ${end}`);
  }
  const head = new RequestHead();
  assert.equal(parseRequestHead(bytes, before.length, bytes.length, HEAD_LIMITS, head), before.length + text.length);
  assert.deepEqual([head.method, head.target, head.authority, head.chunked, head.contentLength], ["GET", "/", "a.test", true, -1]);
  assert.deepEqual([head.keepAlive, head.close, head.nominated], [true, false, ["x-y"]]);
  assert.deepEqual([head.fields.value(3), head.fields.value(4)], ["", "z"]);
});

test("parseResponseHead() asks for more at every cut of a good head", () => {
  const text = answer("Content-Length: 12", "Connection: close");
  for (let end = 0; end < text.length; end++) {
    assert.equal(parseResponseHead(bytesOf(text), 0, end, HEAD_LIMITS, new ResponseHead()), NEED_MORE, `cut at ${end}`);
  }
});

test("parseRequestHead() reads a head as it is meant", () => {
  const head = requestHead(
    "PATCH /a%zz?{}|\xe4 HTTP/1.0",
    "HOST: A.test:80",
    "content-length: 7",
  );
  assert.deepEqual([head.method, head.target, head.minor, head.authority], ["PATCH", "/a%zz?{}|\xe4", 0, "A.test:80"]);
  assert.equal(head.contentLength, 7);
});

test("parseRequestHead() knows who takes trailers: nobody who speaks HTTP/1.0", () => {
  assert.ok(requestHead("GET / HTTP/1.1", "Host: a", "TE: gzip, Trailers").acceptsTrailers);
  assert.ok(!requestHead("GET / HTTP/1.1", "Host: a", "TE: gzip").acceptsTrailers);
  assert.ok(!requestHead("GET / HTTP/1.0", "Host: a", "TE: trailers").acceptsTrailers);
});

test("parseRequestHead() knows who waits for 100, and that HTTP/1.0 never does", () => {
  const expects = (version: string, ...fields: readonly string[]): boolean =>
    requestHead(`PUT / HTTP/${version}`, "Host: a", ...fields).expectsContinue;
  assert.ok(expects("1.1", "Expect: 100-Continue"));
  assert.ok(expects("1.1", "Expect: tea, 100-continue"));
  assert.ok(expects("1.1", "Expect: 100-continue", "Expect: tea"));
  assert.ok(!expects("1.1", "Expect: tea"));
  assert.ok(!expects("1.0", "Expect: 100-continue"));
});

test("parseRequestHead() lets the authority of an absolute target win", () => {
  const head = requestHead("GET HTTP://a.test:80/b?c HTTP/1.1", "Host: other.test");
  assert.deepEqual([head.authority, head.fields.bytes.toString("latin1", head.pathStart, head.pathEnd)], ["a.test:80", "/b?c"]);
  assert.equal(requestHead("GET http://a.test?c HTTP/1.1", "Host: b").authority, "a.test");
  assert.equal(requestHead("OPTIONS * HTTP/1.1", "Host: b").authority, "b");
});

test("parseRequestHead() forgets the head before", () => {
  const first = withFields("Transfer-Encoding: chunked", "Connection: close, x", "TE: trailers", "Expect: 100-continue");
  const second = "GET http://b.test/ HTTP/1.0\r\n\r\n";
  const bytes = bytesOf(first + second);
  const head = new RequestHead();
  const end = parseRequestHead(bytes, 0, bytes.length, HEAD_LIMITS, head);
  assert.equal(parseRequestHead(bytes, end, bytes.length, HEAD_LIMITS, head), bytes.length);
  assert.deepEqual([head.chunked, head.close, head.nominated, head.acceptsTrailers, head.expectsContinue], [
    false,
    false,
    null,
    false,
    false,
  ]);
  assert.deepEqual([head.minor, head.authority, head.fields.count], [0, "b.test", 0]);
});

test("parseResponseHead() reads a length with leading zeros, which is the client's to misread", () => {
  assert.equal(responseHead("HTTP/1.1 200 OK", "Content-Length: 007").contentLength, 7);
});

test("parseResponseHead() reads status lines with and without reason", () => {
  for (
    const [line, status, reason] of [["HTTP/1.1 200 OK", 200, "200 OK"], ["HTTP/1.1 204 ", 204, "204 "], [
      "HTTP/1.0 999",
      999,
      "999",
    ]] as const
  ) {
    const head = responseHead(line, "X: y");
    assert.equal(head.status, status);
    assert.equal(head.fields.bytes.toString("latin1", head.statusStart, head.reasonEnd), reason);
  }
});

test("listHas() finds elements of comma-separated lists without case and parameters", () => {
  assert.ok(listHas("gzip;q=1, Trailers", "trailers"));
  assert.ok(!listHas("trailersX, x trailers", "trailers"));
});

test("parseRequestHead() takes nothing but space and tab for white space in lists", () => {
  const head = requestHead("GET / HTTP/1.1", "Host: a", "Connection: \xa0close, \t x-y\t", "TE: \xa0trailers");
  assert.deepEqual([head.close, head.nominated, head.acceptsTrailers], [false, ["\xa0close", "x-y"], false]);
});
