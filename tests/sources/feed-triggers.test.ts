/** What writes to the platform's tables leave in the log: what matters to routes, and nothing else. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { putFeedIn, takeLog } from "../fixtures/feed.ts";
import {
  createDatabase,
  type Database,
  insertDeployment,
  insertDomain,
  insertRegion,
  insertVm,
  openSession,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
  await server.sql("alter system set max_prepared_transactions = 5");
  await server.sql("alter system set wal_level = 'logical'");
  await server.kill();
  await server.restart();
});
after(() => server[Symbol.asyncDispose]());

interface World extends Database {
  readonly region: string;
  readonly vm: string;
  readonly deployment: string;
  readonly domain: string;
}

/** A database with the feed, one route `app.example` and an empty log. */
async function world(tables: "inet" | "text" = "inet"): Promise<World> {
  const database = await createDatabase(server, { tables });
  await putFeedIn(database);
  const region = await insertRegion(database, { publicIpv4: "203.0.113.7" });
  const vm = await insertVm(database, { regionId: region, privateIp: "10.0.0.5", port: 8080 });
  const deployment = await insertDeployment(database, { vmId: vm });
  const domain = await insertDomain(database, { name: "app.example", deploymentId: deployment });
  assert.deepEqual(await takeLog(database), [`region ${region}`, `vm ${vm}`, `deployment ${deployment}`, "domain app.example"]);
  return { ...database, region, vm, deployment, domain };
}

for (const tables of ["inet", "text"] as const) {
  describe(`the triggers, addresses as ${tables},`, () => {
    it("log every column that routes are made of, alone", async () => {
      await using db = await world(tables);
      const vm = await insertVm(db, { regionId: db.region, privateIp: "10.0.0.6", port: 8080 });
      const deployment = await insertDeployment(db, { vmId: vm });
      const region = await insertRegion(db);
      await takeLog(db);
      const cases: readonly (readonly [update: string, log: string])[] = [
        ["domains set name = 'www.example'", "domain app.example www.example"],
        [`domains set deployment_id = '${deployment}'`, "domain www.example"],
        ["domains set verified_at = '2026-01-01'", "domain www.example"],
        [`deployments set vm_id = '${vm}' where id = '${db.deployment}'`, `deployment ${db.deployment}`],
        [`deployments set status = 'failed' where id = '${deployment}'`, `deployment ${deployment}`],
        [`vms set private_ip = '10.0.0.7' where id = '${db.vm}'`, `vm ${db.vm}`],
        [`vms set port = 81 where id = '${db.vm}'`, `vm ${db.vm}`],
        [`vms set region_id = '${region}' where id = '${db.vm}'`, `vm ${db.vm}`],
        [`vms set status = 'stopped' where id = '${db.vm}'`, `vm ${db.vm}`],
        [`regions set public_ipv4 = '203.0.113.9' where id = '${region}'`, `region ${region}`],
      ];
      for (const [update, log] of cases) {
        await db.sql(`update ${update}`);
        assert.deepEqual(await takeLog(db), [log], update);
      }
    });

    it("log nothing that routes are not made of", async () => {
      await using db = await world(tables);
      await db.sql("alter table vms add seen_at timestamptz; alter table domains add note text");
      const away = await insertVm(db, { regionId: db.region, privateIp: "10.0.0.8", port: 80, status: "booting" });
      const failed = await insertDeployment(db, { vmId: db.vm, status: "failed" });
      await insertDomain(db, { name: "later.example", deploymentId: db.deployment, verified: false });
      const updates = [
        "vms set seen_at = now()",
        "domains set note = 'x'",
        "domains set name = name, deployment_id = deployment_id, verified_at = verified_at",
        "domains set name = 'never.example' where name = 'later.example'",
        `vms set status = 'failed', port = 81 where id = '${away}'`,
        `deployments set status = 'gone', vm_id = '${away}' where id = '${failed}'`,
        "domains set id = gen_random_uuid()",
        "vms set port = 1 where false",
      ];
      for (const update of updates) await db.sql(`update ${update}`);
      await db.sql("delete from domains where verified_at is null");
      await db.sql(`delete from deployments where id = '${failed}'`);
      await db.sql(`delete from vms where id = '${away}'`);
      assert.deepEqual(await takeLog(db), []);
    });
  });
}

