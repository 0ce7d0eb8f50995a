/** Readings that remove most of the routes are held back. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RefreshStatus } from "../../src/sources/refresh-status.ts";
import { hosts, stage } from "../fixtures/refresher-stage.ts";

describe("Refresher with a reading that removes most of the routes", () => {
  async function loaded(count: number) {
    const scene = stage();
    scene.source.routes = hosts(count);
    await scene.refresher.refreshNow("test");
    scene.log.take();
    return scene;
  }

  const held = (status: RefreshStatus) => [status.held, status.routes, status.revision];

  it("refreshNow() holds it back until the next reading says the same", async () => {
    const { source, refresher, log, published } = await loaded(300);
    source.routes = hosts(100);
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [200, 300, 1]);
    assert.deepEqual(log.take(), ["warn refresh held back: it would remove most of the routes"]);
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [0, 100, 2]);
    assert.equal(published.at(-1)?.removals.length, 200);
  });

  it("tells those who watch when a reading is held and when none is any more, and of an outage", async () => {
    const { source, refresher, told } = await loaded(300);
    source.routes = hosts(100);
    await refresher.refreshNow("test");
    await refresher.refreshNow("test");
    source.failure = new Error("connection refused");
    await refresher.refreshNow("test");
    await refresher.refreshNow("test");
    source.failure = null;
    await refresher.refreshNow("test");
    assert.deepEqual(told, [
      "held would remove 200 of 300 routes",
      "released",
      "failed connection refused",
      "recovered connection refused",
    ]);
  });

  it("refreshNow() forgets what was held when the routes are back", async () => {
    const { source, refresher } = await loaded(300);
    source.routes = [];
    await refresher.refreshNow("test");
    source.routes = hosts(300);
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [0, 300, 1]);
    source.routes = [];
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [300, 300, 1]);
  });

  it("refreshNow() holds anew while routes are still coming back", async () => {
    const { source, refresher } = await loaded(300);
    source.routes = hosts(10);
    await refresher.refreshNow("test");
    source.routes = hosts(20);
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [280, 300, 1]);
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [0, 20, 2]);
  });

  it("refreshNow() applies it when more have gone since", async () => {
    const { source, refresher } = await loaded(300);
    source.routes = hosts(10);
    await refresher.refreshNow("test");
    source.routes = hosts(5);
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [0, 5, 2]);
  });

  it("refreshNow() keeps holding over failures and does not count the table as fresh", async () => {
    const { source, refresher, timers } = await loaded(300);
    const fresh = refresher.status().lastSuccessAtMs;
    await timers.advance(1000);
    source.routes = [];
    await refresher.refreshNow("test");
    source.failure = new Error("Connection refused");
    await refresher.refreshNow("test");
    assert.deepEqual(held(refresher.status()), [300, 300, 1]);
    assert.equal(refresher.status().lastSuccessAtMs, fresh);
  });

  it("refreshNow() applies at once up to 100 routes or up to half of them", async () => {
    const small = await loaded(100);
    small.source.routes = [];
    await small.refresher.refreshNow("test");
    assert.equal(small.refresher.table.size, 0);
    const large = await loaded(1000);
    large.source.routes = hosts(500);
    await large.refresher.refreshNow("test");
    assert.equal(large.refresher.table.size, 500);
  });
});
