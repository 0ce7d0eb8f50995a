/** Contract section 4: the traffic follows the database, and survives whatever happens to it. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { metric } from "../fixtures/served-vms.ts";
import { type Edgeproxy, type LogLine, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import {
  createSchema,
  type Database,
  insertDeployment,
  insertDomain,
  insertRegion,
  insertRoute,
  insertVm,
  offerTls,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { SELF_SIGNED_CERT } from "../fixtures/self-signed.ts";
import { respond, startVm } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";

interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly table: null | {
    readonly routes: number;
    readonly stale: boolean;
    readonly held_removals: number;
    readonly held_policies: number;
  };
  readonly "route_policies"?: { readonly kept: number };
  readonly database: { readonly readable: boolean | null; readonly "last_error"?: string | null };
}

async function readiness(edge: Edgeproxy): Promise<Readiness> {
  return await (await edge.admin("/readyz")).json() as Readiness;
}

async function status(edge: Edgeproxy, host: string): Promise<number> {
  return (await get(edge, host)).status;
}

/** What a refresh that must not fail answers. */
async function refreshed(edge: Edgeproxy): Promise<Record<string, unknown>> {
  const response = await edge.admin("/api/refresh", { method: "POST" });
  assert.equal(response.status, 200);
  return await response.json() as Record<string, unknown>;
}

function lines(edge: Edgeproxy, msg: string): LogLine[] {
  return edge.log.filter((line) => line["msg"] === msg);
}

/** 300 domains that lead to one VM. */
async function manyDomains(database: Database, deploymentId: string): Promise<void> {
  await database.sql(`insert into domains (id, name, deployment_id, verified_at)
    select gen_random_uuid(), 'd' || n || '.example.com', '${deploymentId}', now() from generate_series(1, 300) as n`);
}

for (const tables of ["inet", "text"] as const) {
  test(`edgeproxy follows every change of the tables with ${tables} addresses`, async () => {
    await using platform = await Platform.start(server, { tables });
    const { database } = platform;
    await platform.vm("first.example.com");
    const edge = await platform.edge();
    assert.equal(await status(edge, HOST), 404);

    const vm = await platform.vm(HOST);
    await edge.refresh();
    assert.equal(await status(edge, HOST), 200, "added");

    const changes: readonly (readonly [what: string, change: string, undo: string])[] = [
      ["unverified", "update domains set verified_at = null", "update domains set verified_at = now()"],
      ["deployment not ready", "update deployments set status = 'building'", "update deployments set status = 'ready'"],
      ["VM stopped", "update vms set status = 'stopped'", "update vms set status = 'running'"],
      ["renamed", "update domains set name = 'x.' || name", "update domains set name = substr(name, 3)"],
    ];
    for (const [what, change, undo] of changes) {
      await database.sql(change);
      await edge.refresh();
      assert.equal(await status(edge, HOST), 404, what);
      await database.sql(undo);
      await edge.refresh();
      assert.equal(await status(edge, HOST), 200, `no longer ${what}`);
    }
    await database.sql("delete from domains where name = $1", [HOST]);
    await edge.refresh();
    assert.equal(await status(edge, HOST), 404, "removed");
    assert.equal(vm.requests.length, 1 + changes.length);
    assert.deepEqual(
      lines(edge, "routes changed").slice(0, 2).map(({ added, removed, changed, routes }) => [added, removed, changed, routes]),
      [[1, 0, 0, 1], [1, 0, 0, 2]],
    );
  });
}

test("edgeproxy sends the next request of an open connection to where its domain has moved", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST, { script: respond(200, "old VM") });
  await using moved = await startVm({ host: loopbackAddress(), script: respond(200, "new VM") });
  const edge = await platform.edge();
  await using client = await openRaw(edge.port, edge.host);
  const ask = async (): Promise<string> => {
    client.send(getRequest(HOST));
    return (await client.readResponse()).body.toString();
  };
  assert.equal(await ask(), "old VM");
  const vmId = await insertVm(platform.database, { regionId: platform.region.id, privateIp: moved.host, port: moved.port });
  await platform.database.sql("update domains set deployment_id = $1", [await insertDeployment(platform.database, { vmId })]);
  await edge.refresh();
  await edge.waitFor(async () => await ask() === "new VM", "does not follow"); // the old one answers until the new one is checked
  await platform.database.sql("update vms set port = 1 where id = $1", [vmId]);
  await edge.refresh();
  assert.equal(await ask(), "new VM", "nobody is at the new port, so where the domain led before answers a while longer");
});

