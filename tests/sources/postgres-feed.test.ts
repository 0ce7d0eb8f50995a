/** Readings that follow the change feed of a real PostgreSQL, under everything that may happen to either. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { removeScript } from "../../src/sources/feed-removal.ts";
import { migrateScript } from "../../src/sources/feed-schema.ts";
import { type PostgresOptions, PostgresSource } from "../../src/sources/postgres.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { FollowingReader } from "../fixtures/following-reader.ts";
import { asRecord, levelWith, plainReading } from "../fixtures/plain-reading.ts";
import {
  createDatabase,
  createSchema,
  type Database,
  insertRegion,
  insertRoute,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";
import { writeAtRandom } from "../fixtures/random-writers.ts";
import { Relay } from "../fixtures/relay.ts";
import { Random } from "../fuzz/random.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const here = { regionId: HERE, regionPort: 80 };
const assertLevel = levelWith(here);
const never = new AbortController().signal;
/** Spellings that fight for a host, and two that must not pass for several. */
const NAMES = [
  "a.test",
  "A.test",
  "a.test.",
  "b.test",
  "B.test",
  "*.b.test",
  "c.test",
  "bücher.test",
  "xn--bcher-kva.test",
  "no host",
  "a.test\nd.test",
  "\nc.test",
];
const WRITING_MS = 2500;

type Limits = Pick<PostgresOptions, "logTimeoutMs" | "readTimeoutMs">;
/** Silence is noticed at a question about the log, or in the middle of a reading. */
const IMPATIENT: Limits = { logTimeoutMs: 200, readTimeoutMs: 2000 };

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

/** With a feed, two regions and some rows. */
async function platform(own?: TestDatabase): Promise<Database> {
  const database = own ?? await createDatabase(server, { tables: "inet" });
  if (own !== undefined) await createSchema(own, { inet: true });
  await database.sql(migrateScript());
  await insertRegion(database, { id: HERE });
  await insertRegion(database, { id: THERE, publicIpv4: "203.0.113.7" });
  for (const [at, name] of NAMES.entries()) {
    await insertRoute(database, { name, regionId: at % 4 === 0 ? THERE : HERE, privateIp: `10.0.0.${at + 1}`, port: 80 });
  }
  return database;
}

function sourceOf(url: string, log = new CollectingLog(), limits: Limits = {}): PostgresSource & AsyncDisposable {
  const source = new PostgresSource({ url, here, log, ...limits });
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.close() });
}

/** Resolves once the source says that something has changed. */
function told(source: PostgresSource): Promise<void> {
  return new Promise((resolve) => source.onChange = resolve);
}

/** For a while, and as much longer as a slow machine takes until it is `enough`. */
async function write(database: Database, seed: number, enough: (committed: number) => boolean = () => true): Promise<void> {
  const random = new Random(seed);
  let count = 0;
  const writing = {
    url: database.url,
    sessions: 4,
    regions: [HERE, THERE],
    names: NAMES,
    random: () => random.int(1_000_000) / 1_000_000,
    committed: () => count++,
  };
  const stop = new AbortController();
  const written = writeAtRandom(writing, stop.signal);
  await new Promise((resolve) => setTimeout(resolve, WRITING_MS));
  await until(() => enough(count));
  stop.abort();
  await written;
}

