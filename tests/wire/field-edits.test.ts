/** Which fields go, and what lines may be added. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fieldLine, FieldNames, utf8Bytes, whyUneditable } from "../../src/wire/field-edits.ts";
import { fieldList } from "../fixtures/heads.ts";

const has = (names: readonly string[], line: string): boolean => new FieldNames(names).has(fieldList(line), 0);

test("FieldNames finds a name in any case, and as CGI reads it", () => {
  for (const line of ["Cookie: a=1", "COOKIE: a=1", "cookie:a=1"]) assert.ok(has(["cookie"], line), line);
  for (const line of ["X-Gateway: 1", "x_gateway: 1", "X_GateWay: 1"]) {
    assert.ok(has(["x-gateway"], line), line);
    assert.ok(has(["X_Gateway"], line), line);
  }
});

test("FieldNames does not take one name for another", () => {
  for (const line of ["Cookies: 1", "Cooki: 1", "xCookie: 1", "C00kie: 1", "X-Cookie: 1"]) assert.ok(!has(["cookie"], line), line);
  for (const line of ["X~Gateway: 1", "X^Gateway: 1", "X.Gateway: 1", "XxGateway: 1"]) assert.ok(!has(["x-gateway"], line), line);
  assert.ok(!has([], "A: 1"));
  assert.ok(has(["a", "bb", "b"], "B: 1"));
});

test("fieldLine() is one line whatever the value holds", () => {
  assert.equal(fieldLine("X-A", "one, two\t3"), "X-A: one, two\t3\r\n");
  assert.equal(fieldLine("X-A", "a\r\nX-B: c"), "X-A: aX-B: c\r\n");
  assert.equal(fieldLine("X-A", " \r\n\r\nGET / HTTP/1.1\0 "), "X-A: GET / HTTP/1.1\r\n");
  assert.equal(fieldLine("X-A", "\x7f\x01"), "X-A: \r\n");
  assert.equal(fieldLine("X-A", "\u010d\u010ab\xff"), "X-A: b\xff\r\n", "neither may become CR or LF by losing its upper byte");
});

test("utf8Bytes() has one character for each byte", () => {
  assert.equal(utf8Bytes("plain {x}"), "plain {x}");
  assert.equal(utf8Bytes("é€"), "\xc3\xa9\xe2\x82\xac");
});

test("whyUneditable() keeps framing, connections and who the client is from being edited", () => {
  const own = ["Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "Keep-Alive", "Proxy-Connection", "Trailer"];
  for (const name of own) {
    assert.notEqual(whyUneditable("request", name), null, name);
    assert.notEqual(whyUneditable("response", name), null, name);
  }
  for (const name of ["Host", "X-Forwarded-For", "x_forwarded_for", "X-Real-IP", "Via", "Forwarded", "traceparent", "Expect"]) {
    assert.notEqual(whyUneditable("request", name), null, name);
  }
  for (const name of ["Content_Length", "Transfer_Encoding"]) assert.notEqual(whyUneditable("request", name), null, name);
  for (const name of ["X-Edgeproxy-Error", "x_edgeproxy_attempts"]) assert.notEqual(whyUneditable("response", name), null, name);
});

test("whyUneditable() wants a field name", () => {
  for (const name of ["", "a b", "a:b", "a\r\nb", "ä", "x\0"]) assert.equal(whyUneditable("request", name), "is no field name");
});

test("whyUneditable() leaves everything else to operators", () => {
  for (const name of ["Authorization", "Cookie", "X-Gateway", "X-Forwarded-Prefix", "X-Route-Key", "Accept-Encoding"]) {
    assert.equal(whyUneditable("request", name), null, name);
  }
  for (const name of ["Set-Cookie", "Server", "Strict-Transport-Security", "Cache-Control", "Content-Type"]) {
    assert.equal(whyUneditable("response", name), null, name);
  }
});