test("edgeproxy follows by itself within the update interval", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "100ms" });
  await platform.vm(HOST);
  await edge.waitFor(async () => await status(edge, HOST) === 200, "does not follow the database");
  await edge.waitForLog(({ msg, reason }) => msg === "routes changed" && reason === "interval");
});

test("edgeproxy refreshes on SIGHUP and on POST /api/refresh", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  await platform.vm(HOST);
  edge.signal("SIGHUP");
  const line = await edge.waitForLog((each) => each["msg"] === "routes changed" && each["reason"] === "SIGHUP");
  assert.deepEqual([line["added"], line["removed"], line["changed"], line["routes"]], [1, 0, 0, 1]);
  await edge.waitFor(async () => await status(edge, HOST) === 200); // the line may be here before the worker has the table
  await platform.vm("more.example.com");
  const { ok, changed, revision, routes, held_removals, bad_rows, error } = await refreshed(edge);
  assert.deepEqual({ ok, changed, revision, routes, held_removals, bad_rows, error }, {
    ok: true,
    changed: true,
    revision: 3,
    routes: 2,
    held_removals: 0,
    bad_rows: 0,
    error: null,
  });
  assert.equal((await refreshed(edge))["changed"], false);
});

test("edgeproxy takes several rows of one domain as endpoints of one route, equal ones once", async () => {
  await using platform = await Platform.start(server);
  const { database, region } = platform;
  const first = await platform.vm(HOST);
  const second = await platform.vm(HOST);
  const there = await platform.addRegion();
  for (let i = 0; i < 2; i++) await platform.route(HOST, { address: `10.99.0.${i + 1}`, port: 80, region: there });
  await insertRoute(database, { name: HOST, regionId: region.id, privateIp: first.host, port: first.port });
  const edge = await platform.edge();
  const route = await (await edge.admin(`/api/routes/${HOST}`)).json() as { endpoints: Record<string, unknown>[] };
  const wanted = [
    ...[first, second].map((vm) => ({ kind: "vm", address: vm.host, port: vm.port, region: region.id })),
    { kind: "region", address: there.address, port: platform.edgePort, region: there.id },
  ];
  const inOrder = (endpoints: readonly Record<string, unknown>[]): string[] => endpoints.map((each) => JSON.stringify(each)).sort();
  assert.deepEqual(inOrder(route.endpoints), inOrder(wanted));
  assert.equal(await metric(edge, "edgeproxy_routes"), 1);
});

test("edgeproxy skips bad rows, counts them, and logs each once with its domain until it changes", async () => {
  await using platform = await Platform.start(server, { tables: "text" });
  const { database, region } = platform;
  await platform.vm(HOST);
  const homeless = await insertRegion(database);
  const bad: Readonly<Record<string, { regionId?: string; privateIp?: string | null; port?: number | null }>> = {
    "not a host name": {},
    "no-address.example.com": { privateIp: null },
    "odd-address.example.com": { privateIp: "10.0.0.5.6" },
    "no-port.example.com": { port: null },
    "port-zero.example.com": { port: 0 },
    "large-port.example.com": { port: 65_536 },
    "no-region-address.example.com": { regionId: homeless },
  };
  for (const [name, faults] of Object.entries(bad)) {
    await insertRoute(database, { name, regionId: region.id, privateIp: "10.0.0.5", port: 8080, ...faults });
  }
  const edge = await platform.edge();
  const skipped = (): unknown[] => lines(edge, "bad row skipped").map((line) => line["domain"]).sort();
  assert.equal(await status(edge, HOST), 200, "the others are served");
  for (let i = 0; i < 2; i++) assert.equal((await refreshed(edge))["bad_rows"], Object.keys(bad).length);
  await edge.waitFor(() => Promise.resolve(skipped().length >= Object.keys(bad).length));
  assert.deepEqual(skipped(), Object.keys(bad).sort());
  assert.equal(await metric(edge, "edgeproxy_bad_rows"), Object.keys(bad).length);
  assert.ok(lines(edge, "bad row skipped").every((line) => line["level"] === "warn" && line["reason"] !== ""));

  await database.sql("update vms set port = 70000 where port = 0");
  assert.equal((await refreshed(edge))["bad_rows"], Object.keys(bad).length);
  await edge.waitFor(() => Promise.resolve(skipped().length > Object.keys(bad).length));
  assert.deepEqual(skipped(), [...Object.keys(bad), "port-zero.example.com"].sort(), "bad in another way");
  await database.sql("update vms set port = 8080, private_ip = '10.0.0.5'");
  assert.equal((await refreshed(edge))["bad_rows"], 2);
});