describe("PostgresSource with a change feed", () => {
  it("is told of a change and reads what the log names", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    const first = await source.read({ whole: true }, never);
    assert.equal(first.whole, true);
    assert.equal(source.following, "notifications");
    assert.equal(source.pollMs, 1000);
    assert.equal(source.server, `127.0.0.1:${server.port}`);

    const again = await source.read({ whole: false }, never);
    assert.equal(again.routes, first.routes);
    assert.equal(again.excluded, first.excluded);
    assert.equal(again.whole, false);

    const change = told(source);
    await insertRoute(database, { name: "new.test", regionId: HERE, privateIp: "10.0.9.9", port: 81 });
    await change;
    const next = await source.read({ whole: false }, never);
    assert.equal(next.whole, false);
    assert.deepEqual(next.routes.get("new.test")?.endpoints.map(({ key }) => key), ["vm/10.0.9.9:81"]);
    await assertLevel(source, database);
  });

  it("finds what any statement on any of the tables changes", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    await source.read({ whole: true }, never);
    for (
      const statement of [
        "update vms set port = 8081 where id = (select vm_id from deployments join domains on deployment_id = deployments.id where name = 'c.test')",
        "update vms set status = 'stopped' where port = 8081",
        "update vms set status = 'running' where port = 8081",
        "update deployments set status = 'gone'",
        "update deployments set status = 'ready'",
        "update deployments set vm_id = (select id from vms where port = 8081) where id = (select deployment_id from domains where name = 'b.test')",
        "update domains set verified_at = null where name in ('a.test', 'bücher.test')",
        "update domains set verified_at = now() - interval '1 year' where name in ('a.test', 'bücher.test')",
        "update domains set name = upper(name)",
        "update domains set name = lower(name)",
        `update regions set public_ipv4 = '203.0.113.8' where id = '${THERE}'`,
        `update regions set public_ipv4 = null where id = '${THERE}'`,
        "delete from domains where name = 'c.test'",
        "truncate domains, deployments, vms",
      ]
    ) {
      await database.sql(statement);
      await assertLevel(source, database);
    }
  });

  it("gives a host to the next one when its owner goes, and back when it returns", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    await database.sql("update domains set verified_at = '2020-01-01' where name = 'A.test'");
    const owners = async () => {
      const { excluded } = await source.read({ whole: false }, never);
      return excluded.filter(({ host }) => host === "a.test").map(({ domain, reason }) => `${domain}: ${reason}`);
    };
    const lost = (owner: string) => `its host a.test belongs to "${owner}", which was verified first`;
    assert.deepEqual(await owners(), [`a.test: ${lost("A.test")}`, `a.test.: ${lost("A.test")}`]);
    await database.sql("update domains set verified_at = null where name = 'A.test'");
    assert.deepEqual(await owners(), [`a.test.: ${lost("a.test")}`]);
    await database.sql("update domains set verified_at = null where name = 'a.test'");
    assert.deepEqual(await owners(), []);
    await database.sql("update domains set verified_at = '2020-01-01' where name = 'A.test'");
    assert.deepEqual(await owners(), [`a.test.: ${lost("A.test")}`]);
    await assertLevel(source, database);
  });

  it("tells spellings apart also where the database does not", async () => {
    await using database = await platform();
    await database.sql("create extension citext; alter table domains alter column name type citext");
    await database.sql("update domains set verified_at = '2020-01-01' where name::text = 'a.test.'");
    await using source = sourceOf(database.url);
    for (const [verifiedAt, owner] of [["2019-01-01", "a.test"], ["2021-01-01", "a.test."]] as const) {
      await database.sql(`update domains set verified_at = '${verifiedAt}' where name::text = 'a.test'`);
      const { excluded } = await source.read({ whole: false }, never);
      const losers = excluded.filter(({ host }) => host === "a.test").map(({ domain }) => domain);
      assert.deepEqual(losers, ["A.test", "a.test", "a.test."].filter((name) => name !== owner));
    }
  });

  it("keeps a host for its owner while that is between two deployments", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    const vm = { regionId: HERE, privateIp: "10.0.9.1", port: 80 };
    const { deploymentId } = await insertRoute(database, { name: "owner.test", ...vm });
    await insertRoute(database, { name: "Owner.test", ...vm, privateIp: "10.0.9.2" });
    await database.sql("update domains set verified_at = now() - interval '1 day' where name = 'owner.test'");
    const leadsTo = async (): Promise<string | undefined> =>
      (await source.read({ whole: false }, never)).routes.get("owner.test")?.endpoints[0]?.address;
    assert.equal(await leadsTo(), "10.0.9.1");
    await database.sql(`update deployments set status = 'building' where id = '${deploymentId}'`);
    assert.equal(await leadsTo(), undefined);
    await assertLevel(source, database);
    await database.sql(`update deployments set status = 'ready' where id = '${deploymentId}'`);
    assert.equal(await leadsTo(), "10.0.9.1");
    await database.sql("update domains set verified_at = null where name = 'owner.test'");
    assert.equal(await leadsTo(), "10.0.9.2");
    await assertLevel(source, database);
  });

  it("does not wait for a transaction that is still running, nor miss it when it ends", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    await source.read({ whole: true }, never);
    await using slow = await secondSession(database);
    await slow.sql("begin; update domains set verified_at = null where name = 'c.test'");
    await database.sql("update domains set verified_at = null where name = 'b.test'");
    const between = await source.read({ whole: false }, never);
    assert.equal(between.routes.get("c.test") !== undefined, true);
    await database.sql("update domains set verified_at = now() where name = 'b.test'");
    await source.read({ whole: false }, never);
    await slow.sql("commit");
    const { routes } = await source.read({ whole: false }, never);
    assert.equal(routes.get("c.test"), undefined);
    await assertLevel(source, database);
  });

  it("follows the log alone once notifications have stayed away, and hears them again", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    await source.read({ whole: true }, never);
    await announceTo(database, "nobody");
    for (let n = 0; n < 3; n++) {
      assert.equal(source.following, "notifications");
      await database.sql(`update vms set port = ${100 + n}`);
      await source.read({ whole: false }, never);
    }
    assert.equal(source.following, "change log");
    assert.equal(source.pollMs, 250);
    await announceTo(database, "edgeproxy_changes");
    const change = told(source);
    await database.sql("update vms set port = 99");
    await change;
    assert.equal(source.following, "notifications");
    await assertLevel(source, database);
  });

  it("follows the log alone where nobody notifies", async () => {
    await using database = await platform();
    const [row] = await database.sql("select current_database() as name");
    await database.sql(`alter database ${row?.["name"]} set edgeproxy.notify = off`);
    await using source = sourceOf(database.url);
    await source.read({ whole: false }, never);
    assert.equal(source.following, "change log");
  });

  it("compares beside the readings, and says when the log has missed something", async () => {
    await using database = await platform();
    const log = new CollectingLog();
    await using source = sourceOf(database.url, log);
    const first = await source.read({ whole: true }, never);
    assert.ok(source.compare !== null);
    await database.sql("update vms set port = 81");
    await source.compare(never);
    await database.sql("update vms set port = 82 where private_ip = '10.0.0.2'");
    const second = await source.read({ whole: false }, never);
    assert.equal(second.whole, true);
    assert.deepEqual(asRecord(second.routes), await plainReading(database, here));
    assert.notEqual(second.routes, first.routes);
    await source.compare(never);
    const third = await source.read({ whole: false }, never);
    assert.equal(third.routes, second.routes);
    assert.equal(third.whole, true);
    const warnings = () => log.lines.filter(({ level }) => level === "warn").map(({ msg }) => msg);
    assert.deepEqual(warnings(), []);

    await database.sql("begin; update vms set port = 83; delete from edgeproxy_changes; commit");
    assert.equal((await source.read({ whole: false }, never)).routes, third.routes);
    await source.compare(never);
    assert.deepEqual(asRecord((await source.read({ whole: false }, never)).routes), await plainReading(database, here));
    const missed = "the change feed missed changes: its triggers may have been disabled";
    assert.deepEqual(warnings(), [missed]);

    await source.compare(never);
    await source.read({ whole: false }, never);
    await database.sql("begin; update vms set port = 84; delete from edgeproxy_changes; commit");
    await source.compare(never);
    await source.read({ whole: false }, never);
    assert.deepEqual(warnings(), [missed, missed], "again, since all was well in between");
  });

  it("warns once while it cannot compare everything, and says when it last could", async () => {
    await using database = await platform();
    await database.sql(`drop role if exists lonely; create role lonely login password 'secret' connection limit 1;
      grant select on all tables in schema public to lonely`);
    const url = new URL(database.url);
    url.username = "lonely";
    url.password = "secret";
    const timers = new FakeTimers();
    const log = new CollectingLog();
    const HOUR_MS = 3_600_000;
    const source = new PostgresSource({ url: url.href, here, log, timers, compareIntervalMs: HOUR_MS });
    /** Lets one begin and end. */
    const compareOnce = async (): Promise<void> => {
      await timers.advance(1.2 * HOUR_MS);
      while (timers.delays.length === 0) await new Promise((resolve) => setTimeout(resolve, 5)); // it sets the next one's timer when it ends
      await settle();
    };
    const warnings = () => log.lines.map(({ level, msg }) => `${level} ${msg}`);
    await source.read({ whole: false }, never);
    const first = source.comparedAtMs;
    assert.equal(first, timers.nowMs());
    await compareOnce();
    await compareOnce();
    assert.deepEqual(warnings(), ["warn cannot compare everything"]);
    assert.match(String(log.lines[0]?.fields["error"]), /too many connections/);
    assert.equal(source.comparedAtMs, first);

    await database.sql("alter role lonely connection limit -1");
    const change = told(source);
    await compareOnce();
    await change;
    await source.read({ whole: false }, never);
    assert.equal(source.comparedAtMs, timers.nowMs());
    await database.sql("alter role lonely connection limit 1");
    await compareOnce();
    assert.equal(warnings().length, 2);
    await source.close();
    await database.sql("drop owned by lonely; drop role lonely");
  });

  it("takes the feed up when it comes, and lets it go when it is of no use", async () => {
    await using database = await platform();
    await database.sql(removeScript());
    const log = new CollectingLog();
    await using source = sourceOf(database.url, log);
    await source.read({ whole: false }, never);
    assert.equal(source.following, "tables");
    assert.equal(source.pollMs, null);
    await database.sql(migrateScript());
    const change = told(source);
    await source.read({ whole: false }, never);
    await change;
    await source.read({ whole: false }, never);
    assert.equal(source.following, "notifications");
    await database.sql("alter table vms disable trigger user");
    await source.compare?.(never);
    await source.read({ whole: false }, never);
    assert.equal(source.following, "tables");
    assert.equal(log.lines.filter(({ level }) => level === "warn").length, 1);
    await database.sql("update vms set port = 83");
    await assertLevel(source, database);
  });

  it("needs SELECT only, in whichever host it finds", async () => {
    await using database = await platform();
    await database.sql(`drop role if exists follower; create role follower login password 'secret';
      grant select on all tables in schema public to follower`);
    const url = new URL(database.url);
    url.username = "follower";
    url.password = "secret";
    await using source = sourceOf(url.href.replace(/@.*\//, `@127.0.0.1:1,127.0.0.1:${server.port}/`));
    await source.read({ whole: true }, never);
    assert.equal(source.following, "notifications");
    const change = told(source);
    await database.sql("update vms set port = 83");
    await change;
    await assertLevel(source, database);
    await source.compare?.(never);
    await assertLevel(source, database);
    await source.close();
    await database.sql("drop owned by follower; drop role follower");
  });

  it("gets over a feed that is removed while it is followed", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    await source.read({ whole: true }, never);
    await database.sql(removeScript());
    await database.sql("update vms set port = 83");
    await assertLevel(source, database);
    assert.equal(source.following, "tables");
  });
});