describe("the triggers", () => {
  it("log a domain when it is verified, when it is not any more, and when it is deleted", async () => {
    await using db = await world();
    await db.sql("update domains set verified_at = null");
    await db.sql("update domains set verified_at = now()");
    await db.sql("delete from domains");
    assert.deepEqual(await takeLog(db), ["domain app.example", "domain app.example", "domain app.example"]);
  });

  it("log both ids when an id changes, and cascades", async () => {
    await using db = await createDatabase(server);
    await db.sql(`create table regions (id text primary key, public_ipv4 text);
      create table vms (id bigint primary key, private_ip text, port int, region_id text, status text);
      create table deployments (id int primary key, vm_id bigint references vms on delete cascade, status varchar(20));
      create table domains (id bigint primary key, name varchar(200), deployment_id int references deployments on delete cascade on update cascade,
        verified_at timestamp)`);
    await putFeedIn(db);
    await db.sql("insert into regions values ('eu', '203.0.113.1'); insert into vms values (1, '10.0.0.1', 80, 'eu', 'running')");
    await db.sql(
      "insert into deployments values (7, 1, 'ready'); insert into domains values (1, 'a.example', 7, now()), (2, 'b.example', 7, now())",
    );
    assert.deepEqual(await takeLog(db), ["region eu", "vm 1", "deployment 7", "domain a.example b.example"]);
    await db.sql("update deployments set id = 8");
    assert.deepEqual((await takeLog(db)).sort(), ["deployment 7 8", "domain a.example b.example"]);
    await db.sql("delete from vms");
    assert.deepEqual((await takeLog(db)).sort(), ["deployment 8", "domain a.example b.example", "vm 1"]);
  });

  it("log TRUNCATE as everything", async () => {
    await using db = await world();
    await db.sql("truncate regions cascade");
    assert.deepEqual(await takeLog(db), ["all", "all", "all", "all"]);
  });

  it("log a statement of 10,000 rows in 20 rows, and notify once", async () => {
    await using db = await world();
    await db.sql(`insert into domains (name, deployment_id, verified_at)
      select 'd' || i || '.example', '${db.deployment}', now() from generate_series(1, 10000) as i`);
    const inserted = await takeLog(db);
    assert.equal(inserted.length, 20);
    assert.equal(new Set(inserted.flatMap((row) => row.split(" ").slice(1))).size, 10_000);
    await db.sql("update domains set verified_at = now() + interval '1 s', name = replace(name, 'd', 'e')");
    assert.equal((await takeLog(db)).length, 41, "10,001 names as they were and as they are");
    await db.sql("update domains set verified_at = verified_at");
    assert.deepEqual(await takeLog(db), []);
  });

  it("see COPY, ON CONFLICT and MERGE", async () => {
    await using db = await world();
    await db.sql("create unique index on domains (name)");
    const file = `/tmp/edgeproxy-copy-${crypto.randomUUID()}`;
    await db.sql(`copy (select gen_random_uuid(), 'copied.example', '${db.deployment}', now()) to '${file}'`);
    await db.sql(`copy domains from '${file}'`);
    await db.sql(`copy (select 1) to program 'cat >/dev/null; rm ${file}'`);
    assert.deepEqual(await takeLog(db), ["domain copied.example"]);
    await db.sql(`insert into domains (name, deployment_id, verified_at)
      select name, '${db.deployment}', '2026-01-01' from unnest(array['copied.example', 'added.example']) as name
      on conflict (name) do update set verified_at = excluded.verified_at`);
    assert.deepEqual((await takeLog(db)).sort(), ["domain added.example", "domain copied.example"]);
    await db.sql(`insert into domains (name, deployment_id, verified_at) values ('added.example', '${db.deployment}', now())
      on conflict do nothing`);
    assert.deepEqual(await takeLog(db), []);
    await db.sql(
      `merge into domains using (values ('added.example', 1), ('merged.example', 2), ('copied.example', 3)) as said (name, act)
      on domains.name = said.name
      when matched and act = 3 then delete
      when matched then update set verified_at = now()
      when not matched then insert (name, deployment_id, verified_at) values (said.name, '${db.deployment}', now())`,
    );
    assert.deepEqual((await takeLog(db)).sort(), ["domain added.example", "domain copied.example", "domain merged.example"]);
  });

  it("log in a session of a replica, once", async () => {
    await using db = await world();
    await db.sql("set session_replication_role = replica");
    await db.sql("update domains set name = 'www.example'");
    await db.sql("update domains set id = gen_random_uuid()");
    await db.sql("update vms set port = 82");
    await db.sql("delete from domains");
    assert.deepEqual(await takeLog(db), ["domain app.example www.example", `vm ${db.vm}`, "domain www.example"]);
    await db.sql("truncate domains");
    assert.deepEqual(await takeLog(db), ["all"]);
  });

  it("log what logical replication applies", async () => {
    await using publisher = await createDatabase(server, { tables: "inet" });
    await using db = await createDatabase(server, { tables: "inet" });
    await putFeedIn(db);
    const name = new URL(db.url).pathname.slice(1);
    await publisher.sql("create publication everything for all tables");
    await publisher.sql(`select pg_create_logical_replication_slot('${name}', 'pgoutput')`);
    await db.sql(
      `create subscription ${name} connection '${publisher.url}' publication everything with (create_slot = false, copy_data = false)`,
    );
    try {
      const region = await insertRegion(publisher);
      const vm = await insertVm(publisher, { regionId: region, privateIp: "10.0.0.5", port: 8080 });
      const deployment = await insertDeployment(publisher, { vmId: vm });
      await insertDomain(publisher, { name: "far.example", deploymentId: deployment });
      await publisher.sql("update domains set name = 'away.example'");
      const expected = [
        `region ${region}`,
        `vm ${vm}`,
        `deployment ${deployment}`,
        "domain far.example",
        "domain away.example far.example",
      ];
      const log: string[] = [];
      while (log.length < expected.length) log.push(...await takeLog(db));
      assert.deepEqual(log, expected);
    } finally {
      await db.sql(`alter subscription ${name} disable`);
      await db.sql(`alter subscription ${name} set (slot_name = none)`);
      await db.sql(`drop subscription ${name}`);
      while ((await publisher.sql(`select from pg_replication_slots where slot_name = '${name}' and active`)).length > 0);
      await publisher.sql(`select pg_drop_replication_slot('${name}')`);
    }
  });

  it("log what a prepared transaction writes, when it commits", async () => {
    await using db = await world();
    await db.sql("begin; update vms set port = 83; prepare transaction 'later'");
    assert.equal((await db.sql("select seq from edgeproxy_changes")).length, 0);
    await db.sql("commit prepared 'later'");
    assert.deepEqual(await takeLog(db), [`vm ${db.vm}`]);
  });

  it("need no right of the writer on the log", async () => {
    await using db = await world();
    await db.sql("create role feed_writer login password 'p'");
    await db.sql("grant select, insert, update, delete, truncate on domains, deployments, vms, regions to feed_writer");
    const url = new URL(db.url);
    url.username = "feed_writer";
    url.password = "p";
    await using writer = openSession(url.href);
    await writer.sql("update domains set name = 'www.example'");
    await writer.sql("truncate domains");
    await assert.rejects(writer.sql("delete from edgeproxy_changes"), /permission denied/);
    await assert.rejects(writer.sql("select edgeproxy_feed_prune()"), /permission denied/);
    await writer.sql("create temporary table mine (id int)");
    await assert.rejects(
      writer.sql("create trigger mine after truncate on mine for each statement execute function edgeproxy_feed_vms()"),
      /permission denied/,
    );
    assert.deepEqual(await takeLog(db), ["domain app.example www.example", "all"]);
    await writer[Symbol.asyncDispose]();
    await db.sql("drop owned by feed_writer; drop role feed_writer");
  });

  it("let every write pass when a column is gone", async () => {
    await using db = await world();
    for (
      const [table, column] of [["domains", "verified_at"], ["domains", "name"], ["vms", "status"], ["regions", "public_ipv4"]]
    ) {
      await db.sql(`alter table ${table} rename ${column} to renamed`);
      await db.sql(`update ${table} set renamed = renamed`);
      await db.sql(`delete from ${table} where false`);
      await db.sql(`insert into ${table} select * from ${table} where false`);
      await db.sql(`alter table ${table} rename renamed to ${column}`);
    }
    assert.deepEqual(await takeLog(db), []);
    await db.sql("update vms set port = 84");
    assert.deepEqual(await takeLog(db), [`vm ${db.vm}`]);
    await db.sql("alter table vms drop column port");
    await db.sql("update vms set status = 'stopped'");
    assert.deepEqual(await takeLog(db), [`vm ${db.vm}`]);
  });
});
