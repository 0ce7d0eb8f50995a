/** The feed goes in, goes in again, and comes out, in databases of many shapes; where it cannot, it says why and changes nothing. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { isUsable } from "../../src/sources/change-feed.ts";
import { findFeed, putFeedIn, takeFeedOut, takeLog } from "../fixtures/feed.ts";
import {
  createDatabase,
  createSchema,
  type Database,
  insertRegion,
  insertRoute,
  openSession,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

/** Everything that a migration could leave, by name; and what the platform's tables are. */
async function inventory(database: Database): Promise<string[]> {
  const rows = await database.sql(`
    select format('%s %s %s', relkind, relname, relacl) as thing from pg_class where relnamespace = 'public'::regnamespace
    union all select format('function %s %s %s', proname, proacl, md5(prosrc)) from pg_proc where pronamespace = 'public'::regnamespace
    union all select format('trigger %s on %s %s', tgname, tgrelid::regclass, tgenabled) from pg_trigger where not tgisinternal
    union all select format('column %s.%s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod)) from pg_attribute
      join pg_class on pg_class.oid = attrelid where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0
    order by 1`);
  return rows.map((row) => String(row["thing"]));
}

/** As another user of the same database, who may do nothing unless `grants` says so. */
async function asUser<T>(database: Database, grants: string, act: (session: Database) => Promise<T>): Promise<T> {
  await database.sql(`create role feed_user login password 'p'; ${grants}`);
  const url = new URL(database.url);
  url.username = "feed_user";
  url.password = "p";
  try {
    await using session = openSession(url.href);
    return await act(session);
  } finally {
    await database.sql("drop owned by feed_user cascade; drop role feed_user");
  }
}

