/** How the end of a body is known (RFC 9112, 6.3). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CHUNKED, requestBodyLength, responseBodyLength, UNTIL_CLOSE } from "../../../src/wire/h1/framing.ts";
import { requestHead, responseHead } from "../../fixtures/heads.ts";

test("requestBodyLength() is nothing unless a field says otherwise", () => {
  assert.equal(requestBodyLength(requestHead("POST / HTTP/1.1", "Host: a")), 0);
  assert.equal(requestBodyLength(requestHead("GET / HTTP/1.1", "Host: a", "Content-Length: 7")), 7);
  assert.equal(requestBodyLength(requestHead("GET / HTTP/1.1", "Host: a", "Content-Length: 0")), 0);
  assert.equal(requestBodyLength(requestHead("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")), CHUNKED);
});

test("responseBodyLength() knows which answers have no body", () => {
  const length = responseHead("HTTP/1.1 200 OK", "Content-Length: 7");
  const chunked = responseHead("HTTP/1.1 200 OK", "Transfer-Encoding: chunked");
  assert.equal(responseBodyLength(length, "GET"), 7);
  assert.equal(responseBodyLength(length, "HEAD"), 0);
  assert.equal(responseBodyLength(chunked, "GET"), CHUNKED);
  assert.equal(responseBodyLength(chunked, "HEAD"), 0);
  assert.equal(responseBodyLength(responseHead("HTTP/1.1 200 OK"), "GET"), UNTIL_CLOSE);
  for (const status of [100, 103, 204, 304]) {
    assert.equal(responseBodyLength(responseHead(`HTTP/1.1 ${status} X`, "Content-Length: 7"), "GET"), 0);
    assert.equal(responseBodyLength(responseHead(`HTTP/1.1 ${status} X`, "Transfer-Encoding: chunked"), "GET"), 0);
    assert.equal(responseBodyLength(responseHead(`HTTP/1.1 ${status} X`), "GET"), 0);
  }
});
