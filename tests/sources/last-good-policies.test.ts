/** The last good policies on disk: kept as they were written, believed only whole. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { LastGoodPolicies } from "../../src/sources/last-good-policies.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";

const HERE = { regionId: "11111111-1111-4111-8111-111111111111", regionPort: 80 };
const ROWS = new Map([["a.test", { text: '{"maxBodySize": 1000}' }], ["b.test", { text: "{}" }]]);
const FILE = { path: "/etc/routes.yaml", text: "routes: []\n" };

async function inFolder(act: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "edgeproxy-policies-"));
  try {
    await act(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("LastGoodPolicies gives back what was kept, each part for itself", async () => {
  await inFolder(async (folder) => {
    const first = new LastGoodPolicies(folder, HERE, new FakeTimers());
    assert.deepEqual(await first.read(), { rows: null, file: null });
    first.keep({ file: FILE });
    await first.close();
    const second = new LastGoodPolicies(folder, HERE, new FakeTimers());
    assert.deepEqual(await second.read(), { rows: null, file: FILE });
    second.keep({ rows: ROWS });
    await second.close();
    assert.deepEqual(await new LastGoodPolicies(folder, HERE, new FakeTimers()).read(), { rows: ROWS, file: FILE });
    assert.equal((await readdir(folder)).length, 1);
  });
});

test("LastGoodPolicies believes no file that is damaged, and says so", async () => {
  await inFolder(async (folder) => {
    const log = new CollectingLog();
    const kept = new LastGoodPolicies(folder, HERE, new FakeTimers(), log);
    kept.keep({ rows: ROWS, file: FILE });
    await kept.close();
    const text = await readFile(kept.path, "utf8");
    for (const damaged of [text.replace("1000", "9999"), text.slice(0, -5), "", '{"version":2}']) {
      await writeFile(kept.path, damaged);
      assert.deepEqual(await new LastGoodPolicies(folder, HERE, new FakeTimers(), log).read(), { rows: null, file: null });
      assert.deepEqual(log.take(), ["warn cannot use the last good policies"]);
    }
  });
});

test("LastGoodPolicies leaves the file to a successor, and tells once that it cannot write", async () => {
  await inFolder(async (folder) => {
    const without = new LastGoodPolicies(folder, HERE, new FakeTimers());
    without.keep({ rows: new Map() });
    await without.close();
    assert.deepEqual(await readdir(folder), [], "nothing to keep");
    const retired = new LastGoodPolicies(folder, HERE, new FakeTimers());
    retired.keep({ rows: ROWS });
    retired.retire();
    await retired.close();
    assert.deepEqual(await readdir(folder), []);
    for (const isWriting of [false, true]) {
      const timers = new FakeTimers(), left = new LastGoodPolicies(folder, HERE, timers);
      left.keep({ rows: ROWS });
      if (isWriting) timers.advance(1000);
      left.retire();
      timers.advance(1000);
      await left.close();
      assert.deepEqual(await readdir(folder), [], isWriting ? "while it writes" : "before it writes");
    }
    const log = new CollectingLog(), timers = new FakeTimers();
    await writeFile(join(folder, "file"), "");
    const nowhere = new LastGoodPolicies(join(folder, "file"), HERE, timers, log);
    for (const rows of [ROWS, new Map([...ROWS].slice(1))]) {
      nowhere.keep({ rows });
      await nowhere.close();
    }
    assert.deepEqual(log.take(), ["warn cannot write the last good policies"]);
  });
});

test("LastGoodPolicies is closed after two seconds, also when a call to the disk does not return", async () => {
  await inFolder(async (folder) => {
    const timers = new FakeTimers(), kept = new LastGoodPolicies(folder, HERE, timers);
    const temporary = `${kept.path}.${process.pid}.tmp`;
    execFileSync("mkfifo", [temporary]); // to open it for writing takes until somebody reads
    kept.keep({ rows: ROWS });
    const closed = kept.close();
    timers.advance(2000);
    await closed;
    const reader = await open(temporary, "r+");
    while ((await readdir(folder)).length > 0) await wait(5);
    await reader.close();
  });
});
