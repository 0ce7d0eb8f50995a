import assert from "node:assert/strict";
import { test } from "node:test";
import { BodyReader } from "../../../src/wire/h1/body-reader.ts";
import { CHUNKED, UNTIL_CLOSE } from "../../../src/wire/h1/framing.ts";
import { REFUSED } from "../../../src/wire/h1/message-head.ts";

const LIMITS = { maxHeadBytes: 1024, maxFields: 8, maxTargetBytes: 1024 };

function read(reader: BodyReader, text: string, at: number = 0): { end: number; body: string } {
  let body = "";
  const end = reader.read(Buffer.from(text, "latin1"), at, { onBody: (chunk) => body += chunk.toString("latin1") });
  return { end, body };
}

test("BodyReader ends a length-framed body at its last byte and leaves what follows", () => {
  const reader = new BodyReader(LIMITS);
  reader.begin(5);
  assert.deepEqual(read(reader, "xxabc", 2), { end: 5, body: "abc" });
  assert.equal(reader.left, 2);
  assert.equal(reader.done, false);
  assert.deepEqual(read(reader, "deGET /"), { end: 2, body: "de" });
  assert.equal(reader.done, true);
});

test("BodyReader never ends a body that lasts until the close", () => {
  const reader = new BodyReader(LIMITS);
  reader.begin(UNTIL_CLOSE);
  assert.deepEqual(read(reader, "abc"), { end: 3, body: "abc" });
  assert.equal(reader.done, false);
});

test("BodyReader decodes chunks, gives trailers, and begins anew", () => {
  const reader = new BodyReader(LIMITS);
  reader.begin(CHUNKED);
  assert.deepEqual(read(reader, "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET"), { end: 21, body: "abc" });
  assert.equal(reader.done, true);
  assert.equal(reader.trailers?.value(0), "1");
  reader.begin(0);
  assert.equal(reader.done, true);
  assert.equal(reader.trailers, null);
});

test("BodyReader says why chunks are refused", () => {
  const reader = new BodyReader(LIMITS);
  reader.begin(CHUNKED);
  assert.equal(read(reader, "-1\r\n").end, REFUSED);
  assert.equal(reader.refusal, "bad_request");
  assert.match(reader.problem, /chunk size/);
});