test("edgeproxy holds a refresh that would remove most of the routes until the next one says the same", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  await platform.vm(HOST);
  const [deployment] = await database.sql("select id from deployments");
  await manyDomains(database, String(deployment?.["id"]));
  const edge = await platform.edge();
  assert.equal(await metric(edge, "edgeproxy_routes"), 301);

  await database.sql("truncate domains");
  const { ok, changed, held_removals } = await refreshed(edge);
  assert.deepEqual({ ok, changed, held_removals }, { ok: true, changed: false, held_removals: 301 });
  assert.equal(await status(edge, "d7.example.com"), 200, "held");
  assert.equal(await metric(edge, "edgeproxy_refresh_held"), 1);
  const { ready, table } = await readiness(edge);
  assert.deepEqual([ready, table?.stale, table?.held_removals], [true, true, 301]);
  assert.equal((await edge.waitForLog((line) => String(line["msg"]).includes("held back")))["level"], "warn");

  assert.equal((await refreshed(edge))["changed"], true);
  assert.equal(await status(edge, "d7.example.com"), 404, "said twice, so it is meant");
  assert.equal(await metric(edge, "edgeproxy_refresh_held"), 0);
  await edge.waitForLog(({ msg, removed }) => msg === "routes changed" && removed === 301);
});

test("edgeproxy forgets a held refresh when the routes are back", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  await platform.vm(HOST);
  const [deployment] = await database.sql("select id from deployments");
  await manyDomains(database, String(deployment?.["id"]));
  const edge = await platform.edge();
  for (let i = 0; i < 2; i++) {
    await database.sql("truncate domains");
    assert.equal((await refreshed(edge))["held_removals"], 301);
    await manyDomains(database, String(deployment?.["id"]));
    await insertDomain(database, { name: HOST, deploymentId: String(deployment?.["id"]) });
    assert.equal((await refreshed(edge))["held_removals"], 0);
    assert.equal(await status(edge, "d7.example.com"), 200);
  }
});

test("edgeproxy holds back what would take most policies away, follows the routes meanwhile, and believes it when said twice", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  await platform.vm(HOST);
  const [deployment] = await database.sql("select id from deployments");
  await manyDomains(database, String(deployment?.["id"]));
  const migrated = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: database.url } });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  await database.sql(`insert into route_policies
    select 'd' || n || '.example.com', '{"respond": {"status": 418}}' from generate_series(1, 150) as n`);
  const edge = await platform.edge();
  assert.equal(await status(edge, "d7.example.com"), 418);

  await database.sql("truncate route_policies");
  await edge.waitFor(async () => (await readiness(edge)).table?.held_policies === 150);
  await insertDomain(database, { name: "late.example.com", deploymentId: String(deployment?.["id"]) });
  await edge.waitFor(async () => await status(edge, "late.example.com") === 200);
  assert.equal(await status(edge, "d7.example.com"), 418, "held");
  assert.equal(await metric(edge, "edgeproxy_refresh_held"), 1);
  const { ready, table } = await readiness(edge);
  assert.deepEqual([ready, table?.stale, table?.held_removals, table?.held_policies], [true, true, 0, 150]);
  await edge.waitForLog(({ level, msg, removed }) => level === "warn" && String(msg).includes("held back") && removed === 150);

  assert.equal((await refreshed(edge))["held_policies"], 0);
  await edge.waitFor(async () => await status(edge, "d7.example.com") === 200);
  assert.equal(await metric(edge, "edgeproxy_refresh_held"), 0);
});

