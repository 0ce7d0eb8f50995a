/** Requests under a policy whose VMs run in another region: two edges with the same routes serve each, and decide it once. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Edgeproxy, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValues } from "../fixtures/http1.ts";
import { Platform, type Region } from "../fixtures/platform.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { getRequest, openRaw, rawRequest, type RawResponse } from "../fixtures/raw-client.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

/** Where clients come from; the edges' own connections come from EDGE, which both trust. */
const CLIENT = "127.88.7.6", EDGE = "127.0.0.1";
const REQUESTS = 10_000;
const PAIR = { sticky: { cookie: "at", ttl: "1h" }, limits: { hard: 1, queue: 0 }, retry: { attempts: 2, on: [503], budget: 1 } };

function routes(canary: Vm): string {
  return `
services:
  canary: { endpoints: [{ url: "http://${canary.host}:${canary.port}" }] }
routes:
  - { id: split, hosts: [app.test], path: /split, split: [{ service: vms, weight: 90 }, { service: canary, weight: 10 }] }
  - { id: whole, hosts: [app.test], path: /whole, service: vms, rateLimit: { requests: 20, window: 60m } }
  - { id: client, hosts: [app.test], path: /client, service: vms, rateLimit: { requests: 4, window: 60m, key: client-ip } }
  - { id: keyed, hosts: [app.test], match: { routeKey: s-1 }, service: vms, headers: { request: { set: { X-Env: sandbox } } } }
  - { id: forged, hosts: [app.test], path: /forged, service: vms, rateLimit: { requests: 2, window: 60m } }
`;
}

let resources: AsyncDisposableStack;
let here: Region;
let there: Region;
let near: Edgeproxy;
let far: Edgeproxy;
/** In the far region. */
let vm: Vm;
let pair: readonly Vm[];
let canary: Vm;
before(async () => {
  resources = new AsyncDisposableStack();
  const platform = resources.use(await Platform.start(resources.use(await startPostgres())));
  here = platform.region;
  there = await platform.addRegion();
  vm = await platform.vm("app.test", { region: there });
  canary = resources.use(await startVm({ script: respond(200, "canary") }));
  const { url, sql } = platform.database;
  const migrated = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: url, EDGEPROXY_REGION_ID: here.id } });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  pair = [await platform.vm("pair.test", { region: there }), await platform.vm("pair.test", { region: there })];
  await sql(`insert into route_policies values ('pair.test', '${JSON.stringify(PAIR)}')`);
  const file = join(resources.use(await temporaryFolder()).path, "routes.yaml");
  await writeFile(file, routes(canary));
  const settings = {
    EDGEPROXY_CONFIG_FILE: file,
    EDGEPROXY_SECRET: "the-secret-of-both-regions",
    EDGEPROXY_TRUSTED_PROXIES: EDGE,
    EDGEPROXY_ACCESS_LOG: "on",
    EDGEPROXY_WORKERS: "1",
  };
  near = await platform.edge(settings);
  far = await platform.edge(settings, { region: there });
});
after(() => resources.disposeAsync());

async function ask(edge: Edgeproxy, path: string, ...fields: string[]): Promise<RawResponse> {
  return await rawRequest(edge.port, getRequest("app.test", path, ...fields), edge.host, CLIENT);
}

/** How many of so many requests pass the rate limit. */
async function passing(edge: Edgeproxy, path: string, count: number, ...fields: string[]): Promise<number> {
  let passed = 0;
  for (let i = 0; i < count; i++) {
    const { status } = await ask(edge, path, ...fields);
    assert.ok(status === 200 || status === 429, `${status}`);
    if (status === 200) passed++;
  }
  return passed;
}

test("a split over VMs of another region is drawn once, so that shares stay what they are", async () => {
  await using connection = await openRaw(near.port, near.host);
  for (let sent = 0; sent < REQUESTS; sent += 100) {
    connection.send(getRequest("app.test", "/split").repeat(100));
    for (let i = 0; i < 100; i++) assert.equal((await connection.readResponse()).status, 200);
  }
  const share = canary.requests.length / REQUESTS;
  assert.ok(Math.abs(share - 0.1) < 0.01, `${canary.requests.length} of ${REQUESTS}`);
  assert.equal(vm.requests.length, REQUESTS - canary.requests.length);
  const told = await far.waitForLog(({ msg, policy }) => msg === "access" && policy === "split");
  assert.deepEqual([told["service"], told["decided_by"]], ["vms", `edgeproxy-${here.id}`]);
});

