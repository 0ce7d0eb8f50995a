/** Policies of domains in a real PostgreSQL: with the feed, without it, and without the table. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { isUsable } from "../../src/sources/change-feed.ts";
import { PolicyTable } from "../../src/sources/policy-table.ts";
import { migrateScript } from "../../src/sources/feed-schema.ts";
import { PostgresSource } from "../../src/sources/postgres.ts";
import type { SourceReading } from "../../src/sources/source.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { findFeed } from "../fixtures/feed.ts";
import {
  createDatabase,
  type Database,
  insertRegion,
  insertRoute,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const here = { regionId: HERE, regionPort: 80 };
const never = new AbortController().signal;
const TABLE = "create table route_policies (domain text primary key, policy jsonb not null)";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

/** Two domains, and whatever there is for policies. */
async function platform(prepare: string): Promise<Database> {
  const database = await createDatabase(server, { tables: "inet" });
  await insertRegion(database, { id: HERE });
  for (const name of ["a.test", "b.test"]) await insertRoute(database, { name, regionId: HERE, privateIp: "10.0.0.5", port: 80 });
  if (prepare !== "") await database.sql(prepare);
  return database;
}

function sourceOf(url: string): PostgresSource & AsyncDisposable {
  const source = new PostgresSource({ url, here });
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.close() });
}

/** Hosts that are served; hosts with a policy and the path of its rewrite; what is excluded. */
function essence({ routes, policies = new Map(), excluded, excludedCount }: SourceReading) {
  return {
    served: [...routes.entries()].map(([host]) => host).sort(),
    policies: [...policies].map(([host, policy]) => `${host} ${policy.routes[0]?.maxBodyBytes}`).sort(),
    excluded: excluded.map(({ domain, code }) => `${code} ${domain}`),
    excludedCount,
  };
}

function put(domain: string, policy: unknown): string {
  return `insert into route_policies values ('${domain}', '${JSON.stringify(policy)}')
    on conflict (domain) do update set policy = excluded.policy`;
}

const PLAIN = { served: ["a.test", "b.test"], policies: [], excluded: [], excludedCount: 0 };

for (const [name, prepare] of [["the change feed", migrateScript()], ["a table without the feed", TABLE]] as const) {
  describe(`PostgresSource with ${name}`, () => {
    it("reads policies as they come, change and go", async () => {
      await using db = await platform(prepare);
      await using source = sourceOf(db.url);
      const read = async () => essence(await source.read({ whole: false }, never));
      assert.deepEqual(await read(), PLAIN);
      await db.sql(put("a.test", { maxBodySize: 1000 }));
      assert.deepEqual(await read(), { ...PLAIN, policies: ["a.test 1000"] });
      await db.sql(put("a.test", { maxBodySize: 2000 }));
      await db.sql(put("b.test", { maxBodySize: 3000 }));
      assert.deepEqual(await read(), { ...PLAIN, policies: ["a.test 2000", "b.test 3000"] });
      await db.sql("delete from route_policies where domain = 'a.test'");
      assert.deepEqual(await read(), { ...PLAIN, policies: ["b.test 3000"] });
      await db.sql("truncate route_policies");
      assert.deepEqual(await read(), PLAIN);
    });

    it("leaves a domain out while its policy is wrong, and no other", async () => {
      await using db = await platform(prepare);
      await using source = sourceOf(db.url);
      const read = async () => essence(await source.read({ whole: false }, never));
      await db.sql(put("b.test", { maxBodySize: 3000 }));
      await db.sql(put("A.test", { maxBodysize: 1000 }));
      const without = { served: ["b.test"], policies: ["b.test 3000"], excluded: ["bad_policy A.test"], excludedCount: 1 };
      assert.deepEqual(await read(), without);
      assert.deepEqual(await read(), without);
      await db.sql("update domains set verified_at = now() - interval '1 day' where name = 'a.test'");
      assert.deepEqual(await read(), without); // also when the domain itself is read anew
      await db.sql(put("A.test", { maxBodySize: 1000 }));
      assert.deepEqual(await read(), { ...PLAIN, policies: ["a.test 1000", "b.test 3000"] });
      await db.sql(put("a.test", { maxBodySize: 1000 }));
      assert.deepEqual((await read()).excluded, ["bad_policy a.test"]); // of two rows for a host nobody knows which is meant
    });

    it("fetches of a policy that is too large no more than says so", async () => {
      await using db = await platform(prepare);
      await using source = sourceOf(db.url);
      await db.sql(`insert into route_policies values ('a.test', jsonb_build_object('x', repeat('x', 5000000)))`);
      const { excluded, policyRows = new Map() } = await source.read({ whole: false }, never);
      assert.deepEqual(excluded.map(({ reason }) => reason), ["its policy is wrong: is larger than 262144 bytes"]);
      assert.deepEqual(Array.from(policyRows.values(), ({ text }) => text.length), [262_145]);
    });

    it("answers with the same objects while nothing changes", async () => {
      await using db = await platform(prepare);
      await using source = sourceOf(db.url);
      await db.sql(put("a.test", { maxBodySize: 1000 }));
      await db.sql(put("b.test", "nonsense"));
      const first = await source.read({ whole: true }, never);
      const second = await source.read({ whole: true }, never);
      assert.equal(first.policies, second.policies);
      assert.equal(first.excluded, second.excluded);
      assert.equal(first.routes, second.routes);
    });
  });
}

