/** The time machine from outside: what each revision changed, an old one served again, and what the table leaves out. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { insertRoute, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";

// deno-lint-ignore no-explicit-any -- answers of the admin API
type Json = any;

async function ask(edge: Edgeproxy, path: string, init: RequestInit = {}): Promise<{ status: number; body: Json }> {
  const response = await edge.admin(path, init);
  return { status: response.status, body: await response.json() };
}

const POST = { method: "POST" };

/** An edge that has served three revisions: `HOST` alone, `HOST` and another, and the other alone, on its second VM. */
async function threeRevisions(platform: Platform, env: Record<string, string> = {}): Promise<Edgeproxy> {
  const { database } = platform;
  const first = await platform.vm(HOST);
  first.script = respond(200, "first");
  const edge = await platform.edge(env);
  (await platform.vm("other.example.com")).script = respond(200, "other");
  await edge.refresh();
  await database.sql("delete from domains where name = $1", [HOST]);
  await edge.refresh();
  return edge;
}

test("GET /api/revisions tells what each revision changed", async () => {
  await using platform = await Platform.start(server);
  const edge = await threeRevisions(platform);
  const { body } = await ask(edge, "/api/revisions");
  assert.deepEqual(
    body.revisions.map((
      each: Json,
    ) => [each.revision, each.added, each.removed, each.routes, each.reason, each.source, each.current]),
    [[3, 0, 1, 1, "admin", "postgres", true], [2, 1, 0, 2, "admin", "postgres", false], [1, 1, 0, 1, "start", "postgres", false]],
  );
  const removed = (await ask(edge, "/api/revisions/3")).body;
  assert.deepEqual(removed.changes.map(({ host, change, after }: Json) => [host, change, after]), [[HOST, "removed", null]]);
  assert.equal((await ask(edge, "/api/revisions/4")).status, 404);
});

test("a VM that moves to another region is one revision that shows both sides", async () => {
  await using platform = await Platform.start(server);
  const { database, region } = platform;
  const vm = await platform.vm(HOST);
  const elsewhere = await platform.addRegion();
  const edge = await platform.edge();
  await database.sql("update vms set region_id = $1", [elsewhere.id]);
  await edge.refresh();
  const { body } = await ask(edge, "/api/revisions/2");
  assert.deepEqual([body.added, body.removed, body.changed], [0, 0, 1]);
  assert.deepEqual(body.changes, [{
    host: HOST,
    change: "changed",
    before: [{ kind: "vm", address: vm.host, port: vm.port, region: region.id }],
    after: [{ kind: "region", address: elsewhere.address, port: platform.edgePort, region: elsewhere.id }],
  }]);
});

test("POST /api/revisions/:n/pin serves an old revision until it is unpinned, visibly", async () => {
  await using platform = await Platform.start(server);
  const edge = await threeRevisions(platform);
  assert.equal((await get(edge, HOST)).status, 404);

  const pinned = await ask(edge, "/api/revisions/1/pin?expires=30m", POST);
  assert.deepEqual([pinned.status, pinned.body.revision, pinned.body.pinned.revision], [200, 4, 1]);
  const minutes = (Date.parse(pinned.body.pinned.until) - Date.now()) / 60_000;
  assert.ok(minutes > 29 && minutes <= 30.1, String(minutes));
  assert.equal((await get(edge, HOST)).body.toString(), "first");
  assert.equal((await get(edge, "other.example.com")).status, 404);
  const { body: ready } = await ask(edge, "/readyz");
  assert.deepEqual([ready.ready, ready.table.stale, ready.table.pinned.revision], [true, true, 1]);
  assert.equal(await metric(edge, "edgeproxy_table_pinned"), 1);
  assert.equal((await edge.waitForLog(({ msg }) => String(msg).startsWith("revision pinned")))["level"], "warn");

  await platform.vm("late.example.com");
  await edge.refresh();
  assert.equal((await get(edge, "late.example.com")).status, 404, "the table does not follow");
  assert.equal((await ask(edge, "/api/revisions")).body.revisions[0].reason, "pin of 1");

  const unpinned = await ask(edge, "/api/revisions/pin", { method: "DELETE" });
  assert.deepEqual([unpinned.status, unpinned.body.pinned, unpinned.body.revision], [200, null, 5]);
  assert.equal((await get(edge, "late.example.com")).status, 200, "what the database says now, at once");
  assert.equal((await get(edge, HOST)).status, 404);
  assert.equal(await metric(edge, "edgeproxy_table_pinned"), 0);
  assert.equal((await edge.waitForLog(({ msg }) => String(msg).startsWith("revision no longer pinned")))["level"], "warn");
});

