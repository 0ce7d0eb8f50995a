/** When the last good table is written, and what becomes of failures; time and disk are the test's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LastGood } from "../../src/sources/last-good.ts";
import type { SavedTable } from "../../src/sources/last-good-file.ts";
import { type Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { HERE, vm } from "../fixtures/records.ts";

const services = new Services();
const FOREVER = new AbortController().signal;

function table(host: string): Routes {
  const draft = new RoutesDraft();
  draft.put(host, services.of([vm("10.0.0.5")]));
  return draft.finish();
}

/** A disk that a test can fill, slow down and look at. */
class FakeFolder {
  readonly path = "/state/routes";
  readonly written: { readonly routes: Routes; readonly asOfMs: number; readonly savedAtMs: number }[] = [];
  found: SavedTable | string | null = null;
  error: string | null = null;
  /** Holds the writes that come. */
  gate: Promise<void> | null = null;
  running = 0;

  read(): Promise<SavedTable | string | null> {
    return Promise.resolve(this.found);
  }

  async write({ asOfMs, savedAtMs }: { asOfMs: number; savedAtMs: number }, routes: Routes, signal: AbortSignal): Promise<boolean> {
    assert.equal(++this.running, 1, "two writes at once");
    try {
      if (this.gate !== null) await Promise.race([this.gate, abortOf(signal)]);
      signal.throwIfAborted();
      if (this.error !== null) throw new Error(this.error);
      this.written.push({ routes, asOfMs, savedAtMs });
      return true;
    } finally {
      this.running--;
    }
  }
}

function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

function lastGood() {
  const folder = new FakeFolder();
  const log = new CollectingLog();
  const timers = new FakeTimers();
  const kept = new LastGood({ folder, services, log, timers });
  const keep = (routes: Routes) => kept.keep({ routes, revision: 1, source: "postgres", asOfMs: timers.nowMs() });
  return { folder, log, timers, kept, keep };
}

const [A, B, C] = [table("a.test"), table("b.test"), table("c.test")];

test("keep() writes the latest table after a second, then at most every five", async () => {
  const { folder, timers, keep } = lastGood();
  keep(A);
  await timers.advance(500);
  keep(B);
  await timers.advance(499);
  assert.equal(folder.written.length, 0);
  await timers.advance(1);
  assert.deepEqual(folder.written.map(({ routes }) => routes), [B]);
  keep(A);
  await timers.advance(4000);
  keep(C);
  await timers.advance(999);
  assert.equal(folder.written.length, 1);
  await timers.advance(1);
  assert.deepEqual(folder.written.map(({ routes }) => routes), [B, C]);
});

test("keep() of a table that stays as it is writes every two minutes, with the age it has then", async () => {
  const { folder, timers, keep } = lastGood();
  for (let i = 0; i < 250; i++) {
    keep(A);
    await timers.advance(1000);
  }
  assert.deepEqual(folder.written.map(({ savedAtMs }) => savedAtMs), [1_001_000, 1_121_000, 1_241_000]);
  assert.ok(folder.written.every(({ asOfMs, savedAtMs }) => savedAtMs - asOfMs <= 1000));
});

test("keep() during a write is written afterwards", async () => {
  const { folder, timers, keep } = lastGood();
  const { promise, resolve } = Promise.withResolvers<void>();
  folder.gate = promise;
  keep(A);
  await timers.advance(1000);
  keep(B);
  keep(C);
  await timers.advance(60_000);
  assert.equal(folder.written.length, 0);
  resolve();
  await settle();
  await timers.advance(120_000);
  assert.deepEqual(folder.written.map(({ routes }) => routes), [A, C]);
});

test("a write that takes long is followed by a long pause", async () => {
  const { folder, timers, keep } = lastGood();
  const { promise, resolve } = Promise.withResolvers<void>();
  folder.gate = promise;
  keep(A);
  await timers.advance(3000);
  resolve();
  await settle();
  keep(B);
  await timers.advance(59_999);
  assert.equal(folder.written.length, 1);
  await timers.advance(1);
  assert.equal(folder.written.length, 2);
});

