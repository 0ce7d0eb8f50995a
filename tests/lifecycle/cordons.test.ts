/** Cordons: kept, ended by the wall clock, and never in the way of a start. */
import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { test } from "node:test";
import type { Cordon } from "../../src/observation/cordon.ts";
import { cordonFile, MOST_CORDONS } from "../../src/lifecycle/cordon-file.ts";
import { Cordons } from "../../src/lifecycle/cordons.ts";
import { KeptOrders } from "../../src/lifecycle/kept-orders.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";

const HOUR_MS = 3_600_000;
const WISH = { forMs: HOUR_MS, reason: "new disk", by: "192.0.2.9" };
const REGION = "11111111-1111-4111-8111-111111111111";

function cordonsIn(folder: string | null, timers: FakeTimers = new FakeTimers()) {
  const log = new CollectingLog();
  const expired: string[] = [];
  let changes = 0;
  const cordons = new Cordons({
    kept: new KeptOrders(folder === null ? null : cordonFile(folder, REGION), "cordons", log),
    log,
    timers,
    wallMs: () => timers.nowMs(),
    changed: () => changes++,
    expired: ({ key }) => expired.push(key),
  });
  return { cordons, log, expired, timers, changes: () => changes };
}

test("Cordons ends each when its time is over, and says so", async () => {
  const { cordons, expired, timers, changes } = cordonsIn(null);
  await cordons.set("vm/10.0.0.1:80", WISH);
  await cordons.set("vm/10.0.0.2:80", { ...WISH, forMs: 2 * HOUR_MS });
  const before = changes();
  await timers.advance(HOUR_MS - 1);
  assert.deepEqual([expired, changes()], [[], before]);
  await timers.advance(1);
  assert.deepEqual([expired, cordons.list().map(({ key }) => key)], [["vm/10.0.0.1:80"], ["vm/10.0.0.2:80"]]);
  assert.equal(changes(), before + 1);
  assert.equal(await cordons.clear("vm/10.0.0.2:80"), true);
  assert.equal(await cordons.clear("vm/10.0.0.2:80"), false);
  await timers.advance(2 * HOUR_MS);
  assert.deepEqual(expired, ["vm/10.0.0.1:80"], "what was cleared does not expire");
});

test("Cordons prolongs one that there is", async () => {
  const { cordons, timers } = cordonsIn(null);
  const first = await cordons.set("vm/10.0.0.1:80", WISH);
  await timers.advance(HOUR_MS / 2);
  const second = await cordons.set("vm/10.0.0.1:80", WISH);
  assert.deepEqual([second?.sinceAtMs, second?.untilAtMs], [first?.sinceAtMs, first!.untilAtMs + HOUR_MS / 2]);
  await timers.advance(HOUR_MS - 1);
  assert.equal(cordons.list().length, 1);
});

test("Cordons takes no more than it keeps", async () => {
  const { cordons } = cordonsIn(null);
  for (let i = 0; i < MOST_CORDONS; i++) assert.ok(await cordons.set(`vm/${i}`, WISH) !== null);
  assert.equal(await cordons.set("vm/one-more", WISH), null);
  assert.ok(await cordons.set("vm/0", WISH) !== null, "one that there is");
});

test("Cordons are there again after a restart, but for those that are over", async () => {
  await using folder = await temporaryFolder();
  const state = `${folder.path}/state`;
  const timers = new FakeTimers();
  const first = cordonsIn(state, timers);
  await first.cordons.load();
  await first.cordons.set("vm/10.0.0.1:80", WISH);
  await first.cordons.set("region/203.0.113.7:80", { ...WISH, forMs: 3 * HOUR_MS, reason: "" });
  const kept = first.cordons.list();
  assert.equal((await stat(cordonFile(state, REGION).path)).mode & 0o777, 0o600);
  const second = cordonsIn(state, timers);
  await second.cordons.load();
  assert.deepEqual(second.cordons.list(), kept);
  first.cordons.retire();
  await first.cordons.set("vm/10.0.0.9:80", WISH);
  await timers.advance(2 * HOUR_MS);
  const third = cordonsIn(state, timers);
  await third.cordons.load();
  assert.deepEqual(third.cordons.list().map(({ key }) => key), ["region/203.0.113.7:80"]);
});

test("a file of cordons that is no good is left out with a line in the log", async () => {
  await using folder = await temporaryFolder();
  const { path } = cordonFile(folder.path, REGION);
  const one = { key: "vm/10.0.0.1:80", sinceAtMs: 1, untilAtMs: 9e12, reason: "", by: "" };
  const many = { version: 1, cordons: Array.from({ length: MOST_CORDONS + 1 }, () => one) };
  for (
    const text of [
      "",
      "{",
      "[]",
      '{"version":2,"cordons":[]}',
      '{"version":1,"cordons":[{"key":5}]}',
      JSON.stringify(many),
      JSON.stringify({ version: 1, cordons: [{ ...one, untilAtMs: 1e300 }] }),
      " ".repeat(3e6),
    ]
  ) {
    await writeFile(path, text);
    const { cordons, log } = cordonsIn(folder.path);
    await cordons.load();
    assert.deepEqual(
      [cordons.list(), log.lines.map(({ msg }) => msg)],
      [[], ["cannot read the cordons, serving without"]],
      text.slice(0, 50),
    );
  }
  const { cordons } = cordonsIn(folder.path);
  await cordons.load();
  await cordons.set(one.key, WISH);
  assert.equal(JSON.parse(await readFile(path, "utf8")).cordons[0].key, one.key, "the next one replaces it");
});

test("Cordons of a successor that waits for its turn do not undo what is changed meanwhile", async () => {
  let onDisk: readonly Cordon[] = [];
  const file = {
    path: "cordons",
    read: () => Promise.resolve(onDisk),
    write: (list: readonly Cordon[]) => Promise.resolve(void (onDisk = list)),
  };
  const generation = () => {
    const timers = new FakeTimers();
    const expired: string[] = [];
    const log = new CollectingLog();
    const kept = new KeptOrders(file, "cordons", log);
    const options = { kept, log, timers, wallMs: () => timers.nowMs(), changed: () => {} };
    return { cordons: new Cordons({ ...options, expired: ({ key }) => expired.push(key) }), timers, expired };
  };
  const serving = generation().cordons;
  const waiting = generation();
  await serving.set("vm/10.0.0.1:80", WISH);
  await serving.set("vm/10.0.0.2:80", { ...WISH, forMs: 3 * HOUR_MS });
  await waiting.cordons.load();
  await serving.clear("vm/10.0.0.2:80");
  await serving.set("vm/10.0.0.3:80", { ...WISH, forMs: 3 * HOUR_MS });
  await waiting.timers.advance(2 * HOUR_MS);
  assert.deepEqual(waiting.expired, ["vm/10.0.0.1:80"]);
  await waiting.cordons.load();
  assert.deepEqual(waiting.cordons.list().map(({ key }) => key), ["vm/10.0.0.3:80"]);
});
