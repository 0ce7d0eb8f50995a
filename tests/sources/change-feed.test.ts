/** What a reader learns from the log: everything, whatever the order of commits, until rows are pruned; and then that it missed some. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import postgres from "postgres";
import { changesSince, CHANNEL, MOST_CHANGED_NAMES } from "../../src/sources/change-feed.ts";
import { FeedReader, findFeed, putFeedIn } from "../fixtures/feed.ts";
import {
  createDatabase,
  type Database,
  insertDomain,
  insertRegion,
  insertRoute,
  insertVm,
  openSession,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

interface World extends Database {
  readonly region: string;
  readonly vm: string;
  readonly deployment: string;
  readonly reader: FeedReader;
}

/** A database with the feed, a VM with the domain `app.example`, and a reader that has seen that. */
async function world(): Promise<World> {
  const database = await createDatabase(server, { tables: "inet" });
  await putFeedIn(database);
  const region = await insertRegion(database, { publicIpv4: "203.0.113.7" });
  const { vmId, deploymentId } = await insertRoute(database, {
    name: "app.example",
    regionId: region,
    privateIp: "10.0.0.5",
    port: 8080,
  });
  const session = openSession(database.url);
  const reader = await FeedReader.start(session);
  const dispose = async () => {
    await session[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  };
  return { ...database, region, vm: vmId, deployment: deploymentId, reader, [Symbol.asyncDispose]: dispose };
}

describe("changesSince()", () => {
  it("names the domains behind a changed deployment and VM, and says of regions and TRUNCATE that it is everything", async () => {
    await using db = await world();
    await insertDomain(db, { name: "www.example", deploymentId: db.deployment });
    assert.deepEqual(await db.reader.look(), ["www.example"]);
    assert.deepEqual(await db.reader.look(), []);
    await db.sql("update deployments set status = 'failed'");
    assert.deepEqual(await db.reader.look(), ["app.example", "www.example"]);
    await db.sql("update vms set port = 81");
    assert.deepEqual(await db.reader.look(), ["app.example", "www.example"]);
    await db.sql("update regions set public_ipv4 = '203.0.113.8'");
    assert.deepEqual(await db.reader.look(), ["everything"]);
    await db.sql("truncate domains");
    assert.deepEqual(await db.reader.look(), ["everything"]);
  });

  it("names the domains of a VM through tables without foreign keys, also when rows are gone", async () => {
    await using db = await createDatabase(server);
    await db.sql(`create table regions (id int, public_ipv4 text);
      create table vms (id bigint, private_ip text, port int, region_id int, status text);
      create table deployments (id int, vm_id int, status text);
      create table domains (name varchar(100), deployment_id bigint, verified_at timestamptz)`);
    await putFeedIn(db);
    await db.sql(
      "insert into domains values ('a.example', 7, now()), ('b.example', 8, now()); insert into deployments values (8, 5, 'ready')",
    );
    await using session = openSession(db.url);
    const reader = await FeedReader.start(session);
    for (
      const [write, names] of [
        ["insert into vms values (5, '10.0.0.1', 80, 1, 'running')", ["b.example"]],
        ["insert into deployments values (7, 5, 'ready')", ["a.example"]],
        ["update vms set port = 81", ["a.example", "b.example"]],
        ["delete from deployments where id = 8", ["b.example"]],
        ["update deployments set id = 8", ["a.example", "b.example"]],
        ["delete from vms", ["b.example"]],
      ] as const
    ) {
      await db.sql(write);
      assert.deepEqual(await reader.look(), names, write);
    }
  });

  it("stops naming when there are too many names", async () => {
    await using db = await world();
    await db.sql(`insert into domains (name, deployment_id, verified_at)
      select 'd' || i || '.example', '${db.deployment}', now() from generate_series(1, ${MOST_CHANGED_NAMES + 500}) as i`);
    assert.equal((await db.reader.look()).length, MOST_CHANGED_NAMES + 1);
  });

  it("finds what it looks up by index, also with a table whose statistics are fresh", async () => {
    await using db = await world();
    await db.sql(`insert into domains (name, deployment_id, verified_at)
      select 'd' || i || '.example', '${db.deployment}', now() from generate_series(1, 20000) as i`);
    await db.sql(
      `with added as (insert into deployments (vm_id, status) select '${db.vm}', 'ready' from generate_series(1, 5000) returning id)
      insert into domains (name, deployment_id, verified_at) select id || '.example', id, now() from added`,
    );
    await db.sql("analyze");
    const since = (await db.sql("select txid_current_snapshot()::text as snapshot"))[0]?.["snapshot"];
    await db.sql("update domains set verified_at = now() where name = 'd7.example'");
    const { summary, names } = changesSince(await findFeed(db), String(since), null);
    const plans = [summary, `select domains.* from domains where name = any (${names})`];
    for (const query of plans) {
      const plan = (await db.sql(`explain analyze ${query}`)).map((row) => String(row["QUERY PLAN"])).join("\n");
      assert.doesNotMatch(plan, /Seq Scan on (domains|deployments|vms) .*\(actual/, plan);
    }
  });

  it("misses nothing and repeats nothing when transactions commit out of order", async () => {
    await using db = await world();
    const sessions = Array.from({ length: 4 }, () => openSession(db.url));
    try {
      for (const [index, session] of sessions.entries()) {
        await session.sql("begin");
        await insertDomain(session, { name: `d${index}.example`, deploymentId: db.deployment });
      }
      assert.deepEqual(await db.reader.look(), []);
      for (const index of [2, 0, 3]) {
        await sessions[index]?.sql("commit");
        assert.deepEqual(await db.reader.look(), [`d${index}.example`]);
        assert.deepEqual(await db.reader.look(), []);
      }
      await sessions[1]?.sql("rollback");
      assert.deepEqual(await db.reader.look(), []);
      await insertDomain(db, { name: "last.example", deploymentId: db.deployment });
      assert.deepEqual(await db.reader.look(), ["last.example"]);
    } finally {
      for (const session of sessions) await session[Symbol.asyncDispose]();
    }
  });

  it("reads on a standby from the oldest transaction on: no row missed, none twice that it knows of", async () => {
    await using db = await world();
    await using slow = openSession(db.url);
    await slow.sql("begin");
    await insertDomain(slow, { name: "slow.example", deploymentId: db.deployment });
    await insertDomain(db, { name: "fast.example", deploymentId: db.deployment });
    assert.deepEqual(await db.reader.look({ seen: "" }), ["fast.example"]);
    assert.deepEqual(await db.reader.look({ seen: "" }), ["fast.example"]);
    const [row] = await db.sql("select string_agg(txid::text, ',') as seen from edgeproxy_changes");
    const seen = String(row?.["seen"]);
    assert.deepEqual(await db.reader.look({ seen }), []);
    await slow.sql("commit");
    assert.deepEqual(await db.reader.look({ seen }), ["slow.example"]);
    assert.deepEqual(await db.reader.look({ seen: "" }), []);
  });

  it("ignores rows that a dump brought from a server with higher transactions", async () => {
    await using db = await world();
    await db.sql("insert into edgeproxy_changes (txid, kind, subjects) values (1000000000000, 'domain', '{old.example}')");
    await db.sql("update edgeproxy_feed set pruned_txid = 1000000000000");
    await insertDomain(db, { name: "d.example", deploymentId: db.deployment });
    assert.deepEqual(await db.reader.look(), ["d.example"]);
  });
});

/** One puts a domain on a VM, or a deployment, while the other changes what is behind it; neither sees the other's rows. */
describe("a domain and what is behind it, changed by two transactions,", () => {
  const behind = {
    "the VM": "update vms set port = 99",
    "the VM's status": "update vms set status = 'stopped'",
    "the deployment": "update deployments set status = 'failed'",
    "the deployment's VM": "update deployments set vm_id = (select id from vms where port = 2)",
  };
  const orders = ["12", "1-2", "21", "2-1"];
  for (const [what, change] of Object.entries(behind)) {
    for (const order of orders) {
      it(`shows up with ${what} changed, commits in order ${order} (a look at each -)`, async () => {
        await using db = await world();
        await insertVm(db, { regionId: db.region, privateIp: "10.0.0.9", port: 2 });
        await using mover = openSession(db.url);
        await using changer = openSession(db.url);
        const served = new Map<string, string>();
        const follow = async (): Promise<void> => {
          for (const name of await db.reader.look()) {
            served.set(name, JSON.stringify(await db.sql(ROWS, [name])));
          }
        };
        await mover.sql("begin");
        await changer.sql("begin");
        await insertDomain(mover, { name: "moved.example", deploymentId: db.deployment });
        await changer.sql(change);
        for (const step of order) {
          if (step === "-") await follow();
          else await (step === "1" ? mover : changer).sql("commit");
        }
        await follow();
        for (const name of ["moved.example", "app.example"]) {
          assert.equal(served.get(name), JSON.stringify(await db.sql(ROWS, [name])), name);
        }
      });
    }
  }
  const ROWS = `select private_ip::text, port, vms.status as vm, deployments.status from domains
    join deployments on deployments.id = deployment_id join vms on vms.id = vm_id where name = $1`;
});

describe("the feed", () => {
  it("notifies once per transaction that changes something, not for one that does not", async () => {
    await using db = await world();
    const listener = postgres(db.url, { max: 1, onnotice: () => {} });
    const heard: string[] = [];
    await listener.listen(CHANNEL, (payload) => heard.push(payload));
    await listener.listen("end", () => {});
    await db.sql("begin; update vms set port = 1; update vms set port = 2; update deployments set status = 'x'; commit");
    await db.sql("update vms set port = 2; update domains set id = gen_random_uuid()");
    await db.sql(`insert into domains (name, deployment_id, verified_at)
      select 'd' || i || '.example', '${db.deployment}', now() from generate_series(1, 10000) as i`);
    const { promise, resolve } = Promise.withResolvers<void>();
    await listener.listen("over", () => resolve());
    await db.sql("notify over");
    await promise;
    assert.deepEqual(heard, ["", ""]);
    await listener.end();
  });

  it("does not notify where transactions can be prepared, or as edgeproxy.notify says", async () => {
    await using db = await world();
    assert.equal((await findFeed(db)).notifies, true);
    await db.sql("set edgeproxy.notify = off");
    assert.equal((await findFeed(db)).notifies, false);
    await db.sql("update vms set port = 3");
    assert.deepEqual(await db.reader.look(), ["app.example"]);
    await db.sql("set edgeproxy.notify = 'nonsense'");
    await db.sql("update vms set port = 4");
  });

  it("prunes what was over when a mark was set that is old enough, and tells readers who missed it", async () => {
    await using db = await world();
    await using old = openSession(db.url);
    await using open = openSession(db.url);
    const missed = await FeedReader.start(old);
    await db.sql("update vms set port = 5");
    await open.sql("begin; update deployments set status = 'open'");
    const age = "update edgeproxy_feed set marked_at = marked_at - interval '31 min'";
    await db.sql(`${age}; update edgeproxy_changes set at = at - interval '31 min'`);
    await db.sql("select edgeproxy_feed_prune()");
    assert.deepEqual(await db.reader.look(), ["app.example"], "rows since the first mark are kept");
    await db.sql(`${age}; select edgeproxy_feed_prune()`);
    const rows = await db.sql("select kind from edgeproxy_changes order by seq");
    assert.deepEqual(rows.map((row) => row["kind"]), [], "all of which the mark knows the end");
    await open.sql("commit");
    assert.deepEqual(await db.reader.look(), ["app.example"], "the open one is not lost");
    assert.deepEqual((await missed.look()).slice(0, 1), ["gap"]);
    assert.deepEqual(await missed.look(), []);
  });

  it("keeps what a long transaction wrote, however old, and waits for nobody", async () => {
    await using db = await world();
    await using long = openSession(db.url);
    await long.sql("begin; update vms set port = 6");
    await long.sql("update edgeproxy_changes set at = at - interval '5 h'");
    for (let round = 0; round < 3; round++) {
      await db.sql("update edgeproxy_feed set marked_at = marked_at - interval '31 min'; select edgeproxy_feed_prune()");
    }
    await using pruning = openSession(db.url);
    await db.sql("update edgeproxy_feed set marked_at = marked_at - interval '31 min'");
    await pruning.sql("begin; select edgeproxy_feed_prune()");
    await db.sql("set lock_timeout = '1s'; select edgeproxy_feed_prune()");
    await pruning.sql("commit");
    await long.sql("commit");
    assert.deepEqual(await db.reader.look(), ["app.example"]);
  });

  it("prunes by itself, a bounded part at a time", async () => {
    await using db = await world();
    await db.sql(`insert into edgeproxy_changes (txid, at, kind, subjects)
      select 3, now() - interval '1 h', 'domain', '{x}' from generate_series(1, 5000)`);
    await db.sql("update edgeproxy_feed set marked_at = marked_at - interval '31 min'");
    const counts = new Set<number>();
    for (let i = 0; i < 600; i++) {
      await db.sql("update vms set port = $1", [100 + i]);
      counts.add(Number((await db.sql("select count(*)::int as old from edgeproxy_changes where txid = 3"))[0]?.["old"]));
    }
    assert.deepEqual([...counts].sort((a, b) => b - a), [5000, 2952, 904]);
  });

  it("never makes a write fail, whatever the isolation", async () => {
    await using db = await world();
    await using other = openSession(db.url);
    const age = "update edgeproxy_feed set marked_at = marked_at - interval '31 min'";
    for (const level of ["repeatable read", "serializable"]) {
      await db.sql(age);
      await db.sql(`begin isolation level ${level}; select 1`);
      await other.sql("select edgeproxy_feed_prune()");
      await other.sql(age);
      await db.sql("select edgeproxy_feed_prune()");
      await db.sql("update vms set port = port + 1; commit");
    }
    assert.deepEqual(await db.reader.look(), ["gap", "app.example"]);
  });
});
