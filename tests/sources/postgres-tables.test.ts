/** Readings of a real PostgreSQL without a feed: digests tell what has to be fetched. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { PostgresSource } from "../../src/sources/postgres.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FollowingReader } from "../fixtures/following-reader.ts";
import { levelWith } from "../fixtures/plain-reading.ts";
import {
  createDatabase,
  createSchema,
  type Database,
  type DatabaseOptions,
  insertRegion,
  insertRoute,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";
import { writeAtRandom } from "../fixtures/random-writers.ts";
import { Random } from "../fuzz/random.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const here = { regionId: HERE, regionPort: 80 };
const assertLevel = levelWith(here);
const never = new AbortController().signal;
const NAMES = ["a.test", "A.test", "a.test.", "b.test", "B.test", "*.b.test", "c.test", "bücher.test", "xn--bcher-kva.test", "::1"];

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

async function platform(options: DatabaseOptions = { tables: "inet" }): Promise<Database> {
  const database = await createDatabase(server, options);
  await fill(database);
  return database;
}

async function fill(database: Database): Promise<void> {
  await insertRegion(database, { id: HERE });
  await insertRegion(database, { id: THERE, publicIpv4: "203.0.113.7" });
  for (const [at, name] of [...NAMES, "no host", "slash/ed", "line\nfeed", "quo'te\\d"].entries()) {
    await insertRoute(database, { name, regionId: at % 4 === 0 ? THERE : HERE, privateIp: `10.0.0.${at + 1}`, port: 80 });
  }
}

function sourceOf(url: string, log = new CollectingLog()): PostgresSource & AsyncDisposable {
  const source = new PostgresSource({ url, here, log });
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.close() });
}

function warnings(log: CollectingLog): string[] {
  return log.lines.filter(({ level }) => level === "warn").map(({ msg }) => msg);
}

for (const tables of ["inet", "text"] as const) {
  describe(`PostgresSource without a feed, ${tables} addresses`, () => {
    it("gives the same object while nothing has changed", async () => {
      await using database = await platform({ tables });
      const log = new CollectingLog();
      await using source = sourceOf(database.url, log);
      const first = await source.read({ whole: false }, never);
      for (let n = 0; n < 3; n++) {
        const again = await source.read({ whole: false }, never);
        assert.equal(again.routes, first.routes);
        assert.equal(again.excluded, first.excluded);
        assert.equal(again.whole, true);
      }
      await database.sql("update domains set verified_at = verified_at, name = name");
      assert.equal((await source.read({ whole: false }, never)).routes, first.routes);
      assert.deepEqual(warnings(log), []);
      assert.equal(source.following, "tables");
      await assertLevel(source, database);
    });

    it("finds what any statement on any of the tables changes", async () => {
      await using database = await platform({ tables });
      const log = new CollectingLog();
      await using source = sourceOf(database.url, log);
      for (let n = 0; n < 2; n++) await source.read({ whole: false }, never);
      for (
        const statement of [
          "update vms set port = 8081 where id = (select vm_id from deployments join domains on deployment_id = deployments.id where name = 'c.test')",
          "update vms set status = 'stopped' where port = 8081",
          "update vms set status = 'running' where port = 8081",
          "update deployments set status = 'gone'",
          "update deployments set status = 'ready'",
          "update deployments set vm_id = (select id from vms where port = 8081) where id = (select deployment_id from domains where name = 'b.test')",
          "update domains set verified_at = null where name in ('a.test', 'bücher.test', '::1')",
          "update domains set verified_at = now() - interval '1 year' where name in ('a.test', 'bücher.test', '::1')",
          "update domains set name = upper(name)",
          "update domains set name = lower(name)",
          "delete from domains where name = '*.b.test'",
          "insert into domains (name, deployment_id, verified_at) select 'new.test', id, now() from deployments",
          "delete from domains where name = 'new.test' and deployment_id = (select deployment_id from domains where name = 'c.test')",
          `update regions set public_ipv4 = '203.0.113.8' where id = '${THERE}'`,
          `update regions set public_ipv4 = null where id = '${THERE}'`,
          "delete from domains where name = 'c.test'",
          "truncate domains, deployments, vms",
        ]
      ) {
        await database.sql(statement);
        await assertLevel(source, database);
      }
      assert.deepEqual(warnings(log), []);
    });
  });
}

describe("PostgresSource without a feed", () => {
  it("ends level with the tables when four sessions write at once", async () => {
    await using database = await platform();
    const log = new CollectingLog();
    await using source = sourceOf(database.url, log);
    const reader = new FollowingReader(source);
    const random = new Random(11);
    const chance = () => random.int(1_000_000) / 1_000_000;
    const stop = new AbortController();
    const writing = { url: database.url, sessions: 4, regions: [HERE, THERE], names: NAMES, random: chance };
    const written = writeAtRandom(writing, stop.signal);
    do await new Promise((resolve) => setTimeout(resolve, 2500)); while (reader.readings <= 5);
    stop.abort();
    await written;
    await reader.stop();
    assert.equal(reader.failures, 0, String(reader.lastError));
    assert.deepEqual(warnings(log), []);
    await assertLevel(source, database);
  });

  it("reads everything each time where the server's hashes are others, and says so once", async () => {
    await server.sql("create database latin encoding 'LATIN1' template template0 locale 'C'");
    const url = new URL(server.url);
    url.pathname = "/latin";
    const { default: postgres } = await import("postgres");
    const client = postgres(url.href, { max: 1, onnotice: () => {} });
    const database: Database = {
      url: url.href,
      sql: async (text, parameters = []) => (await client.unsafe(text, [...parameters])) as never,
      [Symbol.asyncDispose]: () => client.end({ timeout: 1 }),
    };
    await using _ending = database;
    await createSchema(database, { inet: true });
    await fill(database);
    const log = new CollectingLog();
    await using source = sourceOf(database.url, log);
    for (let n = 0; n < 4; n++) {
      await assertLevel(source, database);
      await database.sql(`update vms set port = ${90 + n}`);
      await database.sql("delete from domains where id = (select id from domains limit 1)");
    }
    assert.deepEqual(warnings(log), ["digests of the tables cannot be used: they are read whole each time"]);
  });
});