describe("migrateScript()", () => {
  it("creates the tables, the feed and the indexes in an empty database; a second run changes nothing and says so", async () => {
    await using db = await createDatabase(server);
    const steps = await putFeedIn(db);
    for (const table of ["regions", "vms", "deployments", "domains", "edgeproxy_changes", "edgeproxy_feed", "route_policies"]) {
      assert.ok(steps.includes(`created table ${table}`), table);
    }
    assert.ok(steps.includes("created feed version 1"));
    assert.ok(isUsable(await findFeed(db)));
    const first = await inventory(db);
    const again = await putFeedIn(db);
    assert.deepEqual(again.filter((step) => !/ (is|are) there\b/.test(step)), []);
    assert.equal(again.length, 11);
    assert.deepEqual(await inventory(db), first);
  });

  it("adds only what is missing to tables with rows", async () => {
    await using db = await createDatabase(server, { tables: "text" });
    const regionId = await insertRegion(db, { publicIpv4: "203.0.113.7" });
    await insertRoute(db, { name: "app.example", regionId, privateIp: "10.0.0.5", port: 8080 });
    await db.sql("create index on domains (name, id); create index on deployments using hash (vm_id)");
    await db.sql("create index on domains (deployment_id) where verified_at is not null");
    const rows = "select * from regions cross join vms cross join deployments cross join domains";
    const before = JSON.stringify(await db.sql(rows));
    const steps = await putFeedIn(db);
    assert.deepEqual(steps.filter((step) => /index/.test(step)), ["created index on domains (deployment_id)"]);
    assert.deepEqual(steps.filter((step) => /table/.test(step)).map((step) => step.split(" ").slice(-1)[0]), [
      "there",
      "there",
      "there",
      "there",
      "edgeproxy_changes",
      "edgeproxy_feed",
      "route_policies",
    ]);
    assert.equal(JSON.stringify(await db.sql(rows)), before);
  });

  it("goes where domains is, whatever the schema is called", async () => {
    await using db = await createDatabase(server);
    await db.sql(`create schema "Edge ""1"" one"; create schema decoy`);
    await using session = openSession(db.url);
    await session.sql(`set search_path = decoy, "Edge ""1"" one"`);
    await session.sql(`create table "Edge ""1"" one".domains (name text, deployment_id int, verified_at timestamptz)`);
    await session.sql(`create table "Edge ""1"" one".deployments (id int, vm_id int, status text)`);
    await session.sql(`create table "Edge ""1"" one".vms (id int, private_ip text, port int, region_id int, status text)`);
    await session.sql(`create table decoy.regions (id int, public_ipv4 text)`);
    await session.sql(
      `alter role current_user in database ${new URL(db.url).pathname.slice(1)} set search_path = decoy, "Edge ""1"" one"`,
    );
    await putFeedIn(db);
    const feed = await findFeed(session);
    assert.deepEqual([feed.schema, isUsable(feed)], [`"Edge ""1"" one"`, true]);
    await session.sql("insert into domains values ('a.example', 1, now()); insert into decoy.regions values (1)");
    assert.deepEqual(await takeLog(session), ["domain a.example", "region 1"]);
    await takeFeedOut(db);
    const left = await session.sql("select relname from pg_class where relname like 'edgeproxy%'");
    assert.equal(left.length, 0);
  });

  it("lets whoever may read domains read the log, also the public, and nobody else", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await asUser(db, "grant select (name, deployment_id) on domains to feed_user", async (reader) => {
      const steps = await putFeedIn(db);
      assert.ok(steps.includes("granted SELECT on the feed to feed_user"));
      assert.ok((await findFeed(reader)).readable);
      await reader.sql("select from edgeproxy_changes");
      await assert.rejects(reader.sql("insert into edgeproxy_changes (kind, subjects) values ('all', '{}')"), /permission denied/);
    });
    await asUser(db, "", async (stranger) => {
      assert.equal((await findFeed(stranger)).readable, false);
      await assert.rejects(stranger.sql("select from edgeproxy_changes"), /permission denied/);
      await db.sql("grant select on domains to public");
      assert.deepEqual((await putFeedIn(db)).filter((step) => /^granted/.test(step)), ["granted SELECT on the feed to public"]);
      assert.ok((await findFeed(stranger)).readable);
    });
  });

  it("repairs what was disabled, dropped or changed", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await putFeedIn(db);
    const whole = await inventory(db);
    const damages = [
      "alter table domains disable trigger all",
      "alter table vms disable trigger edgeproxy_feed_replica",
      "alter table vms enable trigger edgeproxy_feed_truncate",
      "drop trigger edgeproxy_feed_update on regions",
      "create or replace function edgeproxy_feed_domains() returns trigger language plpgsql as 'begin return null; end'",
    ];
    for (const [index, damage] of damages.entries()) {
      await db.sql(damage);
      if (index < 4) assert.equal(isUsable(await findFeed(db)), false, damage);
      await putFeedIn(db);
      assert.deepEqual(await inventory(db), whole, damage);
    }
  });

  it("refuses a feed of a newer version, and so does removal", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await putFeedIn(db);
    await db.sql("update edgeproxy_feed set version = 2; alter table edgeproxy_feed alter version set default 2");
    const before = await inventory(db);
    await assert.rejects(putFeedIn(db), /the feed in schema public is version 2, made by a newer edgeproxy; this one knows 1/);
    await assert.rejects(takeFeedOut(db), /made by a newer edgeproxy/);
    assert.deepEqual(await inventory(db), before);
    assert.equal(isUsable(await findFeed(db)), false);
  });

  const impossible: readonly (readonly [what: string, sql: string, message: RegExp])[] = [
    [
      "a view",
      "alter table vms rename to machines; create view vms as select * from machines",
      /vms is a view: the feed needs a plain table/,
    ],
    [
      "a partitioned table",
      "alter table domains rename to whole; create table domains (like whole) partition by hash (id)",
      /domains is a partitioned table: the feed needs a plain table/,
    ],
    [
      "a parent",
      "create table old_domains () inherits (domains)",
      /domains inherits, or is inherited from: its triggers do not see/,
    ],
    [
      "a partition",
      "alter table vms rename to v; create table machines (like v) partition by hash (id); " +
      "create table vms partition of machines for values with (modulus 1, remainder 0)",
      /vms inherits, or is inherited from/,
    ],
    [
      "a materialized view",
      "alter table regions rename to r; create materialized view regions as select * from r",
      /regions is a materialized view/,
    ],
    [
      "columns are missing",
      "alter table vms drop port, drop status; alter table domains drop name",
      /vms has no column port, status; domains has no column name/,
    ],
    ["transactions are read only", "alter role current_user set default_transaction_read_only = on", /transactions are read only/],
    ["there is no schema", "alter role current_user set search_path = nowhere", /no schema of the search path "nowhere" exists/],
  ];
  for (const [what, sql, message] of impossible) {
    it(`names what is in the way and changes nothing when it is that ${what}`, async () => {
      await using db = await createDatabase(server, { tables: "inet" });
      await db.sql("create role feed_owner login superuser password 'p'");
      const url = new URL(db.url);
      url.username = "feed_owner";
      url.password = "p";
      try {
        await using session = openSession(url.href);
        await session.sql(sql);
        const before = await inventory(db);
        await assert.rejects(putFeedIn({ ...db, url: url.href }), message);
        assert.deepEqual(await inventory(db), before);
      } finally {
        await db.sql("set default_transaction_read_only = off; reassign owned by feed_owner to current_user; drop role feed_owner");
      }
    });
  }

  it("lends no superuser's rights to the owner of the tables", async () => {
    await using db = await createDatabase(server);
    await db.sql("create role tenant login; grant create on schema public to tenant; set role tenant");
    try {
      await createSchema(db, { inet: true });
      await db.sql("reset role");
      await putFeedIn(db);
      await db.sql(`set role tenant;
        create type disguise as (text text);
        create table ran_as (who text);
        create function undisguise(disguise) returns text language plpgsql as
          'begin insert into public.ran_as values (current_user); return ''running''; end';
        create cast (disguise as text) with function undisguise(disguise);
        alter table vms alter column status type disguise using row(status)::disguise`);
      const regionId = await insertRegion(db);
      await db.sql("insert into vms (private_ip, port, region_id, status) values ('10.0.0.1', 80, $1, row('x')::disguise)", [
        regionId,
      ]);
      assert.deepEqual(new Set((await db.sql("select who from ran_as")).map(({ who }) => who)), new Set(["tenant"]));
      assert.deepEqual(await takeLog(db), [`region ${regionId}`, `vm ${(await db.sql("select id from vms"))[0]?.["id"]}`]);
      await db.sql("reset role");
      assert.deepEqual((await putFeedIn(db)).filter((step) => /belongs/.test(step)), []);
    } finally {
      await db.sql("reset role; drop owned by tenant cascade; drop role tenant");
    }
  });

  it("names the privilege that a user lacks", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await asUser(
      db,
      "grant all on all tables in schema public to feed_user; revoke create on schema public from public",
      async (user) => {
        await assert.rejects(putFeedIn(user), /user feed_user needs CREATE on schema public/);
        await db.sql("grant create on schema public to feed_user");
        await assert.rejects(
          putFeedIn(user),
          /user feed_user must own the tables .*: deployments of postgres, domains of postgres, /,
        );
        await db.sql("alter table domains owner to feed_user; alter table deployments owner to feed_user");
        await db.sql("alter table vms owner to feed_user; alter table regions owner to feed_user");
        assert.ok((await putFeedIn(user)).includes("created triggers on domains"));
        await takeFeedOut(user);
        for (const table of ["domains", "deployments", "vms", "regions"]) await db.sql(`alter table ${table} owner to postgres`);
      },
    );
  });

  it("does not surprise subscribers of a publication that includes every table", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    const before = await inventory(db);
    for (const scope of ["all tables", "tables in schema public"]) {
      await db.sql(`create publication everything for ${scope}`);
      await assert.rejects(
        putFeedIn(db),
        /publication everything includes every new table, so also the log: .*edgeproxy\.publish = on/,
      );
      assert.deepEqual(await inventory(db), before);
      await db.sql(`alter database ${new URL(db.url).pathname.slice(1)} set edgeproxy.publish = on`);
      assert.ok((await putFeedIn(db)).includes("created feed version 1"));
      await takeFeedOut(db);
      await db.sql(`drop publication everything; alter database ${new URL(db.url).pathname.slice(1)} reset edgeproxy.publish`);
    }
  });

  it("needs no ownership when there is nothing to do", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await asUser(db, "grant select on domains to feed_user", async (user) => {
      await putFeedIn(db);
      assert.ok((await putFeedIn(user)).includes("feed version 1 is there"));
    });
  });

  it("does not queue behind a long transaction, and says who holds the table", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await using long = openSession(db.url);
    await long.sql("set application_name = 'long'; begin; insert into regions default values");
    const before = await inventory(db);
    let done = false;
    const outcome = putFeedIn(db).then(() => "done", (error: Error) => error.message).finally(() => done = true);
    let slowest = 0;
    while (!done) {
      const startMs = performance.now();
      await db.sql("insert into regions default values");
      slowest = Math.max(slowest, performance.now() - startMs);
    }
    assert.match(
      await outcome,
      /cannot lock .*regions.*, held by .*postgres \(pid \d+, transaction open for 00:00:\d\d\).*: nothing was changed/,
    );
    assert.ok(slowest < 5000, `a write waited ${slowest} ms`);
    assert.deepEqual(await inventory(db), before);
    await long.sql("commit");
    assert.ok((await putFeedIn(db)).includes("created triggers on regions"));
  });

  it("waits for a transaction that is about to end", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await using short = openSession(db.url);
    await short.sql("begin; insert into regions default values");
    const migrated = putFeedIn(db);
    await using watcher = openSession(db.url);
    while (
      (await watcher.sql("select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%change feed%'"))
        .length === 0
    );
    await short.sql("commit");
    assert.ok((await migrated).includes("created triggers on regions"));
  });

  it("survives two at once", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    const [one, two] = await Promise.all([putFeedIn(db), putFeedIn(db)]);
    assert.equal([one, two].filter((steps) => steps.includes("created feed version 1")).length, 1);
    assert.equal([one, two].filter((steps) => steps.includes("feed version 1 is there")).length, 1);
  });

  it("drops rows of a log that a dump brought from a server with higher transactions", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await putFeedIn(db);
    await db.sql("insert into edgeproxy_changes (txid, kind, subjects) values (1000000000000, 'all', '{}'), (3, 'all', '{}')");
    await db.sql("update edgeproxy_feed set mark_txid = 1000000000000, pruned_txid = 999999999999");
    await putFeedIn(db);
    assert.deepEqual((await db.sql("select txid::int from edgeproxy_changes")).map((row) => row["txid"]), [3]);
    const [feed] = await db.sql(`select mark_txid <= txid_snapshot_xmax(txid_current_snapshot()) as mark,
      pruned_txid <= txid_snapshot_xmax(txid_current_snapshot()) as pruned from edgeproxy_feed`);
    assert.deepEqual({ ...feed }, { mark: true, pruned: true });
  });
});

