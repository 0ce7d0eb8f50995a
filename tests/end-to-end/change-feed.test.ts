/** Contract section 4: with the change feed a commit reaches the traffic by itself, and nothing that dies makes the edge miss one. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type Edgeproxy, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform, type Region } from "../fixtures/platform.ts";
import { insertRoute, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { writeAtRandom } from "../fixtures/random-writers.ts";
import { assertFollows, servedRoutes } from "../fixtures/served-routes.ts";
import { Random } from "../fuzz/random.ts";

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** What writers have, while something dies around them. */
const WRITING_MS = 1500;
const SESSIONS = 4;
const NAMES = [
  "a.test",
  "A.test",
  "b.test",
  "*.b.test",
  "c.test",
  "no host",
  ...Array.from({ length: 40 }, (_, i) => `n${i}.test`),
];

/** A platform whose database has the feed. Its edges read nothing at an interval (it is an hour), so what they learn comes from the feed. */
class Scene implements AsyncDisposable {
  readonly platform: Platform;
  readonly elsewhere: Region;
  #stop = new AbortController();
  #writing: Promise<number> = Promise.resolve(0);

  private constructor(platform: Platform, elsewhere: Region) {
    this.platform = platform;
    this.elsewhere = elsewhere;
  }

  static async start(): Promise<Scene> {
    const platform = await Platform.start(server);
    const run = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
    assert.equal(run.exitCode, 0, run.stdout + run.stderr);
    return new Scene(platform, await platform.addRegion());
  }

  /** Sessions that change everything at random. */
  async write(): Promise<void> {
    const { database, region } = this.platform;
    const regions = [region.id, this.elsewhere.id];
    for (const [at, name] of NAMES.entries()) {
      await insertRoute(database, { name, regionId: regions[at % 4 === 0 ? 1 : 0]!, privateIp: `127.250.1.${at + 1}`, port: 80 });
    }
    const random = new Random(1);
    const writing = {
      url: database.url,
      sessions: SESSIONS,
      regions,
      names: NAMES,
      random: () => random.int(1_000_000) / 1_000_000,
    };
    this.#writing = writeAtRandom(writing, this.#stop.signal);
  }

  async stopWriting(): Promise<void> {
    this.#stop.abort();
    const committed = await this.#writing;
    process.stdout.write(`${committed} transactions committed\n`);
    assert.ok(committed > 0);
  }

  async assertLevel(edge: Edgeproxy, region: Region = this.platform.region): Promise<void> {
    await assertFollows(edge, this.platform.database, region.id, this.platform.edgePort);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#writing;
    await this.platform[Symbol.asyncDispose]();
  }
}

test("a commit reaches the traffic by itself", async () => {
  await using scene = await Scene.start();
  const { platform } = scene;
  const vm = await platform.vm("first.example.com");
  const edge = await platform.edge();
  const status = async (host: string): Promise<number> => (await get(edge, host)).status;
  const { domainId, vmId } = await insertRoute(platform.database, {
    name: "second.example.com",
    regionId: platform.region.id,
    privateIp: vm.host,
    port: vm.port,
  });
  await edge.waitFor(async () => await status("second.example.com") === 200, "did not learn of a domain");
  await platform.database.sql(`update vms set status = 'stopped' where id = '${vmId}'`);
  await edge.waitFor(async () => await status("second.example.com") === 404, "did not learn of a VM");
  await platform.database.sql(`update vms set status = 'running' where id = '${vmId}'`);
  await edge.waitFor(async () => await status("second.example.com") === 200, "did not learn of a VM");
  await platform.database.sql(`delete from domains where id = '${domainId}'`);
  await edge.waitFor(async () => await status("second.example.com") === 404, "did not learn of a domain that went");
  assert.equal(await status("first.example.com"), 200);
});