/** What a migration that went wrong may do to the table, or whoever looks after rights; and what mends it. */
const ACCIDENTS: Readonly<Record<string, readonly [change: string, undo: string, problem: RegExp]>> = {
  "dropped": [
    "create table kept as table route_policies; drop table route_policies",
    `${TABLE}; insert into route_policies table kept; drop table kept`,
    /^route_policies is not there any more$/,
  ],
  "renamed": [
    "alter table route_policies rename to old_policies",
    "alter table old_policies rename to route_policies",
    /not there/,
  ],
  "without its column": [
    "alter table route_policies rename column policy to rules",
    "alter table route_policies rename column rules to policy",
    /^route_policies has no columns domain and policy that can be understood$/,
  ],
  "of another type": [
    "alter table route_policies rename column policy to rules; alter table route_policies add column policy bytea",
    "alter table route_policies drop column policy; alter table route_policies rename column rules to policy",
    /can be understood/,
  ],
  "forbidden": [
    "revoke select on route_policies from policy_reader",
    "grant select on route_policies to policy_reader",
    /^this user may not read route_policies$/,
  ],
};

for (const [name, prepare] of [["the change feed", migrateScript()], ["a table without the feed", TABLE]] as const) {
  describe(`PostgresSource with ${name} that cannot be read any more`, () => {
    /** Of a user who owns nothing: `a.test` has a policy, that of `b.test` is wrong. */
    async function readable() {
      const db = await platform(prepare);
      await db.sql(put("a.test", { maxBodySize: 1000 }));
      await db.sql(put("b.test", { maxBodysize: 1000 }));
      await db.sql(`create role policy_reader login password 'p'; grant select on all tables in schema public to policy_reader`);
      const url = new URL(db.url);
      [url.username, url.password] = ["policy_reader", "p"];
      const source = new PostgresSource({ url: url.href, here });
      const read = async (whole = true) => {
        const reading = await source.read({ whole }, never);
        const { problem = null, kept = 0, letGo = false } = reading.policyTable ?? {};
        return { ...essence(reading), problem, kept, letGo };
      };
      const close = async (): Promise<void> => {
        await source.close();
        await db.sql("drop owned by policy_reader cascade; drop role policy_reader");
        await db[Symbol.asyncDispose]();
      };
      return { db, source, read, [Symbol.asyncDispose]: close };
    }
    const IN_FORCE = { served: ["a.test"], policies: ["a.test 1000"], excluded: ["bad_policy b.test"], excludedCount: 1 };
    const WELL = { ...IN_FORCE, problem: null, kept: 0, letGo: false };

    for (const [accident, [change, undo, problem]] of Object.entries(ACCIDENTS)) {
      it(`keeps what is in force when it is ${accident}, and follows again when that is mended`, async () => {
        await using scene = await readable();
        const { db, read } = scene;
        assert.deepEqual(await read(), WELL);
        await db.sql(change);
        for (let reading = 0; reading < 3; reading++) {
          const { problem: said, kept, ...found } = await read();
          assert.deepEqual(found, { ...IN_FORCE, letGo: false });
          assert.match(said ?? "", problem);
          assert.equal(kept, 2);
        }
        await db.sql(undo);
        await db.sql("grant select on route_policies to policy_reader");
        assert.deepEqual(await read(false), WELL, "noticed without a comparison of everything");
        await db.sql("delete from route_policies where domain = 'b.test'");
        assert.deepEqual(await read(), { ...WELL, served: ["a.test", "b.test"], excluded: [], excludedCount: 0 });
      });
    }

    it("lets go of it when somebody says that this is meant, once", async () => {
      await using scene = await readable();
      const { db, read, source } = scene;
      await read();
      source.letPoliciesGo();
      assert.deepEqual(await read(), WELL, "of nothing that can be read");
      await db.sql("alter table route_policies rename to old_policies");
      assert.deepEqual((await read()).policies, ["a.test 1000"]);
      source.letPoliciesGo();
      assert.deepEqual(await read(), { ...PLAIN, problem: null, kept: 0, letGo: true });
      assert.deepEqual(await read(), { ...PLAIN, problem: null, kept: 0, letGo: false });
      await db.sql("alter table old_policies rename to route_policies");
      assert.deepEqual(await read(), WELL);
    });
  });
}

