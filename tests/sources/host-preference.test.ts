/** Readings of a real primary and a real standby, whichever of them lives. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { migrateScript } from "../../src/sources/feed-schema.ts";
import { PostgresSource } from "../../src/sources/postgres.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FollowingReader } from "../fixtures/following-reader.ts";
import { asRecord, plainReading } from "../fixtures/plain-reading.ts";
import { createSchema, type Database, insertRegion, insertRoute, openSession } from "../fixtures/postgres.ts";
import { type PostgresPair, startPostgresPair } from "../fixtures/postgres-pair.ts";
import { writeAtRandom } from "../fixtures/random-writers.ts";
import { Random } from "../fuzz/random.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const NAMES = [
  "a.test",
  "A.test",
  "b.test",
  "*.b.test",
  "c.test",
  "no host",
  ...Array.from({ length: 20 }, (_, i) => `n${i}.test`),
];
const WRITING_MS = 2000;
/** Transactions. */
const ENOUGH = 10;
const here = { regionId: HERE, regionPort: 80 };
const never = new AbortController().signal;

let pair: PostgresPair;
let log: CollectingLog;
beforeEach(async () => {
  pair = await startPostgresPair();
  log = new CollectingLog();
  const { primary } = pair;
  await createSchema(primary, { inet: true });
  await primary.sql(migrateScript());
  await insertRegion(primary, { id: HERE });
  await insertRoute(primary, { name: "a.test", regionId: HERE, privateIp: "10.0.0.1", port: 80 });
  await pair.standby.caughtUp();
});
afterEach(async () => {
  await pair[Symbol.asyncDispose]();
});

function sourceOf(url: string): PostgresSource & AsyncDisposable {
  const source = new PostgresSource({ url, here, log, retryEarlierMs: 50 });
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.close() });
}

async function read(source: PostgresSource): Promise<Record<string, string>> {
  return asRecord((await source.read({ whole: false }, never)).routes);
}

/** Reads as the source asks for it, until it says what the database says. */
async function readUntilLevel(source: PostgresSource, database: Database): Promise<void> {
  const expected = JSON.stringify(await plainReading(database, here));
  while (JSON.stringify(await read(source)) !== expected) await pause(20);
}