test("the feed is taken up when it comes, and given up when it goes", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("first.example.com");
  const edge = await platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "300ms" });
  const migrate = async (...parameters: string[]): Promise<void> => {
    const run = await runEdgeproxy(["migrate", ...parameters], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
    assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  };
  const following = async (): Promise<unknown> => {
    const { database } = await (await edge.admin("/readyz")).json() as { database: { following: string } };
    return database.following;
  };
  assert.equal(await following(), "tables");
  await migrate();
  await edge.waitFor(async () => await following() === "notifications", "did not take up the feed");
  await migrate("--remove");
  await edge.waitFor(async () => await following() === "tables", "did not give up the feed");
  await platform.route("late.example.com", { address: vm.host, port: vm.port });
  await edge.waitFor(async () => (await get(edge, "late.example.com")).status === 200, "did not read the tables");
});

test("writers whose transactions overlap: two edges of two regions end with what the tables say, row by row", async () => {
  await using scene = await Scene.start();
  await scene.write();
  const edge = await scene.platform.edge();
  const other = await scene.platform.edge({ EDGEPROXY_WORKERS: "0" }, { region: scene.elsewhere });
  await wait(WRITING_MS);
  await scene.stopWriting();
  await scene.assertLevel(edge);
  await scene.assertLevel(other, scene.elsewhere);
});

test("the edge's sessions are ended again and again under writers: nothing is missed", async () => {
  await using scene = await Scene.start();
  await scene.write();
  const edge = await scene.platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "1s" });
  for (let i = 0; i < 8; i++) {
    await wait(WRITING_MS / 8);
    await scene.platform.database.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'edgeproxy' and datname = current_database()`,
    );
  }
  await scene.stopWriting();
  await scene.assertLevel(edge);
});

test("kill -9 of PostgreSQL under writers: the edge serves on, and follows again after the restart", async () => {
  await using scene = await Scene.start();
  await scene.write();
  const edge = await scene.platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "1s" });
  await wait(WRITING_MS / 2);
  await server.kill();
  await edge.waitForLog((line) => line["msg"] === "cannot read routes");
  const kept = await servedRoutes(edge);
  assert.ok(Object.keys(kept).length > 0);
  await wait(WRITING_MS / 2);
  assert.deepEqual(await servedRoutes(edge), kept);
  await server.restart();
  await wait(WRITING_MS / 2);
  await scene.stopWriting();
  await scene.assertLevel(edge);
});

test("kill -9 of the supervisor under writers: its successor serves what the tables say", async () => {
  await using scene = await Scene.start();
  await scene.write();
  const edge = await scene.platform.edge({ EDGEPROXY_WORKERS: "2" });
  await wait(WRITING_MS / 2);
  process.kill(edge.pid, "SIGKILL");
  await edge.ended;
  const successor = await scene.platform.edge({ EDGEPROXY_WORKERS: "2" });
  await wait(WRITING_MS / 2);
  await scene.stopWriting();
  await scene.assertLevel(successor);
});

test("a restore that empties the tables one after another does not blank the edge", async () => {
  await using scene = await Scene.start();
  const { database } = scene.platform;
  await scene.platform.vm("a.test");
  await database.sql(`insert into domains (id, name, deployment_id, verified_at)
    select gen_random_uuid(), 'd' || n || '.test', deployment_id, verified_at from domains, generate_series(1, 300) as n`);
  const edge = await scene.platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "1h" });
  const table = async () => (await (await edge.admin("/readyz")).json() as { table: Record<string, unknown> }).table;
  await edge.waitFor(async () => (await table())["routes"] === 301);

  const names = ["regions", "vms", "deployments", "domains"];
  for (const name of names) await database.sql(`create table saved_${name} as select * from ${name}`);
  for (const name of names.toReversed()) {
    await database.sql(`truncate ${name} cascade`);
    await edge.waitFor(async () => (await table())["held_removals"] === 301);
    await wait(50); // for what this may set off
    assert.equal((await table())["routes"], 301, name);
  }
  for (const name of names.slice(0, 3)) await database.sql(`insert into ${name} select * from saved_${name}`);
  await database.sql("insert into domains select * from saved_domains where name < 'd2'");
  await edge.waitFor(async () => Number((await table())["held_removals"]) < 301);
  assert.equal((await get(edge, "d7.test")).status, 200);
  await database.sql("insert into domains select * from saved_domains where name >= 'd2'");
  await edge.waitFor(async () => (await table())["held_removals"] === 0);
  await scene.assertLevel(edge);
  assert.equal((await table())["revision"], 1, "nothing has changed");
});
