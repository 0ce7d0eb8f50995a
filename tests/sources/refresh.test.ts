import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { GoodTable } from "../../src/sources/last-good.ts";
import { Refresher, type RefresherOptions } from "../../src/sources/refresh.ts";
import type { RefreshStatus } from "../../src/sources/refresh-status.ts";
import type { Exclusion, Following, Source, SourceReading } from "../../src/sources/source.ts";
import { endpointKey, type RouteRecord } from "../../src/table/record.ts";
import { changes, type Routes } from "../../src/table/routes.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { recordsOf, routesOf } from "../fixtures/records.ts";

const INTERVAL_MS = 10_000;

function route(host: string, address = "10.0.0.5"): RouteRecord {
  return { host, endpoints: [{ key: endpointKey("vm", address, 80), kind: "vm", address, port: 80, region: "here" }] };
}

function hosts(count: number, from = 0): RouteRecord[] {
  return Array.from({ length: count }, (_, index) => route(`h${from + index}.example`));
}

/** Says what the test wants, when the test wants it. */
class ScriptedSource implements Source {
  readonly name = "scripted";
  readonly following: Following = "tables";
  readonly server = null;
  readonly comparedAtMs = null;
  pollMs: number | null = null;
  compare: ((signal: AbortSignal) => Promise<void>) | null = null;
  onChange: () => void = () => {};
  routes: readonly RouteRecord[] = [];
  badRows: readonly (Pick<Exclusion, "domain" | "reason"> & Partial<Exclusion>)[] = [];
  failure: Error | null = null;
  /** Each reading is, as after a TRUNCATE or in a new session. */
  alwaysWhole = false;
  /** While set, readings wait for it. */
  gate: Promise<void> | null = null;
  readings = 0;
  readonly hows: boolean[] = [];
  #reading = false;

  async read({ whole }: { readonly whole: boolean }, signal: AbortSignal): Promise<SourceReading> {
    assert.equal(this.#reading, false, "two readings at once");
    this.#reading = true;
    this.readings++;
    this.hows.push(whole);
    const aborted = new Promise<never>((_, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason), { once: true })
    );
    aborted.catch(() => {});
    try {
      await Promise.race([this.gate, aborted]);
    } finally {
      this.#reading = false;
    }
    if (this.failure !== null) throw this.failure;
    const excluded = this.badRows.map((row) => ({ host: null, code: "bad_row" as const, ...row }));
    return {
      routes: routesOf(this.routes),
      excluded,
      excludedCount: excluded.length,
      regions: [],
      whole: whole || this.alwaysWhole,
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Published {
  readonly upserts: readonly RouteRecord[];
  readonly removals: readonly string[];
  readonly revision: number;
  /** Routes before and after. */
  readonly sizes: readonly [number, number];
}

function stage(random = 0.5, lastGood?: RefresherOptions["lastGood"]) {
  const source = new ScriptedSource();
  const timers = new FakeTimers();
  const log = new CollectingLog();
  const published: Published[] = [];
  const refresher = new Refresher({
    source,
    timers,
    log,
    intervalMs: INTERVAL_MS,
    random: () => random,
    ...lastGood !== undefined && { lastGood },
    publish: (before) => published.push(publishedOf(before, refresher.table, refresher.revision)),
  });
  return { source, timers, log, published, refresher };
}

function publishedOf(before: Routes, after: Routes, revision: number): Published {
  const upserts: RouteRecord[] = [], removals: string[] = [];
  for (const change of changes(before, after)) {
    if (change.after === undefined) removals.push(change.host);
    else upserts.push({ host: change.host, endpoints: change.after.endpoints });
  }
  upserts.sort((a, b) => a.host < b.host ? -1 : 1);
  return { upserts, removals, revision, sizes: [before.size, after.size] };
}

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
