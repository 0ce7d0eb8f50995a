/** Hosts that change too often: when they begin to, what of them is taken, and when they are calm again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Flapping } from "../../src/sources/flapping.ts";
import { changes, type Routes } from "../../src/table/routes.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const INTERVAL_MS = 10_000;
const A = routesOf([route("app.test", vm("10.0.0.1"))]);
const B = routesOf([route("app.test", vm("10.0.0.2"))]);

/** A served table that takes what is admitted. */
class Follower {
  readonly flapping: Flapping;
  served: Routes;
  taken = 0;

  constructor(intervalMs = INTERVAL_MS, served = A) {
    this.flapping = new Flapping(intervalMs);
    this.served = served;
  }

  /** What began and ended with a reading. */
  read(reading: Routes, nowMs: number): string {
    const draft = this.served.draft();
    for (const change of changes(this.served, reading)) {
      if (!this.flapping.admits(change, nowMs)) continue;
      this.taken++;
      if (change.after === undefined) draft.remove(change.host);
      else draft.put(change.host, change.after);
    }
    this.served = draft.finish();
    const { begun, ended } = this.flapping.settle(reading, nowMs);
    return [...begun.map(({ host }) => `+${host}`), ...ended.map(({ host }) => `-${host}`)].join(" ");
  }
}

test("250 changes within the window are taken, the next is not", () => {
  const follower = new Follower();
  for (let i = 1; i <= 250; i++) assert.equal(follower.read(i % 2 === 0 ? A : B, i * 38), "");
  assert.equal(follower.taken, 250);
  assert.equal(follower.read(B, 251 * 38), "+app.test");
  assert.equal(follower.taken, 250);
  assert.deepEqual(follower.flapping.list().map(({ host, changes }) => [host, changes]), [["app.test", 251]]);
});

test("250 changes in longer than the window are nothing", () => {
  const follower = new Follower();
  for (let i = 1; i <= 1000; i++) assert.equal(follower.read(i % 2 === 0 ? A : B, i * 41), "");
  assert.equal(follower.taken, 1000);
});

test("the window is ten seconds at least, and the interval if that is longer, up to a minute", () => {
  const hourly = new Flapping(3_600_000);
  assert.deepEqual([hourly.windowMs, hourly.intervalMs], [60_000, 60_000]);
  assert.deepEqual([new Flapping(100).windowMs, new Flapping(60_000).windowMs], [10_000, 60_000]);
});

test("a flapping host is followed once per interval, until it has been calm for one", () => {
  const follower = new Follower();
  let nowMs = 0;
  let began = 0;
  for (let i = 1; i <= 5000; i++) {
    if (follower.read(i % 2 === 0 ? A : B, nowMs += 20) !== "") began = i;
  }
  assert.equal(began, 251);
  // 95 s of it held, with one change taken in each interval
  assert.ok(follower.taken >= 258 && follower.taken <= 260, String(follower.taken));
  assert.ok(follower.flapping.list()[0]!.changes > 900);
  const lastMs = nowMs;
  let ended = 0;
  while (ended === 0) if (follower.read(B, nowMs += 1000) === "-app.test") ended = nowMs;
  assert.ok(ended - lastMs >= INTERVAL_MS && ended - lastMs <= INTERVAL_MS + 2000, String(ended - lastMs));
  assert.equal([...changes(follower.served, B)].length, 0, "what it says in the end is served");
  assert.deepEqual(follower.flapping.list(), []);
});

test("a host that flips back to what is served is still flapping", () => {
  const follower = new Follower();
  let nowMs = 0;
  for (let i = 1; i <= 251; i++) follower.read(i % 2 === 0 ? A : B, nowMs += 10);
  const { served } = follower;
  for (let i = 0; i < 400; i++) {
    assert.equal(follower.read(served, nowMs += 50), "");
    assert.equal(follower.read(i % 2 === 0 ? A : B, nowMs += 50), "");
  }
  assert.equal(follower.flapping.list().length, 1);
});

test("a host that comes and goes is flapping, too", () => {
  const follower = new Follower();
  const none = routesOf([]);
  for (let i = 1; i <= 260; i++) follower.read(i % 2 === 0 ? A : none, i * 10);
  assert.equal(follower.flapping.list().length, 1);
});

test("hosts beside it are followed, and a change of everything makes nothing flap", () => {
  const follower = new Follower();
  const many = (address: string) => Array.from({ length: 20_000 }, (_, i) => route(`h${i}.test`, vm(address)));
  for (let i = 1; i <= 240; i++) follower.read(i % 2 === 0 ? A : B, i * 10);
  for (let round = 0; round < 3; round++) {
    follower.read(routesOf([route("app.test", vm("10.0.0.9")), ...many(`10.0.1.${round}`)]), 2500 + round);
  }
  assert.deepEqual(follower.flapping.list(), []);
  for (let i = 1; i <= 60; i++) {
    follower.read(routesOf([route("app.test", vm(`10.0.2.${i}`)), route("b.test", vm("10.0.0.1"))]), 2600 + i);
  }
  assert.deepEqual(follower.flapping.list().map(({ host }) => host), ["app.test"]);
  assert.ok(follower.served.get("b.test"));
});
