/** What policies do as a whole, told by metrics, overview and lists, exact over two workers. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { type Edgeproxy, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";
import { endpointsOf } from "../fixtures/routed-edge.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

const NO_CHECKS = { health: { type: "none" } };
const SPLIT = 200;

const stack = new AsyncDisposableStack();
let server: TestDatabase;
let platform: Platform;
let edge: Edgeproxy;
let file: string;
let good: Vm, bad: Vm, held: Vm;
after(async () => {
  await stack.disposeAsync();
  await platform?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

before(async () => {
  server = await startPostgres();
  platform = await Platform.start(server);
  await platform.vm("app.example.com", { script: respond(200, "ok") });
  await platform.vm("shop.example.com", { script: respond(200, "ok") });
  await platform.database.sql("create table route_policies (domain text primary key, policy jsonb not null)");
  await platform.database.sql(`insert into route_policies values ('shop.example.com', '{"headers": {"preset": "security"}}')`);
  const vm = async (status: number) => stack.use(await startVm({ script: respond(status, "as ever") }));
  [good, bad, held] = [await vm(200), await vm(500), stack.use(await startVm({ script: () => {} }))];
  const services = {
    stable: { ...NO_CHECKS, endpoints: endpointsOf(good) },
    canary: { ...NO_CHECKS, endpoints: endpointsOf(bad) },
    breaking: { ...NO_CHECKS, endpoints: endpointsOf(bad), breaker: { failures: 2, failureRate: 0, openFor: "1h" } },
    ejecting: { ...NO_CHECKS, balance: "round-robin", endpoints: endpointsOf(good, bad), ejection: { errors: 1, time: "1h" } },
    again: { ...NO_CHECKS, balance: "round-robin", endpoints: endpointsOf(good, bad), retry: { attempts: 2, on: [500] } },
    narrow: { ...NO_CHECKS, endpoints: endpointsOf(held), limits: { hard: 1, queue: 5, queueTimeout: "10m" } },
    fallback: {
      ...NO_CHECKS,
      endpoints: endpointsOf(bad),
      breaker: { failures: 1, openFor: "1h", fallback: { status: 200, body: "later" } },
    },
    spare: { ...NO_CHECKS, endpoints: [{ url: `http://127.0.0.1:9`, weight: 0 }] },
  };
  const routes = [
    { id: "split", hosts: ["split.test"], split: [{ service: "stable", weight: 75 }, { service: "canary", weight: 25 }] },
    { id: "limited", hosts: ["limited.test"], respond: {}, rateLimit: { requests: 5, window: "1h" } },
    { id: "closed", hosts: ["closed.test"], service: "stable", maintenance: { enabled: true } },
    { id: "hidden", hosts: ["hidden.test", "app.example.com"], service: "stable" },
    ...["breaking", "ejecting", "again", "narrow", "fallback", "spare"].map((id) => ({ id, hosts: [`${id}.test`], service: id })),
  ];
  file = join(stack.use(await temporaryFolder()).path, "routes.json");
  await writeFile(file, JSON.stringify({ services, routes }));
  edge = await platform.edge({ EDGEPROXY_WORKERS: "2", EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_ACCESS_LOG: "on" });
  await edge.waitFor(async () => (await edge.workers()).every(({ state }) => state === "serving"));
});

/** On a connection of its own, which may be in either worker. */
async function ask(host: string, count = 1): Promise<number[]> {
  return await Promise.all(Array.from({ length: count }, async () => {
    await using client = await openRaw(edge.port, edge.host);
    client.send(getRequest(host));
    return (await client.readResponse()).status;
  }));
}

/** The samples of one metric that name this, by their other labels. */
async function samples(name: string, labels: string): Promise<Record<string, number>> {
  const text = await (await edge.admin("/metrics")).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
  return Object.fromEntries(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(name.length + 1, space - 1).replace(labels, "").replace(/^,|,$/g, ""), Number(line.slice(space + 1))];
  }));
}

async function reaches(sample: string, value: number): Promise<void> {
  await edge.waitFor(async () => await metric(edge, sample).catch(() => -1) === value, `does not show ${sample} ${value}`);
}

