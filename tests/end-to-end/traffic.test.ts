/** What operators see of traffic and of single hosts: with workers, without, after one has died, and when a route has gone. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { reaches } from "../fixtures/served-vms.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

interface HostView {
  readonly host: string;
  readonly requests: number;
  readonly errors: number;
  readonly "by_blame": Readonly<Record<string, number>>;
  readonly "p95_ms": number | null;
  readonly "bytes_out": number;
}

/** Three hosts, one of them a wildcard, one with a VM that is unhealthy; each is asked some times, as is a name without a route. */
async function busyPlatform(): Promise<Platform> {
  const platform = await Platform.start(server);
  await platform.vm("app.example.com");
  await platform.vm("*.wild.example.com");
  await platform.vm("sick.example.com", { healthStatus: 500 });
  return platform;
}

async function ask(edge: Edgeproxy): Promise<void> {
  for (let i = 0; i < 5; i++) {
    for (const host of ["app.example.com", `x${i}.wild.example.com`, "sick.example.com", `no${i}.example.org`]) {
      await get(edge, host);
    }
  }
}

async function hosts(edge: Edgeproxy, query = ""): Promise<readonly HostView[]> {
  return (await (await edge.admin(`/api/hosts?sort=host${query}`)).json() as { hosts: HostView[] }).hosts;
}

/** Once it has heard of all from workers that may be busy. */
async function hostsOnce(edge: Edgeproxy, all: (views: readonly HostView[]) => boolean): Promise<readonly HostView[]> {
  let views: readonly HostView[] = [];
  await edge.waitFor(async () => all(views = await hosts(edge)), "does not hear of all requests");
  return views;
}

async function hostsInMetrics(edge: Edgeproxy): Promise<string[]> {
  const exposition = await (await edge.admin("/metrics")).text();
  return [...new Set([...exposition.matchAll(/^edgeproxy_host_requests_total\{host="([^"]*)"/gm)].map((match) => match[1]!))]
    .sort();
}

test("with one process or several, hosts are told apart by route, and names without one have nothing", async () => {
  await using platform = await busyPlatform();
  for (const workers of ["0", "2"]) {
    const edge = await platform.edge({ EDGEPROXY_WORKERS: workers });
    await ask(edge);
    const views = await hostsOnce(edge, (all) => all.reduce((sum, { requests }) => sum + requests, 0) >= 15);
    assert.deepEqual(views.map(({ host, requests, errors }) => [host, requests, errors]), [
      ["*.wild.example.com", 5, 0],
      ["app.example.com", 5, 0],
      ["sick.example.com", 5, 5],
    ]);
    assert.ok(views.every((view) => view.p95_ms! > 0 && view.bytes_out > 0));
    assert.equal(views[2]!.by_blame["vm"], 5);
    assert.deepEqual(await hostsInMetrics(edge), ["*.wild.example.com", "app.example.com", "sick.example.com"]);
    await reaches(edge, { 'edgeproxy_host_errors_total{host="sick.example.com",blame="vm"}': 5 });
    const overview = await (await edge.admin("/api/overview")).json();
    assert.deepEqual([overview.routes, overview.workers.up, overview.endpoints], [3, Math.max(1, Number(workers)), {
      unprobed: 0,
      healthy: 2,
      unhealthy: 1,
    }]);
    assert.ok(overview.traffic.requests_per_second > 0 && overview.traffic.by_blame.client > 0);
    await edge.stop();
  }
});

test("what was counted survives a worker, and ends with its route", async () => {
  await using platform = await busyPlatform();
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2" });
  await ask(edge);
  const requests = async () => (await hosts(edge, "&q=app.example.com"))[0]?.requests;
  const comesTo = (count: number | undefined) => edge.waitFor(async () => await requests() === count, `does not count ${count}`);
  await comesTo(5);
  for (const { pid } of await edge.workers()) process.kill(pid, "SIGKILL");
  await edge.waitFor(async () => (await edge.workers()).every(({ restarts, state }) => restarts === 1 && state === "serving"));
  await get(edge, "app.example.com");
  await comesTo(6);
  await edge.waitFor(async () => {
    const { points } = await (await edge.admin("/api/traffic")).json() as { points: { requests: number }[] };
    return points.reduce((sum, point) => sum + point.requests, 0) === 21;
  }, "did not keep its traffic");
  await platform.database.sql("delete from domains where name = 'app.example.com'");
  await edge.refresh();
  assert.equal(await requests(), undefined);
  assert.deepEqual(await hostsInMetrics(edge), ["*.wild.example.com", "sick.example.com"]);
});
