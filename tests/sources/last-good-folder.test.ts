/** The folder of the last good table, on a real disk. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { SavedTable } from "../../src/sources/last-good-file.ts";
import { LastGoodFolder } from "../../src/sources/last-good-folder.ts";
import { changes, type Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";
import { ELSEWHERE, HERE, vm } from "../fixtures/records.ts";

const services = new Services();
const FOREVER = new AbortController().signal;
const NAME = `routes-${HERE}-80.edgeproxy`;

function table(count: number): Routes {
  const draft = new RoutesDraft();
  for (let i = 0; i < count; i++) draft.put(`d${i}.example.com`, services.of([vm(`10.0.0.${i % 200}`)]));
  return draft.finish();
}

function folderAt(path: string, regionId = HERE): LastGoodFolder {
  return new LastGoodFolder(path, { regionId, regionPort: 80 });
}

const header = (asOfMs: number, savedAtMs = asOfMs + 1) => ({ asOfMs, savedAtMs, revision: 3, source: "postgres" });

async function routesIn(folder: LastGoodFolder): Promise<Routes> {
  const read = await folder.read(services);
  assert.ok(read !== null && typeof read !== "string", String(read));
  return read.routes;
}

test("write() makes folder and file for their owner alone, and read() has the table again", async () => {
  await using temporary = await temporaryFolder();
  const path = join(temporary.path, "a", "b");
  const folder = folderAt(path);
  assert.equal(await folder.read(services), null);
  const routes = table(5000);
  assert.equal(await folder.write(header(1000), routes, FOREVER), true);
  assert.deepEqual(await readdir(path), [NAME]);
  assert.equal((await stat(folder.path)).mode & 0o777, 0o600);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
  const { header: saved, routes: read } = await folder.read(services) as SavedTable;
  assert.deepEqual([saved.asOfMs, saved.revision, saved.routes], [1000, 3, 5000]);
  assert.deepEqual([...changes(routes, read)], []);
});

test("two regions share a folder", async () => {
  await using temporary = await temporaryFolder();
  await folderAt(temporary.path).write(header(1), table(1), FOREVER);
  assert.equal(await folderAt(temporary.path, ELSEWHERE).read(services), null);
});

test("write() gives way to a younger table, but not to one from the future", async () => {
  await using temporary = await temporaryFolder();
  const folder = folderAt(temporary.path);
  await folder.write(header(2000), table(2), FOREVER);
  assert.equal(await folder.write(header(1000, 3000), table(1), FOREVER), false);
  assert.equal((await routesIn(folder)).size, 2);
  assert.equal(await folder.write(header(2000), table(3), FOREVER), true, "as old");
  await folder.write(header(9e12), table(4), FOREVER);
  assert.equal(await folder.write(header(3000), table(5), FOREVER), true, "the clock was wrong");
  assert.equal((await routesIn(folder)).size, 5);
  assert.deepEqual(await readdir(temporary.path), [NAME]);
});

test("write() that is broken off leaves the file as it was, and nothing beside it", async () => {
  await using temporary = await temporaryFolder();
  const folder = folderAt(temporary.path);
  await folder.write(header(1), table(1), FOREVER);
  const ending = new AbortController();
  const writing = folder.write(header(2), table(50_000), ending.signal);
  while ((await readdir(temporary.path)).length === 1);
  ending.abort(new Error("enough"));
  await assert.rejects(writing, /enough/);
  assert.equal((await routesIn(folder)).size, 1);
  assert.deepEqual(await readdir(temporary.path), [NAME]);
});

test("write() removes what a dead writer has left, and nothing else", async () => {
  await using temporary = await temporaryFolder();
  const [abandoned, young, foreign] = [`${NAME}.7-x-1.tmp`, `${NAME}.8-x-1.tmp`, "notes.tmp"];
  for (const name of [abandoned, young, foreign]) await writeFile(join(temporary.path, name), "half");
  const longAgo = new Date(Date.now() - 120_000);
  for (const name of [abandoned, foreign]) await utimes(join(temporary.path, name), longAgo, longAgo);
  await folderAt(temporary.path).write(header(1), table(1), FOREVER);
  assert.deepEqual((await readdir(temporary.path)).sort(), [NAME, young, foreign].sort());
});

test("read() refuses what it finds instead of a table, and write() replaces it", async () => {
  await using temporary = await temporaryFolder();
  const folder = folderAt(temporary.path);
  await folder.write(header(1), table(100), FOREVER);
  const whole = await readFile(folder.path);
  await truncate(folder.path, whole.length - 40);
  assert.match(String(await folder.read(services)), /torn or damaged/);
  await writeFile(folder.path, "");
  assert.match(String(await folder.read(services)), /torn or damaged/);
  await folder.write(header(1), table(7), FOREVER);
  assert.equal((await routesIn(folder)).size, 7);
  await writeFile(folder.path, "");
  await truncate(folder.path, 2 ** 31);
  assert.match(String(await folder.read(services)), /larger than any table/);
});

test("read() and write() fail where there can be no file", async () => {
  await using temporary = await temporaryFolder();
  const file = join(temporary.path, "file");
  await writeFile(file, "");
  await assert.rejects(folderAt(file).read(services), /ENOTDIR/);
  await assert.rejects(folderAt(file).write(header(1), table(1), FOREVER), /ENOTDIR|EEXIST/);
  const folder = folderAt(temporary.path);
  await mkdir(folder.path);
  await assert.rejects(folder.read(services), /no file|EISDIR/);
  await assert.rejects(folder.write(header(1), table(1), FOREVER), /EISDIR|ENOTEMPTY|EEXIST|directory/);
  assert.deepEqual((await readdir(temporary.path)).sort(), ["file", NAME]);
});