test("edgeproxy keeps policies whose table cannot be read any more, also over a restart, until it can or somebody lets them go", async () => {
  await using platform = await Platform.start(server);
  await using folder = await temporaryFolder();
  const { database } = platform;
  await platform.vm(HOST);
  const migrate = () => runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: database.url } });
  assert.equal((await migrate()).exitCode, 0);
  await database.sql(`insert into route_policies values ('${HOST}', '{"respond": {"status": 418}}')`);
  const env = { EDGEPROXY_STATE_DIR: folder.path, EDGEPROXY_UPDATE_INTERVAL: "100ms" };
  const before = await platform.edge(env);
  assert.equal(await status(before, HOST), 418);

  await database.sql("alter table route_policies rename to mislaid");
  const isTold = ({ level, msg, reason, policies }: LogLine) =>
    level === "error" && String(msg).startsWith("cannot read the table of policies") &&
    String(reason).includes("not there any more") &&
    policies === 1;
  await before.waitForLog(isTold);
  for (let word = 0; word < 3; word++) assert.equal((await refreshed(before))["kept_policies"], 1);
  assert.equal(await status(before, HOST), 418, "however often it is said");
  assert.equal(await metric(before, "edgeproxy_policies_kept"), 1);
  const { ready, table, route_policies } = await readiness(before);
  assert.deepEqual([ready, table?.stale, route_policies?.kept], [true, true, 1]);
  const { alerts } = await (await before.admin("/api/overview")).json() as { alerts: { name: string }[] };
  assert.ok(alerts.some(({ name }) => name === "EdgeproxyPoliciesUnreadable"), JSON.stringify(alerts));
  assert.equal(await before.stop(), 0);

  const edge = await platform.edge(env);
  await edge.waitForLog(isTold);
  assert.equal(await status(edge, HOST), 418, "after a restart");
  await database.sql("alter table mislaid rename to route_policies");
  await database.sql(`update route_policies set policy = '{"respond": {"status": 410}}'`);
  await edge.waitFor(async () => await status(edge, HOST) === 410);
  await edge.waitForLog(({ msg }) => msg === "table of policies can be read again");
  await edge.waitFor(async () => (await readiness(edge)).route_policies === undefined);

  await database.sql("drop table route_policies");
  await edge.waitFor(async () => (await readiness(edge)).route_policies?.kept === 1);
  const letGo = await (await edge.admin("/api/refresh?let_go=policies", { method: "POST" })).json();
  assert.equal(letGo.kept_policies, 0);
  await edge.waitFor(async () => await status(edge, HOST) === 200);
  assert.equal((await readiness(edge)).route_policies, undefined);
});

test("edgeproxy serves on while the database is killed, says so, and follows again by itself", async () => {
  await using database = await startPostgres({ tables: "inet" });
  const region = { id: await insertRegion(database), address: loopbackAddress() };
  await using platform = await Platform.start(server, {});
  await using vm = await startVm({ host: loopbackAddress() });
  const { deploymentId } = await insertRoute(database, { name: HOST, regionId: region.id, privateIp: vm.host, port: vm.port });
  const edge = await platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "100ms" }, { region, database: database.url });
  await using traffic = await startTraffic(edge);

  await database.kill();
  const outage = await edge.waitForLog((line) => line["msg"] === "cannot read routes");
  assert.equal(outage["level"], "error");
  await edge.waitFor(async () => (await readiness(edge)).database.readable === false);
  const during = await readiness(edge);
  assert.deepEqual([during.ready, during.table?.routes, during.table?.stale], [true, 1, true]);
  assert.match(during.database.last_error ?? "", new RegExp(String(database.port)));
  await edge.waitFor(async () => await metric(edge, 'edgeproxy_refreshes_total{result="failed"}') >= 3, "does not try again");
  assert.ok(await metric(edge, "edgeproxy_table_age_seconds") > 0);
  assert.ok(lines(edge, "cannot read routes").length <= 3, "an outage is not a line for each try");
  await traffic.more(100);

  await database.restart();
  await insertDomain(database, { name: "new.example.com", deploymentId });
  await edge.waitFor(async () => await status(edge, "new.example.com") === 200, "does not follow the database again");
  await edge.waitForLog((line) => line["msg"] === "source of routes is back");
  assert.equal((await readiness(edge)).database.readable, true);
  assert.deepEqual(await traffic.end(), { 200: traffic.count });
});

