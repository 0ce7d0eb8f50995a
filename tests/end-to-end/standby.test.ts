/** Contract section 4: several database hosts. Nobody notices that the first one dies, and the one that takes over is followed. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { loadSummary, startLoad } from "../fixtures/constant-load.ts";
import { type Edgeproxy, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { loadScript } from "../fixtures/load-vm.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { insertRoute, openSession } from "../fixtures/postgres.ts";
import { startPostgresPair } from "../fixtures/postgres-pair.ts";
import { assertFollows } from "../fixtures/served-routes.ts";

const HOST = "app.example.com";
const BEHIND = "a database host is behind what was read from another";

test("kill -9 of the primary under load: the standby is followed, before and after its promotion, and the former primary is not", async () => {
  await using pair = await startPostgresPair();
  const { primary, standby } = pair;
  await using platform = await Platform.start(primary);
  const { database, region, edgePort } = platform;
  const run = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: database.url } });
  assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  const vm = await platform.vm(HOST, { script: loadScript });
  await standby.caughtUp();

  const both = database.url.replace(`:${primary.port}/`, `:${primary.port},127.0.0.1:${standby.port}/`);
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2" }, { database: both });
  await untilFollowing(edge, "notifications", `127.0.0.1:${primary.port}`);
  await using load = startLoad({ host: edge.host, port: edge.port, domain: HOST });
  await load.progress(1);

  await primary.kill();
  await untilFollowing(edge, "change log", `127.0.0.1:${standby.port} (standby)`);
  await load.progress(1);
  await standby.promote();
  await untilFollowing(edge, "notifications", `127.0.0.1:${standby.port}`);
  const servers = () => edge.log.filter(({ msg }) => msg === "another database server answers").map(({ server }) => server);
  await edge.waitFor(() => Promise.resolve(servers().length >= 2));
  assert.deepEqual(servers(), [`127.0.0.1:${standby.port} (standby)`, `127.0.0.1:${standby.port}`]);
  await using promoted = openSession(database.url.replace(`:${primary.port}/`, `:${standby.port}/`));
  const place = { regionId: region.id, privateIp: vm.host, port: vm.port };
  await insertRoute(promoted, { name: "new.example.com", ...place });
  await assertFollows(edge, promoted, region.id, edgePort);
  assert.equal((await get(edge, "new.example.com", "/echo/1")).status, 200);

  await primary.restart();
  await insertRoute(database, { name: "stray.example.com", ...place });
  const edgesSessions = "from pg_stat_activity where application_name = 'edgeproxy' and datname = current_database()";
  await promoted.sql(`select pg_terminate_backend(pid) ${edgesSessions}`);
  await edge.waitForLog((line) => line["msg"] === BEHIND && line["server"] === `127.0.0.1:${primary.port}`);
  await insertRoute(promoted, { name: "newer.example.com", ...place });
  await assertFollows(edge, promoted, region.id, edgePort);
  await untilFollowing(edge, "notifications", `127.0.0.1:${standby.port}`);
  assert.equal((await get(edge, "stray.example.com")).status, 404);

  await load.progress(1);
  const report = await load.stop();
  process.stdout.write(`${loadSummary(report)}\n`);
  assert.deepEqual(report.failures, [], edge.report());
});

async function untilFollowing(edge: Edgeproxy, following: string, server: string): Promise<void> {
  await edge.waitFor(async () => {
    const { ready, database } = await (await edge.admin("/readyz")).json() as { ready: boolean; database: Record<string, unknown> };
    return ready && database["following"] === following && database["server"] === server;
  }, `does not follow ${server} by ${following}`);
}