/** Soon: an answer may be read before its exchange has been counted. */
async function tells(name: string, labels: string, expected: Readonly<Record<string, number>>): Promise<void> {
  let told: Record<string, number> = {};
  await edge.waitFor(async () => isDeepStrictEqual(told = await samples(name, labels), expected)).catch(() => {});
  assert.deepEqual(told, expected);
}

interface TargetView {
  readonly service: string;
  readonly wanted: number;
  readonly share: number;
  readonly requests: number;
}

interface AlertView {
  readonly name: string | null;
  readonly what: string;
}

async function alertsNamed(name: string): Promise<string[]> {
  const { alerts } = await (await edge.admin("/api/overview")).json() as { alerts: AlertView[] };
  return alerts.filter((alert) => alert.name === name).map(({ what }) => what);
}

/** Findings are kept for a moment. */
async function alerted(name: string, what: RegExp): Promise<void> {
  await edge.waitFor(async () => (await alertsNamed(name)).some((each) => what.test(each)), `does not say ${name} ${what}`);
}

test("traffic is told by split target, with what was wanted, and how it ended there", async () => {
  const statuses = await ask("split.test", SPLIT);
  const canary = statuses.filter((status) => status === 500).length;
  assert.ok(canary > 0 && canary < SPLIT);
  await tells("edgeproxy_route_requests_total", 'route="split"', {
    'service="stable",status_class="2xx"': SPLIT - canary,
    'service="canary",status_class="5xx"': canary,
  });
  assert.deepEqual(await samples("edgeproxy_route_share", 'route="split"'), { 'service="stable"': 0.75, 'service="canary"': 0.25 });
  assert.equal(await metric(edge, 'edgeproxy_route_request_duration_seconds_count{route="split",service="canary"}'), canary);
});

test("GET /api/policies/traffic tells the shares of a split, wanted and got", async () => {
  const { targets } = await (await edge.admin("/api/policies/traffic?route=split&sort=-requests")).json() as {
    targets: TargetView[];
  };
  assert.deepEqual(targets.map(({ service, wanted }) => [service, wanted]), [["stable", 0.75], ["canary", 0.25]]);
  assert.ok(Math.abs(targets[0]!.share + targets[1]!.share - 1) < 0.01);
  assert.equal(targets[0]!.requests + targets[1]!.requests, SPLIT);
});

test("who is limited, in maintenance or retried is told by route", async () => {
  assert.deepEqual((await ask("limited.test", 20)).filter((status) => status === 429).length, 15);
  await ask("closed.test", 3);
  assert.deepEqual(new Set(await ask("again.test", 10)), new Set([200]));
  await ask("shop.example.com", 4);
  await reaches('edgeproxy_route_requests_total{route="shop.example.com/shop.example.com",service="vms",status_class="2xx"}', 4);
  await tells("edgeproxy_route_refusals_total", 'code="', {
    'route="limited",service="",rate_limited"': 15,
    'route="closed",service="stable",maintenance"': 3,
  });
  const retried = await metric(edge, 'edgeproxy_upstream_retries_total{reason="status"}');
  assert.ok(retried > 0);
  await tells("edgeproxy_route_retries_total", "", { 'route="again",service="again"': retried });
  assert.equal(await metric(edge, 'edgeproxy_maintenance{kind="route"}'), 1);
});

test("breakers by state, ejected endpoints and services that nobody can serve are told, each once for both workers", async () => {
  while (!(await ask("breaking.test", 4)).includes(503));
  await ask("breaking.test", 20);
  await reaches('edgeproxy_breakers{state="open"}', 1);
  await ask("ejecting.test", 20);
  await reaches("edgeproxy_endpoints_ejected", 1);
  await ask("spare.test");
  const troubles = await samples("edgeproxy_service_troubles", "");
  assert.equal(troubles['service="breaking",trouble="breaker_open"'], 1);
  assert.equal(troubles['service="breaking",trouble="no_endpoint"'], 1);
  assert.equal(troubles['service="spare",trouble="no_endpoint"'], 1);
  assert.equal(Object.keys(troubles).filter((labels) => labels.startsWith('service="ejecting"')).length, 1);
  await alerted("EdgeproxyBreakerStaysOpen", new RegExp(`: vm/${bad.host}:${bad.port}@breaking$`));
  await alerted("EdgeproxyEndpointsEjected", new RegExp(`: vm/${bad.host}:${bad.port}@ejecting$`));
  await alerted("EdgeproxyServiceUnusable", /breaking \(1 endpoint\(s\): breaker open\)/);
  await alerted("EdgeproxyServiceUnusable", /spare \(all its endpoints have weight 0\)/);
});

