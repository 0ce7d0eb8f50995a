/** Endpoints and cordons over the admin API, with what they are made of made up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AdminDeps } from "../../src/admin/deps.ts";
import { adminOf } from "../fixtures/admin.ts";
import { cordonDeps, endpointDeps, SINCE_MS, watched } from "../fixtures/admin-endpoints.ts";
import { ELSEWHERE, region, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2"), IDLE = vm("10.0.0.3"), R = region(ELSEWHERE, "203.0.113.7");
const KEYS = [A.key, B.key, R.key];

function admin(): ReturnType<typeof adminOf> & { readonly deps: AdminDeps } {
  const health = [
    watched(B, { latencyMs: 9 }),
    watched(A, { verdict: "unhealthy", sinceAtMs: SINCE_MS + 5, reason: "status 500" }),
  ];
  const uses = [
    { key: A.key, inFlight: 2, idle: 1, lastFailure: null, hindrance: "ejected" as const, share: 0.25 },
    { key: R.key, inFlight: 5, idle: 0, lastFailure: { atMs: SINCE_MS, reason: "ECONNREFUSED" }, hindrance: null, share: 1 },
  ];
  return adminOf({ endpointHealth: () => health, endpoints: endpointDeps([A, B, IDLE, R], health, uses), cordons: cordonDeps() });
}

async function keysOf({ json }: ReturnType<typeof adminOf>, query: string): Promise<string[]> {
  const { body } = await json(`/api/endpoints${query}`);
  assert.equal(body.total >= body.endpoints.length, true);
  return body.endpoints.map(({ key }: { key: string }) => key);
}

function post(body: object): RequestInit {
  return { method: "POST", body: JSON.stringify(body) };
}

test("GET /api/endpoints lists those in use and regions, filtered, sorted and paged", async () => {
  const app = admin();
  assert.deepEqual(await keysOf(app, ""), [R.key, A.key, B.key].toSorted());
  assert.deepEqual(await keysOf(app, "?verdict=unhealthy"), [A.key]);
  assert.deepEqual(await keysOf(app, "?kind=region"), [R.key]);
  assert.deepEqual(await keysOf(app, `?region=${ELSEWHERE.toUpperCase()}`), [R.key]);
  assert.deepEqual(await keysOf(app, "?q=0.0.2"), [B.key]);
  assert.deepEqual(await keysOf(app, "?sort=-in_flight"), [R.key, A.key, B.key]);
  assert.deepEqual(await keysOf(app, "?sort=-latency&limit=1"), [B.key]);
  assert.deepEqual(await keysOf(app, "?sort=-since&limit=1"), [A.key]);
  const { body: first } = await app.json("/api/endpoints?limit=2");
  assert.deepEqual([first.total, ...await keysOf(app, `?limit=2&after=${first.next}`)], [3, KEYS.toSorted()[2]]);
  const ejected = (await app.json("/api/endpoints?verdict=unhealthy")).body.endpoints[0];
  assert.deepEqual([ejected.hindrance, ejected.share], ["ejected", 0.25]);
  const row = (await app.json("/api/endpoints?kind=region")).body.endpoints[0];
  assert.deepEqual([row.verdict, row.in_flight, row.last_failure.reason, row.routes, row.hindrance], [
    null,
    5,
    "ECONNREFUSED",
    4,
    null,
  ]);
  assert.equal((await app.json("/api/endpoints?sort=colour")).status, 400);
  assert.equal((await app.json("/api/endpoints?after=nonsense")).status, 400);
});

test("GET /api/endpoints/:key shows the history and the hosts of any endpoint of the table", async () => {
  const app = admin();
  const { body } = await app.json(`/api/endpoints/${encodeURIComponent(A.key)}`);
  assert.deepEqual([body.verdict, body.in_flight, body.idle_connections, body.hosts], ["unhealthy", 2, 1, ["a.test", "b.test"]]);
  assert.deepEqual(body.probes, [{
    time: new Date(SINCE_MS).toISOString(),
    healthy: false,
    latency_ms: 1.5,
    reason: "status 500",
  }]);
  assert.deepEqual(body.changes.map(({ verdict }: { verdict: string }) => verdict), ["unhealthy"]);
  const idle = await app.json(`/api/endpoints/${encodeURIComponent(IDLE.key)}`);
  assert.deepEqual([idle.status, idle.body.verdict, idle.body.probes], [200, null, []]);
  const missing = await app.json("/api/endpoints/10.0.0.1:8080");
  assert.deepEqual([missing.status, missing.body.error], [404, "no_endpoint"]);
  assert.match(missing.body.message, /vm\/10\.0\.0\.1:8080/);
});

test("an endpoint is cordoned, listed as such, and uncordoned", async () => {
  const app = admin();
  const at = `/api/endpoints/${encodeURIComponent(IDLE.key)}/cordon`;
  const { status, body } = await app.json(at, post({ expires: "30m", reason: "new disk" }), "192.0.2.9");
  assert.deepEqual([status, body.key, body.reason, body.by], [200, IDLE.key, "new disk", "192.0.2.9"]);
  assert.equal(Date.parse(body.until) - Date.parse(body.since), 30 * 60_000);
  assert.deepEqual(await keysOf(app, "?cordoned=true"), [IDLE.key], "although it is not in use");
  assert.deepEqual((await app.json("/api/cordons")).body.cordons, [body]);
  assert.deepEqual((await app.json(`/api/endpoints/${encodeURIComponent(IDLE.key)}`)).body.cordon, body);
  assert.deepEqual((await app.json(at, { method: "DELETE" })).body, { key: IDLE.key, cleared: true });
  assert.deepEqual((await app.json(at, { method: "DELETE" })).body, { key: IDLE.key, cleared: false });
  assert.deepEqual((await app.json("/api/cordons")).body.total, 0);
});

test("a cordon of what is not there, or without a proper end, is refused", async () => {
  const app = admin();
  const at = `/api/endpoints/${encodeURIComponent(A.key)}/cordon`;
  for (
    const body of [{ expires: "soon" }, { expires: "8d" }, { expires: "0s" }, { expires: 5 }, { reason: "x".repeat(501) }, {
      colour: 1,
    }]
  ) {
    const answer = await app.json(at, post(body));
    assert.deepEqual([answer.status, answer.body.error], [400, "bad_body"], JSON.stringify(body));
  }
  for (const init of [post({}), { method: "DELETE" }]) {
    const { status, body } = await app.json(`/api/endpoints/${encodeURIComponent("vm/10.9.9.9:1")}/cordon`, init);
    assert.deepEqual([status, body.error], [404, "no_endpoint"]);
  }
  assert.equal((await app.json("/api/cordons")).body.total, 0);
});
