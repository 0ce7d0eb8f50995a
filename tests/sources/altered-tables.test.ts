/** Readings while a DBA is at work on the platform's tables: what no trigger sees. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { PostgresSource } from "../../src/sources/postgres.ts";
import { putFeedIn } from "../fixtures/feed.ts";
import { asRecord, plainReading } from "../fixtures/plain-reading.ts";
import {
  createDatabase,
  type Database,
  insertRegion,
  insertRoute,
  openSession,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const here = { regionId: HERE, regionPort: 80 };
const never = new AbortController().signal;

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

async function platform(feed: boolean): Promise<Database> {
  const database = await createDatabase(server, { tables: "inet" });
  if (feed) await putFeedIn(database);
  await insertRegion(database, { id: HERE });
  for (const name of ["a.test", "b.test"]) {
    await insertRoute(database, { name, regionId: HERE, privateIp: "10.0.0.1", port: 80 });
  }
  return database;
}

function sourceOf(url: string): PostgresSource & AsyncDisposable {
  const source = new PostgresSource({ url, here });
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.close() });
}

/** Resolves once another session waits for a lock of this database. */
async function somebodyWaits(database: Database): Promise<void> {
  while (
    (await database.sql("select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")).length ===
      0
  );
}

const REWRITE = "alter table domains add column token uuid default gen_random_uuid()";

for (const feed of [true, false]) {
  describe(`A reading ${feed ? "with" : "without"} a feed`, () => {
    for (const [which, readings] of [["first", 0], ["second", 1], ["third", 2]] as const) {
      it(`takes no table for empty that is rewritten meanwhile: the ${which}`, async () => {
        await using database = await platform(feed);
        await using dba = openSession(database.url);
        await using source = sourceOf(database.url);
        for (let at = 0; at < readings; at++) await source.read({ whole: false }, never);
        await insertRoute(database, { name: "c.test", regionId: HERE, privateIp: "10.0.0.2", port: 80 });
        await dba.sql("begin");
        await dba.sql(REWRITE);
        const reading = source.read({ whole: false }, never);
        await somebodyWaits(database);
        await dba.sql("commit");
        assert.deepEqual(asRecord((await reading).routes), await plainReading(database, here));
      });
    }
  });
}

describe("A reading of the log", () => {
  for (
    const [what, statements, following] of [
      ["a rewritten table", "alter table vms alter column port type integer using port + 1", "notifications"],
      [
        "an exchanged table",
        `create table other (like domains including all); insert into other select * from domains where name = 'a.test';
        alter table domains rename to old_domains; alter table other rename to domains`,
        "tables",
      ],
      [
        "triggers that are disabled",
        "alter table domains disable trigger all; delete from domains where name = 'b.test'",
        "tables",
      ],
      [
        "a trigger that was disabled for a while",
        `alter table domains disable trigger edgeproxy_feed_delete; delete from domains where name = 'b.test';
        alter table domains enable always trigger edgeproxy_feed_delete`,
        "notifications",
      ],
    ] as const
  ) {
    it(`notices ${what}`, async () => {
      await using database = await platform(true);
      await using source = sourceOf(database.url);
      await source.read({ whole: false }, never);
      assert.equal(source.following, "notifications");
      const before = await plainReading(database, here);
      await database.sql(statements);
      const { routes } = await source.read({ whole: false }, never);
      assert.notDeepEqual(asRecord(routes), before);
      assert.deepEqual(asRecord(routes), await plainReading(database, here));
      assert.equal(source.following, following);
    });
  }
});