test("a pin ends by itself", async () => {
  await using platform = await Platform.start(server);
  const edge = await threeRevisions(platform);
  const pinned = await ask(edge, "/api/revisions/1/pin", { ...POST, body: '{"expires":"600ms"}' });
  assert.deepEqual([pinned.status, pinned.body.revision, pinned.body.pinned?.revision], [200, 4, 1]);
  const line = await edge.waitForLog(({ msg }) => String(msg).startsWith("revision no longer pinned"));
  assert.equal(line["reason"], "pin expired");
  await edge.waitFor(async () => (await get(edge, HOST)).status === 404);
  assert.equal((await ask(edge, "/readyz")).body.table.pinned, null);
});

test("POST /api/revisions/:n/pin says what it cannot do", async () => {
  await using platform = await Platform.start(server);
  const edge = await threeRevisions(platform);
  assert.equal((await ask(edge, "/api/revisions/77/pin", POST)).status, 404);
  assert.equal((await ask(edge, "/api/revisions/1/pin?expires=30d", POST)).status, 400);
  assert.equal((await ask(edge, "/api/revisions/pin", { method: "DELETE" })).status, 200, "nothing is pinned, and that is fine");
});

test("GET /api/excluded names what is not served, with the reason", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  await insertRoute(platform.database, {
    name: "no port.example.com",
    regionId: platform.region.id,
    privateIp: "10.0.0.5",
    port: 80,
  });
  await insertRoute(platform.database, {
    name: "portless.example.com",
    regionId: platform.region.id,
    privateIp: "10.0.0.5",
    port: 0,
  });
  const edge = await platform.edge();
  const { body } = await ask(edge, "/api/excluded");
  assert.deepEqual(body.excluded.map(({ domain, code, reason }: Json) => [domain, code, reason]), [
    ["no port.example.com", "bad_row", "is not a host name"],
    ["portless.example.com", "bad_row", 'its VM has an unusable port "0"'],
  ]);
  assert.deepEqual([body.total, body.counts.bad_row], [2, 2]);
  assert.equal((await ask(edge, "/api/excluded?q=PORTLESS")).body.total, 1);
  assert.equal(await metric(edge, 'edgeproxy_routes_excluded{code="bad_row"}'), 2);
});

test("GET /api/excluded names who claims a host that another has, until that one gives it up", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  (await platform.vm(HOST)).script = respond(200, "first");
  (await platform.vm("APP.example.com.")).script = respond(200, "second");
  await database.sql("update domains set verified_at = now() - interval '1 day' where name = $1", [HOST]);
  const edge = await platform.edge();
  assert.equal((await get(edge, HOST)).body.toString(), "first");
  const { body } = await ask(edge, "/api/excluded?code=conflict");
  assert.deepEqual(body.excluded.map(({ domain, host }: Json) => [domain, host]), [["APP.example.com.", HOST]]);
  assert.match(body.excluded[0].reason, /app\.example\.com/);
  assert.equal(await metric(edge, 'edgeproxy_routes_excluded{code="conflict"}'), 1);
  await database.sql("delete from domains where name = $1", [HOST]);
  await edge.refresh();
  assert.equal((await get(edge, HOST)).body.toString(), "second");
  assert.equal((await ask(edge, "/api/excluded")).body.total, 0);
});

test("a route that flaps is followed once per interval, and says so", async () => {
  await using platform = await Platform.start(server);
  const { database } = platform;
  await platform.vm(HOST);
  await platform.vm("calm.example.com");
  const edge = await platform.edge({ EDGEPROXY_UPDATE_INTERVAL: "1h" });
  for (let i = 1; i <= 252; i++) {
    await database.sql(
      "update vms set port = $1 where id = (select vm_id from deployments d join domains on d.id = deployment_id where name = $2)",
      [
        9000 + i,
        HOST,
      ],
    );
    await edge.refresh();
  }
  const line = await edge.waitForLog(({ msg }) => String(msg).startsWith("a route changes too often"));
  assert.deepEqual([line["level"], line["host"], line["changes"]], ["warn", HOST, 251]);
  const { body } = await ask(edge, "/api/excluded?code=flapping");
  assert.deepEqual(body.excluded.map(({ host, reason }: Json) => [host, /changed 25\d times/.test(reason)]), [[HOST, true]]);
  const { body: routed } = await ask(edge, `/api/routes/${HOST}`);
  assert.equal(routed.endpoints[0].port, 9250);
  assert.equal((await get(edge, "calm.example.com")).status, 200);
});