test("a disk that fails is told once, tried again ever less often, and told again after it has worked", async () => {
  const { folder, log, timers, keep, kept } = lastGood();
  folder.error = "ENOSPC: no space left on device";
  keep(A);
  await timers.advance(1000);
  assert.deepEqual(log.take(), ["warn cannot keep the last good table"]);
  for (let i = 0; i < 1000; i++) {
    keep(i % 2 === 0 ? B : A);
    await timers.advance(1000);
  }
  assert.deepEqual(log.take(), []);
  // after 1, 6, 16, 36, 76, 156, 316, 616 and 916 s
  assert.equal(kept.figures().failures, 9);
  folder.error = null;
  keep(C);
  await timers.advance(5 * 60_000);
  assert.deepEqual(log.take(), ["info last good table kept again"]);
  assert.deepEqual(folder.written.map(({ routes }) => routes), [C]);
  assert.equal(kept.figures().lastError, null);
  folder.error = "EROFS";
  keep(A);
  await timers.advance(5000);
  assert.deepEqual(log.take(), ["warn cannot keep the last good table"]);
});

test("close() writes what is unsaved, and nothing that is saved", async () => {
  const { folder, timers, keep, kept } = lastGood();
  keep(A);
  await kept.close();
  keep(B);
  await timers.advance(60_000);
  assert.deepEqual(folder.written.map(({ routes }) => routes), [A]);

  const other = lastGood();
  other.keep(A);
  await other.timers.advance(1000);
  other.keep(A);
  await other.kept.close();
  assert.equal(other.folder.written.length, 1);
});

test("close() waits two seconds for a slow disk, and never for long", async () => {
  const { folder, timers, keep, kept, log } = lastGood();
  folder.gate = new Promise(() => {});
  keep(A);
  await timers.advance(1000);
  let closed = false;
  const closing = kept.close().then(() => closed = true);
  await timers.advance(1999);
  assert.equal(closed, false);
  await timers.advance(1);
  await closing;
  await settle();
  assert.deepEqual([folder.written.length, folder.running, log.take().length], [0, 0, 0]);
});

test("retire() breaks a write off and lets nothing be written any more", async () => {
  const { folder, timers, keep, kept, log } = lastGood();
  folder.gate = new Promise(() => {});
  keep(A);
  await timers.advance(1000);
  kept.retire();
  await settle();
  keep(B);
  await timers.advance(600_000);
  await kept.close();
  assert.deepEqual([folder.running, folder.written.length, log.take().length], [0, 0, 0]);
});

test("read() answers the table, and tells of a file that it does not use", async () => {
  const { folder, kept, log } = lastGood();
  assert.equal(await kept.read(FOREVER), null);
  assert.deepEqual(log.take(), []);
  folder.found = "it is torn";
  assert.equal(await kept.read(FOREVER), null);
  assert.deepEqual(log.lines[0]?.fields, { file: "/state/routes", reason: "it is torn" });
  assert.deepEqual(log.take(), ["warn last good table not used"]);
  const header = { region: HERE, regionPort: 80, savedAtMs: 1000, asOfMs: 990_000, revision: 4, routes: 1, source: "postgres" };
  folder.found = { header, routes: A };
  assert.equal((await kept.read(FOREVER))?.routes, A);
  assert.deepEqual(log.lines.map(({ msg, fields }) => [msg, fields["age_seconds"]]), [["last good table read", 10]]);
});

test("a table that was read is not written again before its age needs it", async () => {
  const { folder, timers, kept, keep } = lastGood();
  const header = { region: HERE, regionPort: 80, savedAtMs: 1000, asOfMs: 1000, revision: 4, routes: 1, source: "postgres" };
  folder.found = { header, routes: A };
  await kept.read(FOREVER);
  keep(A);
  await timers.advance(100_000);
  assert.equal(folder.written.length, 0);
  await timers.advance(20_000);
  assert.equal(folder.written.length, 1);
});
