/** Fields and chunks on the wire. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteWriter } from "../../../src/wire/bytes.ts";
import { FieldKind } from "../../../src/wire/header-list.ts";
import { dropTable, HOP_BY_HOP } from "../../../src/wire/hop-by-hop.ts";
import { writeChunk, writeFields, writeLastChunk } from "../../../src/wire/h1/head-writer.ts";
import { bytesOf, fieldList, requestHead } from "../../fixtures/heads.ts";

function written(write: (out: ByteWriter) => void): string {
  const out = new ByteWriter(1);
  write(out);
  return out.bytes.toString("latin1", 0, out.length);
}

const DROPS = dropTable(HOP_BY_HOP);

test("writeFields() copies what stays, byte for byte, and drops single fields wherever they stand", () => {
  const kept = ["a:1", "B:  2 \t", "C: \xff"];
  for (let at = 0; at <= kept.length; at++) {
    const fields = fieldList(...kept.slice(0, at), "Connection: close", "TE: x", ...kept.slice(at));
    assert.equal(written((out) => writeFields(out, fields, DROPS, null)), kept.map((line) => `${line}\r\n`).join(""));
  }
});

test("writeFields() writes nothing when nothing stays", () => {
  assert.equal(written((out) => writeFields(out, fieldList(), DROPS, null)), "");
  assert.equal(written((out) => writeFields(out, fieldList("Upgrade: x"), DROPS, null)), "");
});

test("writeFields() drops what Connection names", () => {
  const fields = fieldList("X-A: 1", "Host: a", "x-a: 2", "X-B: 3");
  assert.equal(written((out) => writeFields(out, fields, DROPS, ["x-a", "host"])), "Host: a\r\nX-B: 3\r\n");
});

test("writeFields() takes the start line along", () => {
  const head = requestHead("GET /a HTTP/1.1", "Connection: x", "Host: a");
  assert.equal(written((out) => writeFields(out, head.fields, DROPS, null, head.start)), "GET /a HTTP/1.1\r\nHost: a\r\n");
  const plain = requestHead("GET /a HTTP/1.0");
  assert.equal(written((out) => writeFields(out, plain.fields, DROPS, null, plain.start)), "GET /a HTTP/1.0\r\n");
});

test("writeChunk() frames bytes, and never writes the chunk that ends a body", () => {
  assert.equal(written((out) => writeChunk(out, bytesOf("x".repeat(26)))), `1a\r\n${"x".repeat(26)}\r\n`);
  assert.equal(written((out) => writeChunk(out, bytesOf(""))), "");
});

test("writeLastChunk() writes trailers, but none that frame or route", () => {
  assert.equal(written((out) => writeLastChunk(out, null)), "0\r\n\r\n");
  const trailers = fieldList(
    "X-Sum: 1",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: evil.test",
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Port: 1",
    "Via: x",
    "Connection: close",
    "Trailer: X-Sum",
    "X-Time: 2",
  );
  assert.equal(written((out) => writeLastChunk(out, trailers)), "0\r\nX-Sum: 1\r\nX-Time: 2\r\n\r\n");
});

test("writeFields() keeps fields that the proxy only looks at", () => {
  const fields = fieldList("Accept: a", "Trailer: b", "Expect: c");
  assert.deepEqual([...fields.kinds.slice(0, 3)], [FieldKind.Accept, FieldKind.Trailer, FieldKind.Expect]);
  assert.equal(written((out) => writeFields(out, fields, DROPS, null)), "Accept: a\r\nTrailer: b\r\nExpect: c\r\n");
});
