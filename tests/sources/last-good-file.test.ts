/** The file format of the last good table: what goes in comes out, and nothing else is believed. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { encodeTable, PIECE_BYTES, type SavedTable, TableReader } from "../../src/sources/last-good-file.ts";
import { headerOf, type TableHeader } from "../../src/sources/last-good-format.ts";
import { changes, Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import { ELSEWHERE, FAR_AWAY, HERE, region, vm } from "../fixtures/records.ts";

const HEADER: Omit<TableHeader, "routes"> = {
  region: HERE,
  regionPort: 80,
  savedAtMs: 2000,
  asOfMs: 1000,
  revision: 7,
  source: "postgres",
};

function encoded(routes: Routes, header: Partial<TableHeader> = {}): Buffer {
  const pieces: Buffer[] = [];
  for (const piece of encodeTable({ ...HEADER, ...header }, routes)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

function decoded(file: Uint8Array, services = new Services(), pieceBytes = PIECE_BYTES): Promise<SavedTable | string> {
  const reader = new TableReader(file.length, { regionId: HERE, regionPort: 80 }, services);
  for (let at = 0; at < file.length; at += pieceBytes) reader.push(file.subarray(at, at + pieceBytes));
  return reader.finish();
}

/** With a checksum that fits whatever the rest says. */
function signed(content: Uint8Array): Buffer {
  return Buffer.concat([content, createHash("sha256").update(content).digest()]);
}

function small(services: Services): Routes {
  const draft = new RoutesDraft();
  draft.put("app.example.com", services.of([vm("10.0.0.5"), vm("10.0.0.6"), region(ELSEWHERE, "203.0.113.7")]));
  draft.put("*.example.com", services.of([vm("2001:db8::5", 1)]));
  draft.put("[2001:db8::1]", services.of([region(FAR_AWAY, "203.0.113.9")]));
  draft.put("www.example.com", services.of([region(FAR_AWAY, "203.0.113.9")]));
  return draft.finish();
}

function assertSame(actual: SavedTable | string, expected: Routes): void {
  assert.ok(typeof actual !== "string", String(actual));
  assert.deepEqual([...changes(expected, actual.routes)], []);
  assert.equal(actual.routes.size, expected.size);
}

test("a table comes out of its file as it went in, in pieces of any size", async () => {
  const services = new Services();
  const routes = small(services);
  const file = encoded(routes);
  for (const bytes of [1, 2, 3, 7, 50, file.length - 1, file.length]) assertSame(await decoded(file, services, bytes), routes);
  const saved = await decoded(file, services) as SavedTable;
  assert.deepEqual(saved.header, { ...HEADER, routes: 4 });
  assert.deepEqual(headerOf(file.subarray(0, 300)), { ...HEADER, routes: 4 });
});

test("a table of many pieces, and one of none, come out as they went in", async () => {
  const services = new Services();
  const draft = new RoutesDraft();
  for (let i = 0; i < 20_000; i++) {
    draft.put(`${"x".repeat(i % 50)}${i}.example.com`, services.of([vm(`10.0.${i % 7}.${i % 250}`), vm("10.1.0.1", 1 + i % 3000)]));
  }
  const many = draft.finish();
  assert.ok(encoded(many).length > 10 * PIECE_BYTES);
  assertSame(await decoded(encoded(many), services), many);
  assertSame(await decoded(encoded(Routes.none)), Routes.none);
});

test("a file with any bit flipped is not believed", async () => {
  const file = encoded(small(new Services()));
  for (let at = 0; at < file.length; at++) {
    for (const bit of [1, 32, 128]) {
      const flipped = Buffer.from(file);
      flipped[at] = flipped[at]! ^ bit;
      assert.equal(typeof await decoded(flipped), "string", `byte ${at}`);
    }
  }
});

test("a file of any length but its own is not believed", async () => {
  const file = encoded(small(new Services()));
  for (let length = 0; length < file.length; length++) {
    assert.equal(typeof await decoded(file.subarray(0, length)), "string", `${length}`);
  }
  assert.match(String(await decoded(file.subarray(0, file.length - 1))), /torn or damaged/);
  assert.match(String(await decoded(Buffer.concat([file, Buffer.alloc(1)]))), /torn or damaged/);
});

test("a file that grew or shrank while it was read is not believed", async () => {
  const file = encoded(small(new Services()));
  for (const told of [file.length - 10, file.length + 10]) {
    const reader = new TableReader(told, { regionId: HERE, regionPort: 80 }, new Services());
    reader.push(file);
    assert.match(String(await reader.finish()), /torn or damaged/);
  }
});

test("a whole file that is not for us is refused with the reason", async () => {
  const routes = small(new Services());
  const file = encoded(routes);
  const newer = Buffer.from(file);
  newer.writeUInt32LE(2, 8);
  const content = file.subarray(0, -32);
  const swapped = (from: string, to: string) => signed(Buffer.from(content.toString("latin1").replace(from, to), "latin1"));
  const cases: readonly (readonly [file: Buffer, reason: RegExp])[] = [
    [Buffer.from("routes: []\n".repeat(20)), /no routing table of edgeproxy/],
    [newer, /version 2, and this version of edgeproxy reads 1/],
    [encoded(routes, { region: ELSEWHERE }), /of region "22222222/],
    [encoded(routes, { regionPort: 8080 }), /EDGEPROXY_REGION_PORT 8080, which now is 80/],
    [swapped('"routes":4}', '"routes":5}'), /has 4 routes and should have 5/],
    [swapped('"routes":4}', '"routes":3}'), /has 4 routes and should have 3/],
    [swapped('"routes":4}', '"rOutes":4}'), /no readable header/],
    [encoded(routes, { source: "x".repeat(5000) }), /no readable header/],
    [swapped("app.example", "App.example"), /"App.example.com" in it is no normalised host name/],
    [swapped("app.example", "www.example"), /host twice/],
    [swapped("10.0.0.5", "10.0.0.x"), /endpoint that cannot be/],
    [swapped(ELSEWHERE, HERE), /cannot be seen from here/],
    [signed(Buffer.concat([content, Buffer.from([0])])), /goes on behind its last route/],
    [signed(Buffer.concat([content, Buffer.from([0, 0, 0])])), /service without an endpoint/],
    [signed(Buffer.concat([content, Buffer.from([1, 0x61, 9, 0, 0, 0])])), /"a" leads nowhere/],
  ];
  for (const [bytes, reason] of cases) assert.match(String(await decoded(bytes)), reason);
});

test("a header with an absurd number of routes is refused before anything is made of it", async () => {
  const content = encoded(small(new Services())).subarray(0, -32).toString("latin1");
  const json = content.slice(16, content.indexOf("}") + 1);
  const absurd = json.replace('"routes":4', '"routes":4000000000');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(absurd.length);
  const file = signed(
    Buffer.from(content.slice(0, 12) + length.toString("latin1") + absurd + content.slice(16 + json.length), "latin1"),
  );
  assert.match(String(await decoded(file)), /cannot have as many as 4000000000 routes/);
});