test("waits in a queue are told while they last, and by their end", async () => {
  const clients: RawConnection[] = [];
  for (let i = 0; i < 6; i++) {
    const client = await openRaw(edge.port, edge.host);
    client.send(getRequest("narrow.test"));
    if (i === 0) await held.until(({ requests }) => requests.length === 1);
    clients.push(client);
  }
  await reaches('edgeproxy_service_queued{service="narrow"}', 5);
  assert.equal(await metric(edge, 'edgeproxy_service_queue_places{service="narrow"}'), 5);
  const impatient = await openRaw(edge.port, edge.host);
  clients.at(-1)!.reset();
  const { queue_wait_ms: waitedMs } = await edge.waitForLog(({ msg, error }) => msg === "access" && error === "client_gone");
  assert.ok(Number(waitedMs) > 0, `a client that leaves has waited ${waitedMs} ms`);
  await reaches('edgeproxy_queue_waits_total{end="left"}', 1);
  impatient.send(getRequest("narrow.test"));
  clients.splice(-1, 1, impatient);
  await reaches('edgeproxy_service_queued{service="narrow"}', 5);
  await alerted("EdgeproxyQueueNearlyFull", /: narrow 5 of 5$/);
  assert.deepEqual(await ask("narrow.test"), [503]);
  await reaches('edgeproxy_queue_waits_total{end="full"}', 1);
  held.script = respond(200, "at last");
  clients[0]!.reset();
  for (const client of clients.slice(1)) assert.equal((await client.readResponse()).status, 200);
  await reaches('edgeproxy_queue_waits_total{end="served"}', 5);
  await reaches('edgeproxy_route_queue_wait_seconds_count{route="narrow",service="narrow"}', 6);
  assert.equal(await metric(edge, "edgeproxy_queue_wait_seconds_count"), 6);
  assert.deepEqual(await samples("edgeproxy_service_queued", ""), {});
  for (const client of clients) await client[Symbol.asyncDispose]();
});

function explained(host: string): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ url: `http://${host}/` }) };
}

test("explain tells which target is drawn and what would be retried; the access log, that a fallback has answered", async () => {
  const steps = async (host: string) =>
    (await (await edge.admin("/api/explain", explained(host))).json() as { steps: string[] }).steps;
  assert.match(
    (await steps("split.test")).join("\n"),
    /of the split (stable is drawn, by chance, which has 75|canary .* has 25) %/,
  );
  assert.ok((await steps("again.test")).includes("up to 2 attempts, after 500"));
  while ((await ask("fallback.test")).includes(500));
  const { problem, status } = await edge.waitForLog(({ host, outcome }) => host === "fallback.test" && outcome === "refused");
  assert.deepEqual([status, problem], [200, "A breaker is open, the fallback of its policy has answered"]);
});

test("a route of the file that the database's goes before is told of wherever conflicts are", async () => {
  const hidden = { id: "hidden", origin: "routes[3]", host: "app.example.com" };
  const policies = await (await edge.admin("/api/policies")).json() as { hidden_routes: unknown[] };
  assert.deepEqual(policies.hidden_routes, [hidden]);
  const ready = await (await edge.admin("/readyz")).json() as { routes_file: { hidden_routes: number } };
  assert.equal(ready.routes_file.hidden_routes, 1);
  await alerted("EdgeproxyRoutesHidden", /: hidden for app\.example\.com$/);
  assert.equal(await metric(edge, "edgeproxy_routes_hidden"), 1);
  const env = {
    EDGEPROXY_DATABASE_URL: platform.database.url,
    EDGEPROXY_REGION_ID: platform.region.id,
    EDGEPROXY_CONFIG_FILE: file,
  };
  const { stdout, exitCode } = await runEdgeproxy(["check"], { env });
  assert.equal(exitCode, 0, stdout);
  assert.match(stdout, /warn +routes file: routes\[3\] \(hidden\) never applies to app\.example\.com/);
});