/** Sessions of a killed server live on for a moment; what fails meanwhile is tried again. */
async function readUntil(source: PostgresSource, isSo: () => boolean): Promise<void> {
  do {
    await read(source).catch(() => {});
    await pause(20);
  } while (!isSo());
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function warnings(): string[] {
  return log.lines.filter(({ level }) => level === "warn").map(({ msg }) => msg);
}

/** Rows for writers to fight about. */
async function fill(database: Database): Promise<void> {
  await insertRegion(database, { id: THERE, publicIpv4: "127.251.0.1" });
  for (const [at, name] of NAMES.entries()) {
    await insertRoute(database, { name, regionId: at % 4 === 0 ? THERE : HERE, privateIp: `127.250.1.${at + 1}`, port: 80 });
  }
}

/** The writers go on until there are enough transactions, at least. */
function startWriting(url: string, seed: number): { enough(): Promise<void>; stop(): Promise<void> } {
  const random = new Random(seed);
  const chance = () => random.int(1_000_000) / 1_000_000;
  const stopping = new AbortController();
  let count = 0;
  const writing = { url, sessions: 4, regions: [HERE, THERE], names: NAMES, random: chance, committed: () => count++ };
  const written = writeAtRandom(writing, stopping.signal);
  const enough = async () => {
    while (count <= ENOUGH) await pause(20);
  };
  return {
    enough,
    stop: async () => {
      await enough();
      stopping.abort();
      await written;
    },
  };
}

/** At once: everything has reached the server that is read. */
async function assertLevel(source: PostgresSource, database: Database): Promise<void> {
  assert.deepEqual(await read(source), await plainReading(database, here));
}

describe("PostgresSource with a primary and a standby", () => {
  it("follows the log of a standby by asking it, late transactions too", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(standby.url);
    await read(source);
    assert.equal(source.following, "change log");
    assert.equal(source.server, `127.0.0.1:${standby.port} (standby)`);
    await insertRoute(primary, { name: "b.test", regionId: HERE, privateIp: "10.0.0.2", port: 80 });
    await readUntilLevel(source, primary);
    const { default: postgres } = await import("postgres");
    const late = postgres(primary.url, { max: 1, onnotice: () => {} });
    await late.unsafe("begin; update vms set port = 81 where private_ip = '10.0.0.2'");
    await insertRoute(primary, { name: "c.test", regionId: HERE, privateIp: "10.0.0.3", port: 80 });
    await readUntilLevel(source, primary);
    await insertRoute(primary, { name: "d.test", regionId: HERE, privateIp: "10.0.0.4", port: 80 });
    await readUntilLevel(source, primary);
    await late.unsafe("commit");
    await late.end();
    await standby.caughtUp();
    await readUntilLevel(source, primary);
    assert.deepEqual(warnings(), []);
  });

  it("does not compare everything again and again while a transaction runs on the primary", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(standby.url);
    await read(source);
    await using running = openSession(primary.url);
    await running.sql("begin; select txid_current()");
    await primary.sql("update regions set public_ipv4 = '203.0.113.8'");
    await standby.caughtUp();
    assert.ok((await source.read({ whole: false }, never)).whole);
    assert.ok(!(await source.read({ whole: false }, never)).whole);
    await insertRoute(running, { name: "late.test", regionId: HERE, privateIp: "10.0.0.5", port: 80 });
    await running.sql("commit");
    await standby.caughtUp();
    assert.deepEqual(Object.keys(await read(source)), ["a.test", "late.test"]);
  });

  it("goes on with the standby when the primary dies, and listens to it once it is promoted", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(pair.url());
    const before = await read(source);
    assert.equal(source.server, `127.0.0.1:${primary.port}`);
    assert.equal(source.following, "notifications");
    await primary.kill();
    await readUntil(source, () => source.server === `127.0.0.1:${standby.port} (standby)`);
    assert.deepEqual(await read(source), before);
    assert.equal(source.following, "change log");

    await standby.promote();
    await readUntil(source, () => source.following === "notifications");
    assert.equal(source.server, `127.0.0.1:${standby.port}`);
    const told = new Promise<void>((resolve) => source.onChange = resolve);
    await insertRoute(standby, { name: "b.test", regionId: HERE, privateIp: "10.0.0.2", port: 80 });
    await told;
    assert.deepEqual(await read(source), await plainReading(standby, here));
    assert.deepEqual(Object.keys(await read(source)), ["a.test", "b.test"]);

    await primary.restart();
    while (!warnings().includes("a database host is behind what was read from another")) await pause(20);
    assert.deepEqual(Object.keys(await read(source)), ["a.test", "b.test"]);
    assert.equal(source.server, `127.0.0.1:${standby.port}`);
    await pause(300);
    assert.equal(warnings().length, 1);
  });

  it("refuses a former primary whose log is level, because its time is over", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(pair.url());
    await read(source);
    await primary.kill();
    await readUntil(source, () => source.following === "change log");
    await standby.promote();
    await readUntil(source, () => source.following === "notifications");
    await primary.restart();
    while (!warnings().includes("a database host is behind what was read from another")) await pause(20);
    await read(source);
    assert.equal(source.server, `127.0.0.1:${standby.port}`);
  });

  it("falls back to the first host when it is back and not behind", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(pair.url());
    await read(source);
    await primary.kill();
    await readUntil(source, () => source.server === `127.0.0.1:${standby.port} (standby)`);
    const told = new Promise<void>((resolve) => source.onChange = resolve);
    await primary.restart();
    await told;
    await read(source);
    assert.equal(source.server, `127.0.0.1:${primary.port}`);
    assert.equal(source.following, "notifications");
    assert.deepEqual(warnings(), []);
  });

  it("takes the only host that answers even if it is behind, and says so", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(pair.url("", "standby first"));
    await read(source);
    assert.equal(source.server, `127.0.0.1:${standby.port} (standby)`);
    await standby.promote();
    await readUntil(source, () => source.following === "notifications");
    await insertRoute(standby, { name: "b.test", regionId: HERE, privateIp: "10.0.0.2", port: 80 });
    assert.deepEqual(Object.keys(await read(source)), ["a.test", "b.test"]);
    await standby.kill();
    await readUntil(source, () => source.server === `127.0.0.1:${primary.port}`);
    assert.deepEqual(Object.keys(await read(source)), ["a.test"]);
    assert.ok(warnings().includes("only a database host that is behind answers"));
  });

  it("keeps to the kind of server that the URL asks for", async () => {
    const { primary, standby } = pair;
    await using preferring = sourceOf(pair.url("target_session_attrs=prefer-standby"));
    await read(preferring);
    assert.equal(preferring.server, `127.0.0.1:${standby.port} (standby)`);
    await using primaryOnly = sourceOf(pair.url("target_session_attrs=primary", "standby first"));
    await read(primaryOnly);
    assert.equal(primaryOnly.server, `127.0.0.1:${primary.port}`);
    await pause(200);
    await read(primaryOnly);
    assert.equal(primaryOnly.server, `127.0.0.1:${primary.port}`);
  });

  it("ends level with the primary when four sessions write to it and the standby is read", async () => {
    const { primary, standby } = pair;
    await using source = sourceOf(pair.url("target_session_attrs=standby"));
    await fill(primary);
    const reader = new FollowingReader(source);
    const writers = startWriting(primary.url, 1);
    await pause(WRITING_MS);
    while (reader.readings <= reader.wholeReadings) await pause(20);
    await writers.stop();
    await standby.caughtUp();
    await reader.stop();
    assert.equal(source.following, "change log");
    await assertLevel(source, primary);
    assert.equal(source.server, `127.0.0.1:${standby.port} (standby)`);
    assert.deepEqual(warnings(), []);
  });

  for (const order of ["primary first", "standby first"] as const) {
    it(`ends level with the new primary when sessions write across a promotion, ${order}`, async () => {
      const { primary, standby } = pair;
      await using source = sourceOf(pair.url("", order));
      await fill(primary);
      await standby.caughtUp();
      const reader = new FollowingReader(source);
      const before = startWriting(primary.url, 2);
      await pause(WRITING_MS / 2);
      await before.enough();
      await primary.kill();
      await before.stop();
      // The first of them write at the moment of the promotion
      const after = startWriting(standby.url, 3);
      await pause(WRITING_MS / 4);
      await standby.promote();
      await pause(WRITING_MS);
      await after.stop();
      await reader.stop();
      await readUntil(source, () => source.following === "notifications");
      await assertLevel(source, standby);
      assert.equal(source.server, `127.0.0.1:${standby.port}`);
    });
  }

  it("gets over queries that the standby cancels for its recovery", async () => {
    const { primary, standby } = pair;
    await standby.sql("alter system set max_standby_streaming_delay = 0");
    await standby.sql("select pg_reload_conf()");
    await primary.sql("alter table domains rename to slow; create view domains as select slow.* from slow, pg_sleep(1)");
    await standby.caughtUp();
    await using source = sourceOf(`${standby.url}?application_name=cancelled`);
    const reading = read(source);
    const active =
      "select from pg_stat_activity where application_name = 'cancelled' and state = 'active' and wait_event = 'PgSleep'";
    while ((await standby.sql(active)).length === 0);
    await primary.sql("vacuum full slow");
    assert.deepEqual(await reading, { "a.test": `${HERE} vm/10.0.0.1:80` });
    const [row] = await standby.sql("select sum(confl_lock)::int as cancelled from pg_stat_database_conflicts");
    assert.ok(Number(row?.["cancelled"]) > 0);
  });
});