describe("removeScript()", () => {
  it("leaves the database as it was before the feed, with the tables and their rows", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    await db.sql("create index mine on domains (name)");
    const before = await inventory(db);
    await putFeedIn(db);
    const regionId = await insertRegion(db, { publicIpv4: "203.0.113.7" });
    await insertRoute(db, { name: "app.example", regionId, privateIp: "10.0.0.5", port: 8080 });
    const steps = await takeFeedOut(db);
    for (const step of ["removed table edgeproxy_changes", "removed index public.edgeproxy_domains_deployment_id"]) {
      assert.ok(steps.includes(step), steps.join("\n"));
    }
    assert.deepEqual(await inventory(db), before);
    assert.equal((await db.sql("select * from domains")).length, 1);
    assert.deepEqual(await takeFeedOut(db), ["there is no feed in schema public"]);
    await db.sql("delete from domains");
  });

  it("takes out what is left of a damaged feed", async () => {
    await using db = await createDatabase(server, { tables: "inet" });
    const before = await inventory(db);
    await putFeedIn(db);
    await db.sql(
      "drop table edgeproxy_feed; drop index edgeproxy_domains_name, edgeproxy_domains_deployment_id, edgeproxy_deployments_vm_id",
    );
    await assert.rejects(putFeedIn(db), /take it out first \(edgeproxy migrate --remove\)/);
    await takeFeedOut(db);
    assert.deepEqual(await inventory(db), before);
  });
});
