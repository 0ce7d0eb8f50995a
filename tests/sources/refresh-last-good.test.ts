/** The last good table stands in for a source that does not answer, and guards the first table. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { GoodTable } from "../../src/sources/last-good.ts";
import type { Routes } from "../../src/table/routes.ts";
import { settle } from "../fixtures/fake-timers.ts";
import { recordsOf, routesOf } from "../fixtures/records.ts";
import { hosts, INTERVAL_MS, route, stage } from "../fixtures/refresher-stage.ts";

describe("Refresher with a last good table", () => {
  const GOOD = routesOf([route("a.example"), route("b.example")]);

  function stageWith(saved: Routes | null, asOfMs = 900_000) {
    const kept: GoodTable[] = [];
    const lastGood = {
      read: (signal: AbortSignal) => {
        signals.push(signal);
        const header = { region: "", regionPort: 80, savedAtMs: 0, asOfMs, revision: 9, routes: 2, source: "scripted" };
        return Promise.resolve(saved === null ? null : { header, routes: saved });
      },
      keep: (table: GoodTable) => void kept.push(table),
    };
    const signals: AbortSignal[] = [];
    return { kept, signals, ...stage(0.5, lastGood) };
  }

  it("serves it when the first reading fails, with its age, until the source answers", async () => {
    const { source, refresher, log, kept, timers } = stageWith(GOOD);
    source.failure = new Error("no answer");
    refresher.start();
    await refresher.loaded;
    const status = refresher.status();
    assert.deepEqual([status.revision, status.routes, status.tableSource, status.lastSuccessAtMs], [
      1,
      2,
      "last good table",
      900_000,
    ]);
    assert.deepEqual(log.lines.at(-1), {
      level: "warn",
      msg: "serving the last good table: the source does not answer",
      fields: { routes: 2, "age_seconds": 100 },
    });
    assert.equal(kept.length, 0, "it is kept already");
    source.failure = null;
    source.routes = [route("a.example"), route("b.example")];
    await timers.advance(250);
    assert.deepEqual([refresher.status().tableSource, refresher.status().lastSuccessAtMs], ["scripted", 1_000_250]);
    assert.deepEqual([refresher.revision, kept.length, kept[0]?.asOfMs], [1, 1, 1_000_250]);
    assert.deepEqual(source.hows, [true, true], "all of it is read, since the file is not what the source has said");
  });

  it("serves it when the first reading takes long, and compares with it what comes", async () => {
    const { source, refresher, published, timers, log } = stageWith(GOOD);
    const gate = Promise.withResolvers<void>();
    source.gate = gate.promise;
    source.routes = [route("a.example"), route("c.example")];
    refresher.start();
    await timers.advance(249);
    assert.equal(refresher.revision, 0);
    await timers.advance(1);
    assert.equal(refresher.revision, 1);
    gate.resolve();
    await timers.advance(0);
    assert.deepEqual(published[1], { upserts: [route("c.example")], removals: ["b.example"], revision: 2, sizes: [2, 2] });
    assert.deepEqual(log.take(), [
      "info routes changed",
      "info serving the last good table until the source answers",
      "info routes changed",
    ]);
  });

  it("has no use for it when the source is quick", async () => {
    const { source, refresher, timers, signals, kept } = stageWith(GOOD);
    source.routes = [route("c.example")];
    refresher.start();
    await refresher.loaded;
    await timers.advance(1000);
    assert.deepEqual([refresher.revision, refresher.status().tableSource, kept.length], [1, "scripted", 1]);
    assert.equal(signals[0]?.aborted, true);
  });

  it("lets the age of a table from the future grow from now on", async () => {
    const { source, refresher } = stageWith(GOOD, 9_000_000);
    source.failure = new Error("no answer");
    refresher.start();
    await refresher.loaded;
    assert.equal(refresher.status().lastSuccessAtMs, 1_000_000);
  });

  it("does not let a half-restored database take away most of it", async () => {
    const { source, refresher, kept } = stageWith(routesOf(hosts(300)));
    source.failure = new Error("no answer");
    refresher.start();
    await refresher.loaded;
    source.failure = null;
    source.routes = hosts(10);
    await refresher.refreshNow("test");
    assert.deepEqual([refresher.table.size, refresher.status().held, kept.length], [300, 290, 0]);
  });

  it("does not let a half-restored database be the first table either", async () => {
    const { source, refresher, kept, log, timers } = stageWith(routesOf(hosts(300)));
    source.routes = hosts(10);
    refresher.start();
    await refresher.loaded;
    await settle();
    assert.deepEqual([refresher.table.size, refresher.status().held, kept.length], [300, 290, 0]);
    assert.equal(refresher.status().lastSuccessAtMs, 900_000);
    assert.ok(log.take().includes("warn serving the last good table: the source lacks most of it"));
    await timers.advance(INTERVAL_MS);
    assert.deepEqual([refresher.table.size, refresher.status().held, kept.length], [10, 0, 1]);
  });

  it("takes the source's first table when the disk does not answer", async () => {
    const { source, refresher, timers } = stage(0.5, { read: () => new Promise(() => {}), keep: () => {} });
    source.routes = hosts(10);
    refresher.start();
    await settle();
    assert.equal(refresher.revision, 0);
    await timers.advance(2000);
    assert.equal(refresher.table.size, 10);
  });

  it("keeps what the source says under a pin, and lets the age of what is served grow", async () => {
    const { source, refresher, kept, timers } = stageWith(null);
    source.routes = [route("a.example")];
    refresher.start();
    await refresher.loaded;
    await settle();
    source.routes = [route("b.example")];
    await timers.advance(INTERVAL_MS);
    await refresher.pin(1, 3_600_000);
    source.routes = [route("c.example")];
    await timers.advance(INTERVAL_MS);
    const { lastSuccessAtMs, pinned, revision } = refresher.status();
    assert.deepEqual([lastSuccessAtMs, pinned?.revision, revision], [1_000_000 + INTERVAL_MS, 1, 3]);
    assert.deepEqual(recordsOf(kept.at(-1)!.routes).map(({ host }) => host), ["c.example"]);
    await refresher.unpin();
    assert.deepEqual(recordsOf(refresher.table).map(({ host }) => host), ["c.example"]);
    assert.equal(refresher.status().lastSuccessAtMs, 1_000_000 + 2 * INTERVAL_MS);
  });
});