describe("PostgresSource", () => {
  it("keeps policies of before this process when the table is not there", async () => {
    await using db = await platform("");
    const policies = new PolicyTable(here);
    await policies.take({ kind: "all", digest: "", rows: [{ domain: "a.test", text: '{"maxBodySize": 1000}' }] });
    const source = new PostgresSource({ url: db.url, here, policies });
    try {
      const reading = await source.read({ whole: true }, never);
      assert.deepEqual(essence(reading), { ...PLAIN, policies: ["a.test 1000"] });
      assert.equal(reading.policyTable?.kept, 1);
    } finally {
      await source.close();
    }
  });

  it("serves without the table, and with one of that name that is something else", async () => {
    for (const prepare of ["", "create table route_policies (id int, rules text)"]) {
      await using db = await platform(prepare);
      await using source = sourceOf(db.url);
      assert.deepEqual(essence(await source.read({ whole: true }, never)), PLAIN, prepare);
    }
  });

  it("says when it may not read the table, and goes on", async () => {
    await using db = await platform(migrateScript());
    await db.sql(put("a.test", { maxBodySize: 1000 }));
    await db.sql(`create role policy_reader login password 'p'; grant select on all tables in schema public to policy_reader;
      revoke all on route_policies from policy_reader`);
    const url = new URL(db.url);
    [url.username, url.password] = ["policy_reader", "p"];
    const log = new CollectingLog();
    const source = new PostgresSource({ url: url.href, here, log });
    try {
      for (let reading = 0; reading < 2; reading++) {
        assert.deepEqual(essence(await source.read({ whole: false }, never)), PLAIN);
        await db.sql(put("b.test", { maxBodySize: 1000 + reading }));
      }
      assert.deepEqual(log.take().filter((line) => line.startsWith("warn")), [
        "warn no policy of a domain is in force",
      ]);
    } finally {
      await source.close();
      await db.sql("drop owned by policy_reader cascade; drop role policy_reader");
    }
  });

  it("follows a table that is made while it reads", async () => {
    await using db = await platform(migrateScript());
    await using source = sourceOf(db.url);
    const read = async () => essence(await source.read({ whole: false }, never));
    await db.sql("drop table route_policies");
    assert.deepEqual(await read(), PLAIN);
    await db.sql(migrateScript());
    await db.sql(put("a.test", { maxBodySize: 1000 }));
    assert.deepEqual(await read(), { ...PLAIN, policies: ["a.test 1000"] });
  });

  it("does without a feed whose triggers do not see policies, and says which are missing", async () => {
    await using db = await platform(migrateScript());
    await db.sql("alter table route_policies disable trigger edgeproxy_feed_update");
    const feed = await findFeed(db);
    assert.deepEqual([isUsable(feed), feed.missingTriggers], [false, ["route_policies.edgeproxy_feed_update"]]);
  });
});