test("a rate limit counts a request once, at the edge where it arrives", async () => {
  assert.equal(await passing(near, "/whole", 23), 20);
  assert.equal(await passing(far, "/whole", 23), 20, "the far edge has counted none of them");
  assert.equal(await passing(far, "/client", 3), 3);
  assert.equal(await passing(near, "/client", 6), 4);
  assert.equal(await passing(far, "/client", 3), 1);
});

test("nobody but an edge says that a request has been counted, not even through a trusted load balancer", async () => {
  const forged = `X-Edgeproxy-Decided: forged vms counted - ${"a".repeat(20)}`;
  assert.equal(await passing(near, "/forged", 3, forged), 2);
  let passed = 0;
  for (let i = 0; i < 3; i++) {
    const fields = [`Via: 1.1 edgeproxy-${here.id}`, forged];
    const { status } = await rawRequest(far.port, getRequest("app.test", "/forged", ...fields), far.host, EDGE);
    if (status === 200) passed++;
  }
  assert.equal(passed, 2);
});

test("a route key is believed at the second edge if it was at the first, whoever trusts whom", async () => {
  const envOf = async (from: string, path: string, host = "app.test") => {
    const { status } = await rawRequest(near.port, getRequest(host, path, "X-Route-Key: s-1"), near.host, from);
    assert.equal(status, 200);
    const request = vm.requests.at(-1)!;
    assert.equal(request.target, path);
    return fieldValues(request, "x-env");
  };
  assert.deepEqual(await envOf(CLIENT, "/stranger"), []);
  assert.deepEqual(await envOf(EDGE, "/load-balancer"), ["sandbox"]);
  assert.deepEqual(await envOf(EDGE, "/preview", "s-1--app.test"), ["sandbox"]);
});

test("a client sticks to a VM of another region", async () => {
  const first = await rawRequest(near.port, getRequest("pair.test"), near.host, CLIENT);
  const cookies = new Map(fieldValues(first, "set-cookie").map((line) => line.split(";", 1)[0]!.split("=", 2) as [string, string]));
  const cookie = `Cookie: ${[...cookies].map((each) => each.join("=")).join("; ")}`;
  for (let i = 0; i < 12; i++) {
    const again = await rawRequest(near.port, getRequest("pair.test", "/", cookie), near.host, CLIENT);
    assert.deepEqual([again.body.toString(), fieldValues(again, "set-cookie")], [first.body.toString(), []]);
  }
});

test("limits of VMs hold at the edge beside them, not for their region as a whole", async () => {
  const arrived = Promise.withResolvers<void>();
  let waiting = 0;
  for (const each of pair) {
    each.script = async (request, connection) => {
      if (++waiting === 2) arrived.resolve();
      await arrived.promise;
      respond(200, "both")(request, connection);
    };
  }
  const both = [1, 2].map(() => rawRequest(near.port, getRequest("pair.test"), near.host, CLIENT));
  assert.deepEqual((await Promise.all(both)).map(({ status }) => status), [200, 200]);
});

test("edges together make as many attempts as the policy allows, and say how many", async () => {
  for (const each of pair) each.script = respond(503, "trouble");
  const before = pair[0]!.requests.length + pair[1]!.requests.length;
  const answer = await rawRequest(near.port, getRequest("pair.test"), near.host, CLIENT);
  assert.deepEqual([answer.status, fieldValues(answer, "x-edgeproxy-attempts")], [503, ["2"]]);
  assert.equal(pair[0]!.requests.length + pair[1]!.requests.length - before, 2);
});

test("the answer tells of one limit, and the VM nothing of what edges tell each other", async () => {
  const answer = await ask(near, "/whole");
  assert.equal(answer.status, 429);
  assert.equal(fieldValues(answer, "RateLimit-Limit").length, 1);
  for (const { fields } of [...vm.requests, ...canary.requests]) {
    assert.ok(!fields.some(([name]) => name.toLowerCase().startsWith("x-edgeproxy")));
  }
});