test("edgeproxy started without its database answers 503 and is not ready until the database comes", async () => {
  await using database = await startPostgres({ tables: "inet" });
  const region = { id: await insertRegion(database), address: loopbackAddress() };
  await using platform = await Platform.start(server, {});
  await using vm = await startVm({ host: loopbackAddress() });
  await insertRoute(database, { name: HOST, regionId: region.id, privateIp: vm.host, port: vm.port });
  await database.kill();
  const edge = await platform.edge({}, { region, database: database.url, ready: false });
  await edge.waitForLog((line) => line["msg"] === "cannot read routes");
  const early = await get(edge, HOST);
  assert.deepEqual(
    [early.status, fieldValue(early, "x-edgeproxy-error"), fieldValue(early, "retry-after")],
    [503, "no_table", "1"],
  );
  assert.equal((await edge.admin("/readyz")).status, 503);
  const { ready, reasons, table, database: source } = await readiness(edge);
  assert.deepEqual({ ready, reasons, table, readable: source.readable }, {
    ready: false,
    reasons: ["no routing table loaded yet"],
    table: null,
    readable: false,
  });
  assert.equal((await edge.admin("/healthz")).status, 200, "alive all the same");
  assert.equal(lines(edge, "ready").length, 0);
  await database.restart();
  await edge.waitReady();
  assert.equal(await status(edge, HOST), 200);
  await edge.waitForLog((line) => line["msg"] === "ready");
});

test("edgeproxy serves on while a lock blocks its refresh, and never runs two at once", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  await platform.vm(HOST);
  const edge = await platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "100ms" });
  const name = new URL(database.url).pathname.slice(1);
  const blocked = async (): Promise<number> => {
    const rows = await server.sql("select from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'", [name]);
    return rows.length;
  };
  await database.sql("begin; lock table domains in access exclusive mode");
  await edge.waitFor(async () => await blocked() === 1, "does not read the locked table");
  const before = await metric(edge, 'edgeproxy_refreshes_total{result="succeeded"}');
  const asked = Array.from({ length: 5 }, () => edge.admin("/api/refresh", { method: "POST" }));
  edge.signal("SIGHUP");
  for (let i = 0; i < 50; i++) assert.equal(await status(edge, HOST), 200);
  assert.equal((await edge.admin("/readyz")).status, 200);
  assert.equal(await blocked(), 1);
  await database.sql("update domains set name = 'renamed.example.com'; commit");
  for (const answer of asked) assert.equal((await answer).status, 200);
  assert.equal(await status(edge, "renamed.example.com"), 200);
  assert.ok(
    await metric(edge, 'edgeproxy_refreshes_total{result="succeeded"}') >= before + 2,
    "the blocked one, then one for all who asked",
  );
});

test("edgeproxy stops in order while a lock blocks its refresh", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "100ms" });
  const name = new URL(platform.database.url).pathname.slice(1);
  await platform.database.sql("begin; lock table domains in access exclusive mode");
  const waiting = "select from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'";
  await edge.waitFor(async () => (await server.sql(waiting, [name])).length === 1);
  assert.equal(await edge.stop(), 0);
  const stopped = await edge.waitForLog((line) => line["msg"] === "stopped");
  assert.ok(Number(stopped["duration_ms"]) < 5000, "long before the statement would have ended by itself");
  await platform.database.sql("rollback");
});

test("edgeproxy keeps its table and says what is missing when the schema is replaced", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  await platform.vm(HOST);
  const edge = await platform.edge();
  const breakages = [
    ["alter table vms rename column private_ip to address", "alter table vms rename column address to private_ip", /private_ip/],
    ["alter table deployments rename to releases", "alter table releases rename to deployments", /deployments/],
  ] as const;
  for (const [breaking, repairing, named] of breakages) {
    await database.sql(breaking);
    for (let i = 0; i < 3; i++) {
      const response = await edge.admin("/api/refresh", { method: "POST" });
      assert.equal(response.status, 502);
      assert.match(String((await response.json() as Record<string, unknown>)["error"]), named);
    }
    assert.equal(await status(edge, HOST), 200);
    assert.equal((await readiness(edge)).table?.stale, true);
    const complains = (line: LogLine): boolean => line["msg"] === "cannot read routes" && named.test(String(line["error"]));
    await edge.waitForLog(complains);
    const complaints = edge.log.filter(complains);
    assert.deepEqual(complaints.map((line) => line["level"]), ["error"], "one line, not one for each try");
    await database.sql(repairing);
    await edge.refresh();
    assert.equal((await readiness(edge)).table?.stale, false);
  }
});

