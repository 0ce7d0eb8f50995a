/** A source that is told of changes is read as soon as it says so, and not too often. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settle } from "../fixtures/fake-timers.ts";
import { hosts, INTERVAL_MS, stage } from "../fixtures/refresher-stage.ts";

describe("Refresher with a source that is told of changes", () => {
  async function following() {
    const scene = stage();
    scene.source.pollMs = 1000;
    scene.source.routes = hosts(300);
    await scene.refresher.refreshNow("test");
    await settle();
    return scene;
  }

  it("reads soon when the source says so, everything only when it must", async () => {
    const { source, timers, published } = await following();
    source.routes = hosts(299);
    source.onChange();
    source.onChange();
    await timers.advance(5);
    assert.deepEqual(source.hows, [true, false]);
    assert.equal(published.length, 2);
    assert.deepEqual(timers.delays, [1000]);
    await timers.advance(1000);
    assert.deepEqual(source.hows, [true, false, false]);
  });

  it("reads at once when the last reading is a while ago", async () => {
    const { source, timers } = await following();
    await timers.advance(500);
    source.onChange();
    await settle();
    assert.deepEqual(source.hows, [true, false]);
  });

  it("reads once more when the source says so during a reading", async () => {
    const { source, timers, refresher } = await following();
    const gate = Promise.withResolvers<void>();
    source.gate = gate.promise;
    source.onChange();
    await timers.advance(5);
    source.onChange();
    const asked = refresher.refreshNow("test");
    source.onChange();
    source.gate = null;
    gate.resolve();
    await asked;
    assert.deepEqual(source.hows, [true, false, true]);
  });

  it("reads soon when suspected to be behind, unless it has read just now", async () => {
    const { source, timers, refresher, published } = await following();
    source.pollMs = null;
    source.onChange();
    await timers.advance(5);
    assert.equal(source.readings, 2);
    refresher.suspect("contradiction");
    await timers.advance(999);
    assert.equal(source.readings, 2, "read a moment before");
    source.routes = hosts(299);
    await timers.advance(1);
    refresher.suspect("contradiction");
    refresher.suspect("contradiction");
    await timers.advance(5);
    assert.deepEqual([source.readings, published.length], [3, 2]);
    refresher.suspect("contradiction");
    await timers.advance(5);
    assert.equal(source.readings, 3);
  });

  it("reads when suspected a second after a slow reading, but for suspicions no more than a tenth of the time", async () => {
    const { source, timers, refresher } = await following();
    source.pollMs = null;
    const readSlowly = async (ask: () => void) => {
      const gate = Promise.withResolvers<void>();
      source.gate = gate.promise;
      ask();
      await timers.advance(500);
      source.gate = null;
      gate.resolve();
      await settle();
    };
    const suspect = () => refresher.suspect("contradiction");
    await timers.advance(5);
    await readSlowly(source.onChange);
    assert.equal(source.readings, 2);
    await timers.advance(500);
    await readSlowly(suspect);
    assert.equal(source.readings, 3, "whoever waits for it does so for two seconds");
    await timers.advance(4499);
    suspect();
    await settle();
    assert.equal(source.readings, 3);
    await timers.advance(1);
    suspect();
    await settle();
    assert.equal(source.readings, 4);
  });

  it("does not read before the back-off is over, whatever the source says", async () => {
    const { source, timers } = await following();
    source.failure = new Error("gone");
    source.onChange();
    await timers.advance(5);
    source.onChange();
    await timers.advance(100);
    assert.equal(source.readings, 2);
    assert.deepEqual(timers.delays, [150]);
  });

  it("holds what would remove most of the routes until everything was read again, at the interval", async () => {
    const { source, timers, refresher } = await following();
    source.routes = hosts(10);
    source.onChange();
    await timers.advance(5);
    assert.equal(refresher.status().held, 290);
    source.onChange();
    await timers.advance(5);
    assert.equal(refresher.status().held, 290, "the same said by the log is no second opinion");
    await timers.advance(INTERVAL_MS - 6);
    assert.equal(refresher.status().held, 290);
    await timers.advance(1);
    assert.equal(source.hows.at(-1), true);
    assert.deepEqual([refresher.status().held, refresher.table.size], [0, 10]);
  });

  it("goes on polling while it holds", async () => {
    const { source, timers, refresher } = await following();
    source.routes = [];
    source.onChange();
    await timers.advance(5);
    assert.equal(refresher.status().held, 300);
    source.routes = hosts(301);
    await timers.advance(1000);
    assert.deepEqual([refresher.status().held, refresher.table.size], [0, 301]);
  });

  it("goes on polling while the second opinion is had", async () => {
    const { source, timers, refresher } = await following();
    let comparisons = 0;
    const comparison = Promise.withResolvers<void>();
    source.compare = () => {
      comparisons++;
      return comparison.promise;
    };
    source.routes = [];
    source.onChange();
    await timers.advance(5 + INTERVAL_MS);
    assert.deepEqual([refresher.status().held, comparisons], [300, 1]);
    const before = source.readings;
    await timers.advance(5000);
    assert.equal(source.readings - before, 5);
    source.alwaysWhole = true; // what the comparison has found
    comparison.resolve();
    await settle();
    assert.deepEqual([refresher.status().held, refresher.table.size, comparisons], [0, 0, 1]);
  });

  it("holds it whatever is read before the interval is over", async () => {
    const { source, timers, refresher } = await following();
    source.alwaysWhole = true;
    source.routes = [];
    for (let i = 0; i < 4; i++) { // truncate domains; truncate deployments; truncate vms; truncate regions
      source.onChange();
      await timers.advance(5);
    }
    assert.deepEqual([refresher.status().held, refresher.table.size], [300, 300]);
    await timers.advance(INTERVAL_MS);
    assert.deepEqual([refresher.status().held, refresher.table.size], [0, 0]);
  });

  it("holds it for another interval when some routes have come back", async () => {
    const { source, timers, refresher } = await following();
    source.routes = [];
    source.onChange();
    await timers.advance(5);
    await timers.advance(INTERVAL_MS - 10);
    source.routes = hosts(20);
    await timers.advance(INTERVAL_MS - 10);
    assert.deepEqual([refresher.status().held, refresher.table.size], [280, 300]);
    source.routes = hosts(300);
    await timers.advance(INTERVAL_MS);
    assert.deepEqual([refresher.status().held, refresher.table.size], [0, 300]);
  });

  it("reads on while the source says so without a pause", async () => {
    const { source, timers } = await following();
    for (let i = 0; i < 100; i++) {
      source.onChange();
      await timers.advance(2);
    }
    assert.ok(source.readings > 20, `${source.readings} in 200 ms`);
  });

  it("goes on when the second opinion cannot be had", async () => {
    const { source, timers, refresher } = await following();
    source.compare = () => Promise.reject(new Error("too many connections"));
    source.routes = hosts(10);
    source.onChange();
    await timers.advance(5);
    assert.equal(refresher.status().held, 290);
    await timers.advance(3 * INTERVAL_MS);
    assert.equal(refresher.status().held, 290);
    assert.ok(refresher.status().failures <= 3, "no more often than at the interval");
    source.routes = hosts(301);
    source.onChange();
    await timers.advance(1000);
    assert.deepEqual([refresher.status().held, refresher.table.size], [0, 301]);
  });

  it("refreshNow() compares beside the readings, and once more for all who asked meanwhile", async () => {
    const { source, timers, refresher } = await following();
    const comparisons: PromiseWithResolvers<void>[] = [];
    source.compare = () => {
      comparisons.push(Promise.withResolvers());
      return comparisons.at(-1)!.promise;
    };
    const first = refresher.refreshNow("first");
    const more = Promise.all([refresher.refreshNow("second"), refresher.refreshNow("third")]);
    source.routes = hosts(301);
    source.onChange();
    await timers.advance(5);
    assert.equal(refresher.table.size, 301, "changes do not wait");
    assert.equal(comparisons.length, 1);
    source.routes = hosts(302);
    comparisons[0]!.resolve();
    await first;
    assert.equal(refresher.table.size, 302);
    await settle();
    assert.equal(comparisons.length, 2);
    comparisons[1]!.reject(new Error("cannot compare"));
    await more;
    assert.equal(comparisons.length, 2);
    assert.equal(refresher.status().lastError, "cannot compare");
  });
});
