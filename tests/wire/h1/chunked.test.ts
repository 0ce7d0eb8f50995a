/** Chunked bodies: any cut gives the same events, and nothing that could be read in two ways passes (RFC 9112, 7.1). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChunkedDecoder } from "../../../src/wire/h1/chunked.ts";
import { REFUSED } from "../../../src/wire/h1/message-head.ts";
import { bytesOf, HEAD_LIMITS } from "../../fixtures/heads.ts";

interface Decoded {
  readonly outcome: "done" | "more" | "refused";
  readonly body: string;
  readonly trailers: readonly string[];
  /** Bytes behind the body. */
  readonly rest: string;
}

/** Decodes `text` in parts that begin at the offsets in `cuts`. */
function decode(text: string, cuts: readonly number[] = [], limits = HEAD_LIMITS): Decoded {
  const decoder = new ChunkedDecoder(limits);
  let body = "";
  const events = { onBody: (chunk: Buffer) => void (body += chunk.toString("latin1")) };
  const edges = [0, ...cuts, text.length];
  for (let i = 0; i + 1 < edges.length; i++) {
    const part = bytesOf(`##${text.slice(edges[i], edges[i + 1])}`); // the offset is part of what is tested
    const end = decoder.read(part, 2, part.length, events);
    if (end === REFUSED) return { outcome: "refused", body, trailers: [], rest: "" };
    if (!decoder.done) assert.equal(end, part.length, "everything is read while the body is not done");
    else {
      const { fields } = decoder.trailers;
      const trailers = Array.from({ length: fields.count }, (_, index) => `${fields.name(index)}=${fields.value(index)}`);
      return { outcome: "done", body, trailers, rest: part.toString("latin1", end) + text.slice(edges[i + 1]) };
    }
  }
  return { outcome: "more", body, trailers: [], rest: "" };
}

const GOOD = '5;a=b;c="d e"\r\nhello\r\n0006\r\n world\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Time:2 \r\n\r\nGET / HTTP/1.1\r\n';
const DECODED: Decoded = {
  outcome: "done",
  body: "hello world0123456789",
  trailers: ["X-Sum=1", "X-Time=2"],
  rest: "GET / HTTP/1.1\r\n",
};

test("ChunkedDecoder reads the same however the bytes are cut", () => {
  assert.deepEqual(decode(GOOD), DECODED);
  const end = GOOD.length - DECODED.rest.length;
  for (let first = 1; first < end; first++) {
    assert.deepEqual(decode(GOOD, [first]), DECODED, `cut at ${first}`);
    for (let second = first + 1; second < end; second++) {
      assert.deepEqual(decode(GOOD, [first, second]), DECODED, `cut at ${first}, ${second}`);
    }
  }
  assert.deepEqual(decode(GOOD, Array.from({ length: end - 1 }, (_, at) => at + 1)), DECODED, "byte by byte");
});

test("ChunkedDecoder is never done before the last byte", () => {
  const end = GOOD.length - DECODED.rest.length;
  for (let at = 0; at < end; at++) assert.equal(decode(GOOD.slice(0, at)).outcome, "more", `first ${at} bytes`);
});

test("ChunkedDecoder hands on slices, not copies", () => {
  const bytes = bytesOf("5\r\nhello\r\n");
  new ChunkedDecoder(HEAD_LIMITS).read(bytes, 0, bytes.length, { onBody: (chunk) => assert.equal(chunk.buffer, bytes.buffer) });
});

test("ChunkedDecoder reads an empty body without trailers", () => {
  assert.deepEqual(decode("0\r\n\r\nrest"), { outcome: "done", body: "", trailers: [], rest: "rest" });
  assert.equal(decode("000\r\n\r\n").outcome, "done");
});

const REFUSED_BODIES: Readonly<Record<string, string>> = {
  "a missing size": "\r\nhello\r\n",
  "a size that is only an extension": ";a=b\r\n",
  "a negative size": "-5\r\nhello\r\n",
  "a size with plus": "+5\r\nhello\r\n",
  "a size with 0x": "0x5\r\nhello\r\n",
  "a size that is no number": "G\r\n",
  "a size with a space before it": " 5\r\nhello\r\n",
  "a size with a space behind it": "5 \r\nhello\r\n",
  "a size with a tab behind it": "5\t\r\nhello\r\n",
  "a size with a space before the extension": "5 ;a\r\nhello\r\n",
  "a size with an underscore": "1_0\r\n",
  "a size that overflows 64 bits": "10000000000000005\r\nhello\r\n",
  "a size that overflows 32 bits twice": "fffffffffffffffff\r\n",
  "a size with endless zeros": `${"0".repeat(32)}5\r\nhello\r\n`,
  "a size line that ends with LF": "5\nhello\r\n",
  "a size line that ends with CR": "5\rhello\r\n",
  "a size line that ends with CR CR LF": "5\r\r\nhello\r\n",
  "an extension with a bare LF": "5;a\nhello\r\n",
  "an extension with a bare CR": "5;a\rb\r\nhello\r\n",
  "an extension with NUL": "5;a\0\r\nhello\r\n",
  "an oversized extension": `5;${"a".repeat(4097)}\r\nhello\r\n`,
  "many extensions": `1;${"a".repeat(64)}\r\nx\r\n`.repeat(65),
  "data longer than its size": "5\r\nhello!\r\n",
  "data shorter than its size": "6\r\nhello\r\n0\r\n\r\n",
  "data that ends with LF": "5\r\nhello\n0\r\n\r\n",
  "data that ends with CR and more": "5\r\nhello\rX",
  "data without an end": "5\r\nhello0\r\n\r\n",
  "a trailer with a bare LF": "0\r\nX: y\n\n",
  "a trailer with NUL": "0\r\nX: \0\r\n\r\n",
  "a folded trailer": "0\r\nX: y\r\n z\r\n\r\n",
  "a trailer with a space before the colon": "0\r\nX : y\r\n\r\n",
  "no trailer but a request": "0\r\nGET / HTTP/1.1\r\n\r\n",
};

for (const [what, text] of Object.entries(REFUSED_BODIES)) {
  test(`ChunkedDecoder refuses ${what}, however it is cut`, () => {
    assert.equal(decode(text).outcome, "refused");
    for (let at = 1; at < Math.min(text.length, 300); at++) assert.equal(decode(text, [at]).outcome, "refused", `cut at ${at}`);
  });
}

test("ChunkedDecoder stays refused", () => {
  const decoder = new ChunkedDecoder(HEAD_LIMITS);
  const events = { onBody: () => assert.fail("nothing may come out") };
  assert.equal(decoder.read(bytesOf("x"), 0, 1, events), REFUSED);
  assert.equal(decoder.read(bytesOf("5\r\nhello\r\n"), 0, 10, events), REFUSED);
  assert.equal(decoder.done, false);
  assert.notEqual(decoder.problem, "");
});

test("ChunkedDecoder bounds the trailers", () => {
  const limits = { ...HEAD_LIMITS, maxHeadBytes: 100 };
  const endless = `0\r\nX: ${"y".repeat(200)}`;
  assert.equal(decode(endless, [], limits).outcome, "refused");
  assert.equal(decode(endless, Array.from({ length: endless.length - 1 }, (_, at) => at + 1), limits).outcome, "refused");
  assert.equal(decode(`0\r\n${"X: y\r\n".repeat(129)}\r\n`).outcome, "refused");
});

test("ChunkedDecoder reads sizes up to 2^44 - 1", () => {
  assert.equal(decode("fffffffffff\r\nx").outcome, "more");
  assert.equal(decode("100000000000\r\nx").outcome, "refused");
});
