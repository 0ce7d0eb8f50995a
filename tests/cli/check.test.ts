import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { runCheck } from "../../src/cli/check.ts";
import { runRoutes } from "../../src/cli/routes.ts";
import { LastGoodFolder } from "../../src/sources/last-good-folder.ts";
import { capture, type Captured } from "../fixtures/captured-output.ts";
import { insertRegion, insertRoute, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";

let database: TestDatabase;

before(async () => {
  database = await startPostgres({ tables: "inet" });
  await insertRegion(database, { id: HERE });
  await insertRegion(database, { id: THERE, publicIpv4: "203.0.113.7" });
  await insertRoute(database, { name: "app.example.com", regionId: HERE, privateIp: "10.0.0.5", port: 8080 });
  await insertRoute(database, { name: "*.wild.example", regionId: THERE, privateIp: "10.1.0.5", port: 8080 });
  await insertRoute(database, { name: "bad.example", regionId: HERE, privateIp: "10.0.0.5", port: 0 });
});
after(async () => {
  await database[Symbol.asyncDispose]();
});

function env(change: Record<string, string> = {}): Record<string, string> {
  return { EDGEPROXY_DATABASE_URL: database.url, EDGEPROXY_REGION_ID: HERE, ...change };
}

function check(change: Record<string, string> = {}, argv: string[] = []): Promise<Captured> {
  return capture(() => runCheck(argv, env(change)));
}

function routes(argv: string[] = []): Promise<Captured> {
  return capture(() => runRoutes(argv, env()));
}

describe("runCheck()", () => {
  it("reports connection, tables, region, routes and bad rows when the database is as it should be", async () => {
    const { exitCode, out } = await check();
    assert.equal(exitCode, 0, out);
    const lines = out.trimEnd().split("\n");
    assert.equal(lines[0], "ok    configuration: every setting is valid");
    assert.match(
      lines[1] ?? "",
      /^ok {4}database: PostgreSQL \d+\.\d+ at 127\.0\.0\.1:\d+, database postgres as postgres, without TLS$/,
    );
    assert.deepEqual(lines.slice(2), [
      "ok    table regions: has id, public_ipv4",
      "ok    table vms: has id, private_ip, port, region_id, status",
      "ok    table deployments: has id, vm_id, status",
      "ok    table domains: has name, deployment_id, verified_at",
      "ok    feed: none: the tables are polled (edgeproxy migrate puts it in)",
      `ok    region: ${HERE} is ours`,
      "ok    routes: 2, of which 1 have a VM in this region",
      'warn  bad row: bad.example: its VM has an unusable port "0"',
    ]);
  });

  it("looks at the routes file, and exits with 2 and every problem when it is bad", async () => {
    const folder = await mkdtemp(join(tmpdir(), "edgeproxy-check-"));
    const path = join(folder, "routes.yaml");
    try {
      await writeFile(
        path,
        "services: { a: { endpoints: [{ url: 'http://10.0.0.5' }] } }\nroutes: [{ service: a }, { service: a }]\n",
      );
      const fine = await check({ EDGEPROXY_CONFIG_FILE: path });
      assert.equal(fine.exitCode, 0, fine.out);
      assert.deepEqual(fine.out.split("\n").slice(1, 3), [
        `warn  routes file: ${path}:2:26: routes[1]: conflict: it matches exactly what routes[0] (*/) matches, which comes first`,
        `ok    routes file: ${path}: 2 routes, 1 service with 1 endpoint`,
      ]);
      assert.match(fine.out, /^ok {4}routes: 2, of which 1/m);
      await writeFile(path, "routes:\n  - { servise: a }\n  - { service: b }\n");
      const expected = [
        `FAIL  routes file: ${path}:2:7: routes[0].servise: unknown key, did you mean service?`,
        `FAIL  routes file: ${path}:3:7: routes[1].service: there is no service "b"`,
      ];
      const bad = await check({ EDGEPROXY_CONFIG_FILE: path });
      assert.equal(bad.exitCode, 2, bad.out);
      assert.deepEqual(bad.out.split("\n").slice(1, 3), expected);
      const alone = await capture(() => runCheck(["--config", path], {}));
      assert.deepEqual([alone.exitCode, alone.out.trimEnd().split("\n")], [2, expected]);
      const missing = await capture(() => runCheck(["--config", join(folder, "none.yaml")], {}));
      assert.equal(missing.exitCode, 2);
      assert.match(missing.out, /^FAIL {2}routes file: .*none\.yaml: ENOENT/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("exits with 2 and every problem when the configuration is wrong", async () => {
    const { exitCode, out } = await check({ EDGEPROXY_REGION_ID: "eu", EDGEPROXY_WORKERS: "x", EDGEPROXY_OOPS: "1" });
    assert.equal(exitCode, 2);
    assert.match(out, /^warn {2}configuration: EDGEPROXY_OOPS: unknown variable/m);
    assert.match(out, /^FAIL {2}configuration: EDGEPROXY_REGION_ID: must be a UUID, got "eu"$/m);
    assert.match(out, /^FAIL {2}configuration: EDGEPROXY_WORKERS: /m);
  });

  it("exits with 1 when the database cannot be reached, without showing the password", async () => {
    const { exitCode, out } = await check({ EDGEPROXY_DATABASE_URL: "postgres://edge:s3cret@127.0.0.1:1/x" });
    assert.equal(exitCode, 1);
    assert.match(out, /^FAIL {2}database: Cannot connect to the database at 127\.0\.0\.1:1: /m);
    assert.doesNotMatch(out, /s3cret/);
  });

  it("exits with 1 and names each table and column that is missing or not readable", async () => {
    await database.sql(
      "create schema other; create table other.vms (id int, port int, status text); create table other.domains (name text)",
    );
    await database.sql(
      "create view other.deployments as select * from public.deployments; create role nobody_here login password 'p'",
    );
    await database.sql("grant usage on schema other to nobody_here; grant select on other.vms, other.domains to nobody_here");
    const url = database.url.replace(/\/\/[^@]*@/, "//nobody_here:p@");
    const { exitCode, out } = await check({ EDGEPROXY_DATABASE_URL: `${url}?search_path=other` });
    assert.equal(exitCode, 1);
    assert.deepEqual(out.trimEnd().split("\n").slice(2), [
      "FAIL  table regions: does not exist on the search path, or in no schema that this user may use",
      "FAIL  table vms: has no column private_ip, region_id",
      "FAIL  table deployments: needs SELECT for this user on id, vm_id, status",
      "FAIL  table domains: has no column deployment_id, verified_at",
    ]);
  });

  it("names each database host of the URL and the one that would be used", async () => {
    const { host } = new URL(database.url);
    const url = database.url.replace(host, `127.0.0.1:1,${host}`);
    const { exitCode, out } = await check({ EDGEPROXY_DATABASE_URL: url });
    assert.equal(exitCode, 0, out);
    assert.match(out, /^warn {2}database host 127\.0\.0\.1:1: .*refused/im);
    assert.match(out, new RegExp(`^ok {4}database host ${host}: a primary, would be used$`, "m"));
    const none = await check({ EDGEPROXY_DATABASE_URL: "postgres://edge@127.0.0.1:1,127.0.0.2:1/x" });
    assert.equal(none.exitCode, 1);
    assert.equal(none.out.match(/^warn {2}database host/gm)?.length, 2);
  });

  it("says whether a last good table can be kept, and which one there is", async () => {
    const folder = await mkdtemp(join(tmpdir(), "edgeproxy-check-"));
    const state = join(folder, "not", "yet");
    const stateLines = async (): Promise<string[]> =>
      (await check({ EDGEPROXY_STATE_DIR: state })).out.split("\n").filter((line) => /state folder|last good/.test(line));
    assert.deepEqual(await stateLines(), [`ok    state folder: ${state} can be written`, "ok    last good table: none yet"]);
    const kept = new LastGoodFolder(state, { regionId: HERE, regionPort: 80 });
    const header = { savedAtMs: Date.now(), asOfMs: Date.now() - 3_600_000, revision: 1, source: "postgres" };
    await kept.write(header, routesOf([route("a.test", vm("10.0.0.5"))]), new AbortController().signal);
    assert.match((await stateLines())[1] ?? "", /^ok {4}last good table: 1 routes, as the source said 360\d s ago$/);
    await writeFile(kept.path, "nothing of ours");
    assert.match(
      (await stateLines())[1] ?? "",
      /^warn {2}last good table: .* would not be used: it is no routing table of edgeproxy$/,
    );
    await writeFile(join(folder, "file"), "");
    const { exitCode, out } = await check({ EDGEPROXY_STATE_DIR: join(folder, "file") });
    assert.equal(exitCode, 0);
    assert.match(out, /^warn {2}state folder: .* cannot be written by this user: .* is no folder$/m);
    await rm(folder, { recursive: true });
  });

  it("looks at the policies of domains, and names those that are wrong", async () => {
    await database.sql("create table route_policies (domain text primary key, policy jsonb not null)");
    await database.sql(`insert into route_policies values ('app.example.com', '{"rewrit": {}}'), ('x.example.com', '{}')`);
    const { exitCode, out } = await check();
    await database.sql("drop table route_policies");
    assert.equal(exitCode, 0);
    assert.match(out, /^ok {4}policies: 2 of domains, in route_policies$/m);
    assert.match(out, /^warn {2}bad policy: app\.example\.com: its policy is wrong: rewrit: unknown key, did you mean rewrite\?$/m);
  });

  it("tells conflicts from bad rows", async () => {
    await insertRoute(database, { name: "App.Example.com", regionId: HERE, privateIp: "10.0.0.9", port: 8080 });
    const { out } = await check();
    await database.sql("delete from domains where name = 'App.Example.com'");
    assert.match(out, /^warn {2}conflict: App\.Example\.com: /m);
  });

  it("warns when the region is not in the table", async () => {
    const elsewhere = "33333333-3333-4333-8333-333333333333";
    const { exitCode, out } = await check({ EDGEPROXY_REGION_ID: elsewhere });
    assert.equal(exitCode, 0);
    assert.match(out, new RegExp(`^warn  region: ${elsewhere} is not in the table regions$`, "m"));
  });

  it("exits with 2 and names a wrong argument", async () => {
    const { exitCode, err } = await check({}, ["--fast"]);
    assert.equal(exitCode, 2);
    assert.match(err, /^edgeproxy check: .*--fast/);
  });
});

describe("runRoutes()", () => {
  it("prints an aligned table", async () => {
    const { exitCode, out, err } = await routes();
    assert.equal(exitCode, 0);
    assert.deepEqual(out.trimEnd().split("\n"), [
      "HOST             ENDPOINT               KIND    REGION",
      `*.wild.example   http://203.0.113.7:80  region  ${THERE}`,
      `app.example.com  http://10.0.0.5:8080   vm      ${HERE}`,
    ]);
    assert.equal(err, "Bad rows skipped: 1 (edgeproxy check names them)\n");
  });

  it("prints JSON with --json", async () => {
    const { out } = await routes(["--json", "--host", "app.example.com"]);
    assert.deepEqual(JSON.parse(out), [{
      host: "app.example.com",
      endpoints: [{ key: "vm/10.0.0.5:8080", kind: "vm", address: "10.0.0.5", port: 8080, region: HERE }],
    }]);
  });

  it("finds the route of --host as the proxy would", async () => {
    const lines = async (host: string) =>
      (await routes(["--host", host])).out.trimEnd().split("\n").slice(1).map((line) => line.split(" ")[0]);
    assert.deepEqual(await lines("App.Example.com."), ["app.example.com"]);
    assert.deepEqual(await lines("deep.below.wild.example"), ["*.wild.example"]);
    assert.deepEqual(await lines("*.wild.example"), ["*.wild.example"]);
  });

  it("exits with 1 when there is no route for --host", async () => {
    const { exitCode, out, err } = await routes(["--host", "other.example"]);
    assert.deepEqual([exitCode, out], [1, ""]);
    assert.match(err, /^No route for other\.example$/m);
  });

  it("exits with 2 on wrong usage", async () => {
    assert.match((await routes(["--host", "not a host"])).err, /--host must be a host name, got "not a host"/);
    for (const argv of [["--host", "not a host"], ["--hots", "x"], ["x"], ["--host"]]) {
      const { exitCode, err } = await routes(argv);
      assert.equal(exitCode, 2, argv.join(" "));
      assert.match(err, /^edgeproxy routes: /);
    }
  });
});
