/** Fields in order, with spelling and duplicates. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FieldKind } from "../../src/wire/header-list.ts";
import { fieldList } from "../fixtures/heads.ts";

test("HeaderList tells the fields that matter, whatever their spelling", () => {
  const names: Readonly<Record<string, FieldKind>> = {
    "HOST": FieldKind.Host,
    "connection": FieldKind.Connection,
    "Content-Length": FieldKind.ContentLength,
    "transfer-ENCODING": FieldKind.TransferEncoding,
    "Upgrade": FieldKind.Upgrade,
    "Expect": FieldKind.Expect,
    "Te": FieldKind.Te,
    "Trailer": FieldKind.Trailer,
    "Keep-Alive": FieldKind.KeepAlive,
    "Proxy-Connection": FieldKind.ProxyConnection,
    "Via": FieldKind.Via,
    "x-forwarded-for": FieldKind.XForwardedFor,
    "X-Forwarded-Proto": FieldKind.XForwardedProto,
    "X-Forwarded-Host": FieldKind.XForwardedHost,
    "X-Forwarded-Port": FieldKind.XForwardedOther,
    "X-Forwarded-Prefix": FieldKind.XForwardedOther,
    "X-Forwarded-": FieldKind.XForwardedOther,
    "X-Real-Ip": FieldKind.XRealIp,
    "X-Request-ID": FieldKind.XRequestId,
    "Forwarded": FieldKind.Forwarded,
    "HTTP2-Settings": FieldKind.Http2Settings,
    "Accept": FieldKind.Accept,
    "TraceParent": FieldKind.Traceparent,
    "tracestate": FieldKind.Tracestate,
    "trace-state": FieldKind.Other,
    "Hosts": FieldKind.Other,
    "Accepts": FieldKind.Other,
    "X-Forwarded": FieldKind.Other,
    "Content-Lengt_": FieldKind.Other,
    "X": FieldKind.Other,
  };
  const fields = fieldList(...Object.keys(names).map((name) => `${name}: 1`));
  assert.deepEqual([...fields.kinds.slice(0, fields.count)], Object.values(names));
});

test("HeaderList grows and keeps what it has", () => {
  const lines = Array.from({ length: 100 }, (_, index) => `Name-${index}: value ${index}`);
  const fields = fieldList(...lines);
  assert.equal(fields.count, 100);
  for (const [index, line] of lines.entries()) {
    assert.equal(`${fields.name(index)}: ${fields.value(index)}`, line);
    assert.equal(fields.bytes.toString("latin1", fields.start(index), fields.lineEnd(index)), `${line}\r\n`);
  }
});

test("HeaderList joins the values of one kind in order", () => {
  const fields = fieldList("Via: 1.1 a", "X: y", "via:1.0 b , 1.1 c");
  assert.equal(fields.joined(FieldKind.Via), "1.1 a, 1.0 b , 1.1 c");
  assert.equal(fields.joined(FieldKind.Host), null);
  assert.deepEqual([fields.has(FieldKind.Via), fields.has(FieldKind.Host)], [true, false]);
  fields.clear(fields.bytes);
  assert.equal(fields.has(FieldKind.Via), false);
  assert.ok(fields.nameIs(0, "via") && !fields.nameIs(1, "via"));
});