test("edgeproxy keeps its table when all tables are dropped, and follows those created anew", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  const vm = await platform.vm(HOST);
  const edge = await platform.edge();
  await database.sql("drop table domains, deployments, vms, regions");
  assert.equal((await edge.admin("/api/refresh", { method: "POST" })).status, 502);
  assert.equal(await status(edge, HOST), 200);
  await createSchema(database, { inet: false });
  await insertRegion(database, { id: platform.region.id });
  await insertRoute(database, { name: "new.example.com", regionId: platform.region.id, privateIp: vm.host, port: vm.port });
  await edge.refresh();
  assert.deepEqual([await status(edge, HOST), await status(edge, "new.example.com")], [404, 200]);
});

test("edgeproxy needs SELECT on the four tables and nothing else", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  await platform.database.sql(
    `create role reader login password 'reader'; grant select on regions, vms, deployments, domains to reader`,
  );
  const url = new URL(platform.database.url);
  url.username = url.password = "reader";
  const edge = await platform.edge({}, { database: url.href });
  assert.equal(await status(edge, HOST), 200);
  await platform.database.sql("revoke select on vms from reader");
  const response = await edge.admin("/api/refresh", { method: "POST" });
  assert.match(String((await response.json() as Record<string, unknown>)["error"]), /permission denied.*vms/);
  assert.equal(await status(edge, HOST), 200);
  await edge.stop();
  await platform.database.sql("drop owned by reader; drop role reader");
});

test("edgeproxy tries the hosts of its database URL in order", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const { host } = new URL(platform.database.url);
  const edge = await platform.edge({}, { database: platform.database.url.replace(host, `127.0.0.1:1,${host}`) });
  assert.equal(await status(edge, HOST), 200);
});

test("edgeproxy encrypts its session with the database, and checks the server's name, as sslmode says", async () => {
  await using tls = await startPostgres();
  await offerTls(tls);
  await using platform = await Platform.start(tls);
  await using folder = await temporaryFolder();
  const authority = join(folder.path, "ca.pem");
  await writeFile(authority, SELF_SIGNED_CERT);
  await platform.vm(HOST);
  const { url } = platform.database;
  for (const parameters of ["sslmode=require", `sslmode=verify-full&sslrootcert=${authority}`]) {
    await using edge = await platform.edge({}, { database: `${url}?${parameters}&application_name=edge` });
    assert.equal(await status(edge, HOST), 200);
    const sessions = await tls.sql("select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'edge'");
    assert.deepEqual(sessions.map((row) => row["ssl"]), [true], parameters);
  }
  await using edge = await platform.edge({}, { database: `${url}?sslmode=verify-full`, ready: false });
  const refusal = await edge.waitForLog((line) => line["msg"] === "cannot read routes");
  assert.match(String(refusal["error"]), /self.signed certificate/i);
  assert.equal(await status(edge, HOST), 503);
});

interface Traffic extends AsyncDisposable {
  /** Requests answered so far. */
  readonly count: number;
  /** Resolves after that many more answers. */
  more(count: number): Promise<void>;
  /** Ends the traffic; answers by status. */
  end(): Promise<Readonly<Record<string, number>>>;
}

/** Four clients that send one request after the other on connections that stay open. */
async function startTraffic(edge: Edgeproxy): Promise<Traffic> {
  const statuses: Record<string, number> = {};
  let count = 0;
  let going = true;
  const client = async (): Promise<void> => {
    await using connection = await openRaw(edge.port, edge.host);
    while (going) {
      connection.send(getRequest(HOST));
      const { status } = await connection.readResponse();
      statuses[status] = (statuses[status] ?? 0) + 1;
      count++;
    }
  };
  const clients = Promise.all(Array.from({ length: 4 }, client));
  const end = async (): Promise<Readonly<Record<string, number>>> => {
    going = false;
    await clients;
    return statuses;
  };
  const traffic: Traffic = {
    get count(): number {
      return count;
    },
    more: async (wanted) => {
      const until = count + wanted;
      await edge.waitFor(() => Promise.resolve(count >= until), "does not answer");
    },
    end,
    [Symbol.asyncDispose]: async () => void await end(),
  };
  await traffic.more(20);
  return traffic;
}
