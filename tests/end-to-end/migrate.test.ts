/** Contract section 2, `edgeproxy migrate`, with the compiled binary: what it prints, what it leaves, its exit codes. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Run, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { findFeed, takeLog } from "../fixtures/feed.ts";
import { freePort } from "../fixtures/ports.ts";
import { createDatabase, type Database, openSession, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

const REGION = "11111111-1111-4111-8111-111111111111";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

function migrate(url: string, ...words: string[]): Promise<Run> {
  return runEdgeproxy(["migrate", ...words], { env: { EDGEPROXY_DATABASE_URL: url } });
}

async function check(database: Database, url = database.url): Promise<Run> {
  return await runEdgeproxy(["check"], { env: { EDGEPROXY_DATABASE_URL: url, EDGEPROXY_REGION_ID: REGION } });
}

async function leftovers(database: Database): Promise<number> {
  const rows = await database.sql(`select relname as name from pg_class where relname like 'edgeproxy%'
    union all select proname from pg_proc where proname like 'edgeproxy%'
    union all select tgname from pg_trigger where tgname like 'edgeproxy%'`);
  return rows.length;
}

test("migrate creates tables and feed, says so, says so again, and --remove takes only the feed out", async () => {
  await using db = await createDatabase(server);
  const first = await migrate(db.url);
  assert.deepEqual([first.exitCode, first.stderr], [0, ""]);
  const lines = first.stdout.trimEnd().split("\n");
  for (
    const line of ["created table domains", "created feed version 1", "created triggers on vms", "created index on domains (name)"]
  ) {
    assert.ok(lines.includes(line), first.stdout);
  }
  await db.sql(`insert into regions (id) values ('${REGION}')`);
  assert.deepEqual(await takeLog(db), [`region ${REGION}`]);

  const again = await migrate(db.url);
  assert.equal(again.exitCode, 0);
  assert.match(again.stdout, /^feed version 1 is there$/m);
  assert.doesNotMatch(again.stdout, /created|granted/);

  const removed = await migrate(db.url, "--remove");
  assert.equal(removed.exitCode, 0);
  assert.match(removed.stdout, /^removed table edgeproxy_changes$/m);
  assert.equal(await leftovers(db), 0);
  assert.equal((await db.sql("select id from regions")).length, 1);
  assert.equal((await migrate(db.url, "--remove")).stdout, "there is no feed in schema public\n");
});

test("migrate --print needs no database; any client can run what it prints, with the same result", async () => {
  await using printed = await createDatabase(server, { tables: "text" });
  await using migrated = await createDatabase(server, { tables: "text" });
  const putIn = await runEdgeproxy(["migrate", "--print"], { env: {} });
  assert.deepEqual([putIn.exitCode, putIn.stderr], [0, ""]);
  await using session = openSession(printed.url);
  await session.sql(putIn.stdout);
  await migrate(migrated.url);
  const functions = "select proname, prosrc, proacl, proconfig from pg_proc where proname like 'edgeproxy%' order by 1";
  assert.equal(JSON.stringify(await printed.sql(functions)), JSON.stringify(await migrated.sql(functions)));
  assert.deepEqual(await findFeed(printed), await findFeed(migrated));
  assert.doesNotMatch((await migrate(printed.url)).stdout, /created/);

  const takeOut = await runEdgeproxy(["migrate", "--remove", "--print"], { env: {} });
  await session.sql(takeOut.stdout);
  assert.equal(await leftovers(printed), 0);
});

test("migrate exits with 1 and changes nothing when it cannot, and with 2 on wrong usage and configuration", async () => {
  await using db = await createDatabase(server, { tables: "inet" });
  await db.sql("alter table vms rename to machines; create view vms as select * from machines");
  const refused = await migrate(db.url);
  assert.deepEqual([refused.exitCode, refused.stdout], [1, ""]);
  assert.match(refused.stderr, /^edgeproxy migrate: vms is a view: the feed needs a plain table/);
  assert.equal(await leftovers(db), 0);

  const away = await migrate(`postgres://u:s3cret@127.0.0.1:${await freePort()}/none`);
  assert.equal(away.exitCode, 1);
  assert.match(away.stderr, /^edgeproxy migrate: Cannot connect to the database at .*ECONNREFUSED/);
  assert.doesNotMatch(away.stderr, /s3cret/);

  for (const words of [["now"], ["--force"]]) assert.equal((await migrate(db.url, ...words)).exitCode, 2);
  for (
    const [url, problem] of [["", /EDGEPROXY_DATABASE_URL: is required/], [
      "mysql://x",
      /EDGEPROXY_DATABASE_URL: must be a URL/,
    ]] as const
  ) {
    const run = await migrate(url);
    assert.equal(run.exitCode, 2);
    assert.match(run.stderr, problem);
  }
});

test("check tells whether the feed is there, whole, and readable", async () => {
  await using db = await createDatabase(server, { tables: "inet" });
  assert.match((await check(db)).stdout, /^ok {4}feed: none: the tables are polled/m);
  await migrate(db.url);
  const whole = await check(db);
  assert.equal(whole.exitCode, 0);
  assert.match(whole.stdout, /^ok {4}feed: version 1, every trigger is enabled$/m);
  assert.match(whole.stdout, /^ok {4}indexes: /m);
  await db.sql("alter table domains disable trigger edgeproxy_feed_update; drop index edgeproxy_domains_name");
  const broken = await check(db);
  assert.equal(broken.exitCode, 0);
  assert.match(broken.stdout, /^warn {2}feed: absent or disabled: domains\.edgeproxy_feed_update; .*polled meanwhile$/m);
  assert.match(broken.stdout, /^warn {2}indexes: none on domains \(name\)/m);
  await migrate(db.url);

  await db.sql("create role feed_stranger login password 'p'; grant select on all tables in schema public to feed_stranger");
  await db.sql("revoke select on edgeproxy_feed from feed_stranger");
  const url = new URL(db.url);
  url.username = "feed_stranger";
  url.password = "p";
  assert.match(
    (await check(db, url.href)).stdout,
    /^warn {2}feed: needs SELECT for this user on edgeproxy_changes and edgeproxy_feed/m,
  );
  await migrate(db.url);
  assert.match((await check(db, url.href)).stdout, /^ok {4}feed: version 1/m);
  await db.sql("drop owned by feed_stranger; drop role feed_stranger");
  await db.sql("update edgeproxy_feed set version = 2; alter table edgeproxy_feed alter version set default 2");
  assert.match((await check(db)).stdout, /^warn {2}feed: version 2, but this edgeproxy knows version 1/m);
});
