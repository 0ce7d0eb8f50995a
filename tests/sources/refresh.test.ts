/** When the source is read, what is published, what is told of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settle } from "../fixtures/fake-timers.ts";
import { recordsOf } from "../fixtures/records.ts";
import { hosts, INTERVAL_MS, route, stage } from "../fixtures/refresher-stage.ts";

describe("Refresher", () => {
  it("start() publishes the first table whole and keeps it", async () => {
    const { source, published, refresher, log } = stage();
    source.routes = hosts(2);
    refresher.start();
    await refresher.loaded;
    assert.deepEqual(published, [{ upserts: hosts(2), removals: [], revision: 1, sizes: [0, 2] }]);
    assert.deepEqual(recordsOf(refresher.table).map(({ host }) => host), ["h0.example", "h1.example"]);
    assert.deepEqual(log.take(), ["info routes changed"]);
  });

  it("start() publishes an empty first table, because empty is an answer too", async () => {
    const { published, refresher } = stage();
    refresher.start();
    await refresher.loaded;
    assert.deepEqual(published, [{ upserts: [], removals: [], revision: 1, sizes: [0, 0] }]);
  });

  it("refreshNow() publishes only what changed, and nothing when nothing did", async () => {
    const { source, published, refresher, log } = stage();
    source.routes = [route("a.example"), route("b.example"), route("c.example")];
    await refresher.refreshNow("start");
    source.routes = [route("a.example"), route("b.example", "10.0.0.6"), route("d.example")];
    await refresher.refreshNow("test");
    await refresher.refreshNow("test");
    assert.deepEqual(published.slice(1), [{
      upserts: [route("b.example", "10.0.0.6"), route("d.example")],
      removals: ["c.example"],
      revision: 2,
      sizes: [3, 3],
    }]);
    assert.deepEqual(log.lines.at(-1)?.fields, {
      added: 1,
      removed: 1,
      changed: 1,
      routes: 3,
      revision: 2,
      revisions: 1,
      duration_ms: 0,
      reason: "test",
      source: "scripted",
    });
  });

  it("start() goes on in intervals with a jitter of a tenth", async () => {
    for (const [random, delayMs] of [[0, 9_000], [0.5, 10_000], [1, 11_000]] as const) {
      const { timers, source, refresher } = stage(random);
      refresher.start();
      await settle();
      assert.deepEqual(timers.delays.map(Math.round), [delayMs]);
      await timers.advance(3 * delayMs);
      assert.equal(source.readings, 4);
    }
  });

  it("refreshNow() causes exactly one more reading when one is running, however many ask", async () => {
    const { source, refresher, timers } = stage();
    const gate = Promise.withResolvers<void>();
    source.gate = gate.promise;
    const first = refresher.refreshNow("first");
    const more = [refresher.refreshNow("second"), refresher.refreshNow("third")];
    await settle();
    assert.equal(source.readings, 1);
    source.gate = null;
    gate.resolve();
    await first;
    await Promise.all(more);
    assert.equal(source.readings, 2);
    await settle();
    assert.equal(timers.delays.length, 1);
  });

  it("refreshNow() moves the next regular reading", async () => {
    const { source, refresher, timers } = stage();
    refresher.start();
    await timers.advance(9_999);
    await refresher.refreshNow("test");
    await settle();
    await timers.advance(9_999);
    assert.equal(source.readings, 2);
    await timers.advance(1);
    assert.equal(source.readings, 3);
  });

  it("start() keeps the table through an outage, retries with a growing pause and logs once", async () => {
    const { source, refresher, timers, log, published } = stage();
    source.routes = hosts(3);
    refresher.start();
    await timers.advance(0);
    log.take();

    source.failure = new Error("Connection refused");
    await timers.advance(INTERVAL_MS);
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      const [pause = NaN] = timers.delays;
      pauses.push(pause);
      await timers.advance(pause);
    }
    assert.deepEqual(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    assert.deepEqual(log.take(), ["error cannot read routes"]);
    assert.equal(refresher.table.size, 3);
    assert.equal(refresher.status().lastError, "Connection refused");
    assert.equal(refresher.status().failures, 9);

    source.failure = new Error("Starting up");
    await timers.advance(INTERVAL_MS);
    assert.deepEqual(log.take(), ["error cannot read routes"]);
    source.failure = null;
    await timers.advance(INTERVAL_MS);
    assert.deepEqual(log.take(), ["info source of routes is back"]);
    assert.equal(refresher.status().lastError, null);
    assert.equal(published.length, 1);
    assert.deepEqual(timers.delays, [INTERVAL_MS]);
  });

  it("reminds of an outage every ten minutes, with the age of the table, and says how long it was", async () => {
    const { source, refresher, timers, log } = stage();
    source.routes = hosts(3);
    refresher.start();
    await timers.advance(0);
    log.take();
    source.failure = new Error("Connection refused");
    await timers.advance(INTERVAL_MS + 25 * 60_000);
    assert.deepEqual(log.lines.map(({ msg, fields }) => [msg, fields["table_age_seconds"]]), [
      ["cannot read routes", 10],
      ["cannot read routes", 616],
      ["cannot read routes", 1216],
    ]);
    source.failure = null;
    log.take();
    await timers.advance(INTERVAL_MS);
    assert.deepEqual(log.lines.map(({ msg, fields }) => [msg, fields]), [
      ["source of routes is back", { source: "scripted", failures: 155, outage_seconds: 1506, table_age_seconds: 1516, routes: 3 }],
    ]);
  });

  it("loaded stays open until the source has answered", async () => {
    const { source, refresher, timers } = stage();
    source.failure = new Error("Connection refused");
    let loaded = false;
    void refresher.loaded.then(() => loaded = true);
    refresher.start();
    await timers.advance(5_000);
    assert.equal(loaded, false);
    source.failure = null;
    await timers.advance(INTERVAL_MS);
    assert.equal(loaded, true);
  });

  it("refreshNow() logs each bad row once per change", async () => {
    const { source, refresher, log } = stage();
    await refresher.refreshNow("test");
    log.lines.length = 0;
    source.badRows = [{ domain: "bad.example", reason: "its VM has no port" }];
    await refresher.refreshNow("test");
    await refresher.refreshNow("test");
    assert.deepEqual(log.lines.map((line) => line.fields), [{ domain: "bad.example", reason: "its VM has no port" }]);
    assert.equal(refresher.status().badRows, 1);
    source.badRows = [];
    await refresher.refreshNow("test");
    source.badRows = [{ domain: "bad.example", reason: "its VM has no port" }];
    await refresher.refreshNow("test");
    assert.equal(log.lines.length, 2);
  });

  it("refreshNow() does not call a conflict a bad row", async () => {
    const { source, refresher, log } = stage();
    source.badRows = [{ domain: "App.example", code: "conflict", reason: "another row has its host" }];
    await refresher.refreshNow("test");
    assert.deepEqual(log.lines.filter(({ level }) => level === "warn").map(({ msg, fields }) => [msg, fields]), [
      ["domain excluded", { domain: "App.example", code: "conflict", reason: "another row has its host" }],
    ]);
  });

  it("refreshNow() logs a flood of bad rows in few lines", async () => {
    const { source, refresher, log } = stage();
    source.badRows = Array.from({ length: 500 }, (_, index) => ({ domain: `bad${index}.example`, reason: "no port" }));
    await refresher.refreshNow("test");
    const warnings = log.lines.filter((line) => line.level === "warn");
    assert.equal(warnings.length, 21);
    assert.deepEqual(warnings.at(-1)?.fields, { count: 480 });
  });

  it("stop() gives up the running reading and sets no timer", async () => {
    const { source, refresher, timers, log } = stage();
    source.gate = new Promise(() => {});
    refresher.start();
    const queued = refresher.refreshNow("late");
    await settle();
    await refresher.stop();
    await queued;
    assert.equal(source.readings, 1);
    assert.deepEqual(timers.delays, []);
    assert.deepEqual(log.take(), []);
  });
});