describe("PostgresSource ends level with the tables", () => {
  it("when four sessions write at once", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    const reader = new FollowingReader(source);
    await write(database, 1, (committed) => committed > 10 && reader.readings > 10);
    await reader.stop();
    assert.equal(reader.failures, 0, String(reader.lastError));
    await assertLevel(source, database);
  });

  it("when every notification is lost", async () => {
    await using database = await platform();
    await announceTo(database, "nobody");
    await using source = sourceOf(database.url);
    const reader = new FollowingReader(source);
    await write(database, 2);
    await reader.stop();
    assert.equal(source.following, "change log");
    assert.equal(reader.failures, 0, String(reader.lastError));
    await assertLevel(source, database);
  });

  it("when our sessions are ended again and again", async () => {
    await using database = await platform();
    await using source = sourceOf(database.url);
    const reader = new FollowingReader(source);
    const ending = setInterval(() => {
      void database.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'edgeproxy' and datname = current_database()",
      );
    }, 100);
    await write(database, 3);
    clearInterval(ending);
    await reader.stop();
    await assertLevel(source, database);
  });

  it("when the network resets our connections again and again", async () => {
    await using database = await platform();
    await using relay = await Relay.start(server.port);
    await using source = sourceOf(behind(relay, database));
    const reader = new FollowingReader(source);
    let resets = 0;
    const writing = write(database, 6, () => resets === 15);
    for (; resets < 15; resets++) {
      const { wholeReadings } = reader;
      await new Promise((resolve) => setTimeout(resolve, 150));
      if (resets % 2 === 0) await until(() => reader.wholeReadings > wholeReadings); // the others may come in the middle of one
      relay.reset();
    }
    await writing;
    await reader.stop();
    await assertLevel(source, database);
  });

  it("when our connections fall silent and nobody says so", async () => {
    await using database = await platform();
    await using relay = await Relay.start(server.port);
    await using source = sourceOf(behind(relay, database), new CollectingLog(), IMPATIENT);
    const reader = new FollowingReader(source);
    let silences = 0;
    const writing = write(database, 7, () => silences === 4);
    for (; silences < 4; silences++) {
      await until(() => relay.live > 0);
      await new Promise((resolve) => setTimeout(resolve, 200));
      const { wholeReadings } = reader;
      relay.swallow();
      assert.equal(relay.live, 0);
      await until(() => reader.wholeReadings > wholeReadings);
    }
    await writing;
    await reader.stop();
    await assertLevel(source, database);
  });

  it("when our connection fell silent while there was nothing to say", async () => {
    await using database = await platform();
    await using relay = await Relay.start(server.port);
    await using source = sourceOf(behind(relay, database), new CollectingLog(), IMPATIENT);
    await source.read({ whole: false }, never);
    relay.swallow();
    await database.sql("update vms set port = 81");
    await assertLevel(source, database);
    assert.equal(source.following, "notifications");
    assert.equal(relay.live, 1);
  });

  it("when everything is compared all the time meanwhile", async () => {
    await using database = await platform();
    const log = new CollectingLog();
    await using source = sourceOf(database.url, log);
    const reader = new FollowingReader(source);
    const writing = write(database, 4, () => reader.wholeReadings > 3);
    let isWriting = true;
    void writing.then(() => isWriting = false);
    while (isWriting) {
      await source.compare?.(never);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await reader.stop();
    assert.deepEqual(log.lines.filter(({ level }) => level === "warn"), []);
    await assertLevel(source, database);
  });

  it("when the server is killed while four sessions write", async () => {
    await using own = await startPostgres();
    const database = await platform(own);
    await using source = sourceOf(database.url);
    const reader = new FollowingReader(source);
    let kills = 0;
    const writing = write(database, 5, () => kills === 2);
    for (; kills < 2; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 600));
      await own.kill();
      await own.restart();
    }
    await writing;
    await reader.stop();
    await assertLevel(source, own);
  });
});

/** The database by way of a relay. */
function behind(relay: Relay, database: Database): string {
  return database.url.replace(`:${server.port}/`, `:${relay.port}/`);
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function secondSession(database: Database): Promise<Database> {
  const { default: postgres } = await import("postgres");
  const client = postgres(database.url, { max: 1, onnotice: () => {} });
  return {
    url: database.url,
    sql: async (text) => (await client.unsafe(text)) as never,
    [Symbol.asyncDispose]: () => client.end({ timeout: 1 }),
  };
}

/** As with a pooler: what is announced reaches nobody. */
async function announceTo(database: Database, channel: string): Promise<void> {
  await database.sql(`do $$ declare body text; begin
    for body in select pg_get_functiondef(oid) from pg_proc where proname like 'edgeproxy_feed_%' loop
      execute regexp_replace(body, 'pg_notify\\(''\\w+''', 'pg_notify(''${channel}''', 'g');
    end loop;
  end $$`);
}
