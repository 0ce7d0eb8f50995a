import { test } from "node:test";
import assert from "node:assert/strict";
import { adminOf, ELSEWHERE, HERE, LOADED, NOW_MS, POLICIES, route } from "../fixtures/admin.ts";
import type { Predecessor } from "../../src/admin/deps.ts";
import type { DrainStatus } from "../../src/observation/drain-status.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import type { WorkerState } from "../../src/observation/worker-status.ts";
import type { RefreshStatus } from "../../src/sources/refresh-status.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import type { EndpointHealth } from "../../src/upstream/endpoint-findings.ts";
import { routesOf } from "../fixtures/records.ts";
import { workerStatus } from "../fixtures/worker-status.ts";

const DRAINING: DrainStatus = {
  phase: "finishing",
  reason: "SIGTERM",
  sinceAtMs: NOW_MS - 20_000,
  phaseSinceAtMs: NOW_MS - 5000,
  deadlineAtMs: NOW_MS + 25_000,
  left: { exchanges: 3, tunnels: 1, connections: 9 },
};
const DRAIN_VIEW = {
  phase: "finishing",
  reason: "SIGTERM",
  since: "2023-11-14T22:13:00.000Z",
  "phase_since": "2023-11-14T22:13:15.000Z",
  deadline: "2023-11-14T22:13:45.000Z",
  "seconds_left": 25,
  exchanges: 3,
  tunnels: 1,
  connections: 9,
};
const NEVER_HEARD = { heardAtMs: null, answerMs: null, metrics: null, figures: null };

test("GET /healthz says alive", async () => {
  const { status, body, headers } = await adminOf().json("/healthz");
  assert.deepEqual([status, body], [200, { status: "alive", version: "1.2.3" }]);
  assert.equal(headers.get("cache-control"), "no-store");
});

test("GET /readyz says that there is no database", async () => {
  const { status, body } = await adminOf({ refreshStatus: () => ({ ...LOADED, following: "nothing", tableSource: "none" }) }).json(
    "/readyz",
  );
  assert.deepEqual([status, body.ready, body.table.stale], [200, true, false]);
  assert.deepEqual(body.database, { configured: false, readable: null, following: "nothing", server: null, last_error: null });
});

test("GET /readyz is 200 once a table is loaded", async () => {
  const { status, body } = await adminOf().json("/readyz");
  assert.equal(status, 200);
  assert.deepEqual(body, {
    ready: true,
    reasons: [],
    table: {
      revision: 3,
      routes: 2,
      age_seconds: 1.5,
      stale: false,
      held_removals: 0,
      held_policies: 0,
      bad_rows: 1,
      excluded: { "bad_row": 1, conflict: 0, flapping: 0, "bad_policy": 0 },
      source: "postgres",
      pinned: null,
    },
    database: { configured: true, readable: true, following: "tables", server: null, last_error: null },
    workers: { serving: 1, total: 1 },
  });
});

test("GET /readyz tells how the table on disk is, the path only to those who may see it", async () => {
  const good = { path: "/state/routes", writes: 3, failures: 0, lastWriteAtMs: NOW_MS - 2500, lastError: null };
  const fine = (await adminOf({ lastGood: () => good }).json("/readyz")).body;
  assert.deepEqual(fine.state, { writable: true, saved_seconds_ago: 2.5, path: "/state/routes", last_error: null });
  const full = { ...good, lastWriteAtMs: null, lastError: "no space left in /state" };
  const admin = adminOf({ token: "secret", lastGood: () => full });
  const { status, body } = await admin.json("/readyz");
  assert.deepEqual([status, body.state], [200, { writable: false, saved_seconds_ago: null }]);
  const shown = await admin.json("/readyz", { headers: { authorization: "Bearer secret" } });
  assert.equal(shown.body.state.last_error, "no space left in /state");
});

test("GET /readyz says why not before the first table and while shutting down", async () => {
  const empty: RefreshStatus = { ...LOADED, revision: 0, lastSuccessAtMs: null, lastError: "connection refused" };
  const starting = await adminOf({ refreshStatus: () => empty }).json("/readyz");
  assert.equal(starting.status, 503);
  assert.deepEqual(starting.body, {
    ready: false,
    reasons: ["no routing table loaded yet"],
    table: null,
    database: { configured: true, readable: false, following: "tables", server: null, last_error: "connection refused" },
    workers: { serving: 1, total: 1 },
  });
  const workers = [workerStatus({ state: "draining" })];
  const stopping = await adminOf({ drain: () => DRAINING, workers: () => workers }).json("/readyz");
  assert.deepEqual([stopping.status, stopping.body.reasons], [503, ["shutting down"]]);
  assert.deepEqual(stopping.body.drain, DRAIN_VIEW);
});

test("GET /readyz is 503 while no worker serves, and counts each number once", async () => {
  const readiness = async (...states: WorkerState[]) => {
    const workers = states.map((state, index) => workerStatus({ worker: index % 2 + 1, state }));
    const { status, body } = await adminOf({ workers: () => workers }).json("/readyz");
    return [status, body.reasons, body.workers];
  };
  assert.deepEqual(await readiness("starting", "silent"), [503, ["no worker is serving"], { serving: 0, total: 2 }]);
  assert.deepEqual(await readiness("restarting", "serving"), [200, [], { serving: 1, total: 2 }]);
  assert.deepEqual(await readiness("serving", "serving", "draining"), [200, [], { serving: 2, total: 2 }]);
  assert.deepEqual((await readiness())[0], 503);
});

test("GET /readyz is 503 while a worker answers requests without a table", async () => {
  const workers = [workerStatus({ worker: 1 }), workerStatus({ worker: 2, revision: 0 })];
  const { status, body } = await adminOf({ workers: () => workers }).json("/readyz");
  assert.deepEqual([status, body.reasons], [503, ["a worker serves without the routing table"]]);
});

test("GET /readyz stays 200 and says stale while the database is away", async () => {
  const { status, body } = await adminOf({ refreshStatus: () => ({ ...LOADED, lastError: "no answer" }) }).json("/readyz");
  assert.deepEqual([status, body.table.stale, body.database.readable], [200, true, false]);
});

test("GET /readyz keeps the database's error from those without the token", async () => {
  const admin = adminOf({ token: "secret", refreshStatus: () => ({ ...LOADED, lastError: "host db.internal" }) });
  assert.deepEqual((await admin.json("/readyz")).body.database, { configured: true, readable: false });
  const shown = await admin.json("/readyz", { headers: { authorization: "Bearer secret" } });
  assert.deepEqual(shown.body.database, {
    configured: true,
    readable: false,
    following: "tables",
    server: null,
    last_error: "host db.internal",
  });
});

test("GET /readyz keeps the details of a drain from those without the token", async () => {
  const admin = adminOf({ token: "secret", drain: () => DRAINING });
  assert.deepEqual((await admin.json("/readyz")).body.drain, { phase: "finishing" });
  assert.deepEqual((await admin.json("/readyz", { headers: { authorization: "Bearer secret" } })).body.drain, DRAIN_VIEW);
});

test("GET /readyz says where the table comes from, and that it is pinned", async () => {
  const table = async (changes: Partial<RefreshStatus>) => {
    const { status, body } = await adminOf({ refreshStatus: () => ({ ...LOADED, ...changes }) }).json("/readyz");
    return [status, body.table.stale, body.table.source, body.table.pinned];
  };
  assert.deepEqual(await table({ tableSource: "last good table" }), [200, true, "last good table", null]);
  const pinned = { revision: 1, sinceAtMs: NOW_MS - 1000, untilAtMs: NOW_MS + 60_000 };
  assert.deepEqual(await table({ pinned }), [200, true, "postgres", {
    revision: 1,
    since: "2023-11-14T22:13:19.000Z",
    until: "2023-11-14T22:14:20.000Z",
  }]);
});

test("GET /api/excluded lists what is left out, ordered by domain, page by page", async () => {
  const admin = adminOf();
  const domains = async (query: string) => {
    const { body } = await admin.json(`/api/excluded?${query}`);
    return [body.excluded.map(({ domain }: { domain: string }) => domain), body.total, body.next === null];
  };
  const first = (await admin.json("/api/excluded?limit=1")).body;
  assert.deepEqual(first, {
    total: 4,
    counts: { "bad_row": 1, conflict: 0, flapping: 0, "bad_policy": 0 },
    excluded: [{ domain: "App.example.com", host: "app.example.com", code: "conflict", reason: "app.example.com has it" }],
    next: first.next,
  });
  assert.deepEqual(await domains(`limit=2&after=${first.next}`), [
    ["aa.example.com", "b_.example.com"],
    4,
    false,
  ]);
  assert.deepEqual(await domains("code=bad_row"), [["aa.example.com", "b_.example.com"], 2, true]);
  assert.deepEqual(await domains("q=APP."), [["App.example.com"], 1, true]);
  assert.deepEqual((await domains("sort=-code"))[0], ["zz.example.com", "App.example.com", "aa.example.com", "b_.example.com"]);
  assert.equal((await admin.json("/api/excluded?after=App.example.com")).body.error, "bad_query");
  assert.equal((await admin.json("/api/excluded?code=other")).status, 400);
});

test("GET /api/revisions lists them newest first", async () => {
  const admin = adminOf();
  const { body } = await admin.json("/api/revisions?limit=2");
  assert.deepEqual([body.revision, body.pinned, body.next], [3, null, 2]);
  assert.deepEqual(body.revisions, [{
    revision: 3,
    time: "2023-11-14T22:12:22.000Z",
    reason: "interval",
    source: "postgres",
    routes: 3,
    added: 4,
    removed: 1,
    changed: 1,
    revisions: 1,
    current: true,
    restorable: true,
  }, {
    revision: 2,
    time: "2023-11-14T22:12:21.000Z",
    reason: "interval",
    source: "postgres",
    routes: 2,
    added: 2,
    removed: 0,
    changed: 0,
    revisions: 1,
    current: false,
    restorable: true,
  }]);
  const older = (await admin.json("/api/revisions?before=2")).body;
  assert.deepEqual([older.revisions.length, older.revisions[0].revision, older.next], [1, 1, null]);
  assert.equal((await admin.json("/api/revisions?before=x")).status, 400);
  const revisions = async (query: string): Promise<number[]> =>
    (await admin.json(`/api/revisions?${query}`)).body.revisions.map(({ revision }: { revision: number }) => revision);
  assert.deepEqual(await revisions("host=Gone.example.com"), [3, 2]);
  assert.deepEqual(await revisions("host=*.preview.example.com"), [3]);
  assert.deepEqual(await revisions("host=nowhere.example.com"), []);
  assert.deepEqual(await revisions("reason=admin"), []);
  const all = await revisions("");
  assert.equal((await admin.json("/api/revisions?limit=1&before=2")).body.total, all.length);
  assert.deepEqual(await revisions("sort=revision"), all.toReversed());
  for (const sort of ["revision", "-revision"]) {
    const paged: number[] = [];
    for (let after: string | null = ""; after !== null;) {
      const { body } = await admin.json(`/api/revisions?limit=1&sort=${sort}&after=${after}`);
      paged.push(...body.revisions.map(({ revision }: { revision: number }) => revision));
      assert.equal(body.total, all.length);
      after = body.next;
    }
    assert.deepEqual(paged, await revisions(`sort=${sort}`), sort);
  }
  assert.deepEqual(await revisions("q=INTERV"), await revisions("reason=interval"));
  assert.deepEqual([await revisions("q=postgr"), await revisions("q=nobody")], [all, []]);
  for (const query of ["sort=time", "after=x", "page=2"]) {
    assert.equal((await admin.json(`/api/revisions?${query}`)).body.error, "bad_query", query);
  }
});

test("GET /api/revisions/:revision shows what it changed, a move to another region with both sides", async () => {
  const admin = adminOf();
  const { status, body } = await admin.json("/api/revisions/3?limit=3");
  assert.equal(status, 200);
  assert.deepEqual(body.changes.map(({ host, change }: { host: string; change: string }) => [host, change]), [
    ["*.preview.example.com", "added"],
    ["[2001:db8::1]", "added"],
    ["gone.example.com", "removed"],
  ]);
  assert.equal(body.next, "gone.example.com");
  const last = (await admin.json(`/api/revisions/3?after=${body.next}`)).body;
  assert.deepEqual([last.changes, last.next], [[{
    host: "shop.example.com",
    change: "changed",
    before: [{ kind: "region", address: "203.0.113.7", port: 80, region: "other" }],
    after: [{ kind: "vm", address: "10.0.0.5", port: 8080, region: HERE }],
  }], null]);
  for (const path of ["/api/revisions/9", "/api/revisions/x", "/api/revisions/3x", "/api/revisions/-1"]) {
    assert.deepEqual((await admin.json(path)).body.error, "no_revision", path);
  }
});

test("POST /api/revisions/:revision/pin pins for an hour or as long as it is told", async () => {
  const pins: (readonly [revision: number, forMs: number])[] = [];
  const admin = adminOf({
    pin: (revision, forMs) => {
      pins.push([revision, forMs]);
      return Promise.resolve(revision === 1 ? "gone" : "pinned");
    },
  });
  const post = (path: string, body?: string) => admin.json(path, { method: "POST", ...body !== undefined && { body } });
  assert.equal((await post("/api/revisions/2/pin")).status, 200);
  assert.equal((await post("/api/revisions/2/pin?expires=1h30m")).status, 200);
  assert.equal((await post("/api/revisions/2/pin", '{"expires":"7d"}')).status, 200);
  assert.deepEqual(pins, [[2, 3_600_000], [2, 5_400_000], [2, 604_800_000]]);
  const gone = await post("/api/revisions/1/pin");
  assert.deepEqual([gone.status, gone.body.error], [409, "not_restorable"]);
  assert.equal((await post("/api/revisions/8/pin")).status, 404);
  for (const expires of ["8d", "0s", "soon", "", "-1h", "1", "169h"]) {
    assert.equal((await post(`/api/revisions/2/pin?expires=${expires}`)).status, 400, expires);
  }
  for (const body of ["nonsense", "[]", '"1h"', '{"expires":5}', '{"until":"1h"}']) {
    assert.equal((await post("/api/revisions/2/pin", body)).status, 400, body);
  }
  assert.equal(pins.length, 4);
});

test("DELETE /api/revisions/pin ends the pin", async () => {
  let unpinned = 0;
  const admin = adminOf({ unpin: () => Promise.resolve(unpinned++) });
  const { status, body } = await admin.json("/api/revisions/pin", { method: "DELETE" });
  assert.deepEqual([status, body, unpinned], [200, { revision: 3, routes: 2, pinned: null }, 1]);
});

test("GET /api/drain tells how far the drain is and what generations before this one have left", async () => {
  assert.deepEqual((await adminOf().json("/api/drain")).body, { drain: null, predecessors: [] });
  const predecessors: Predecessor[] = [
    { pid: 41, version: "1.2.2", sinceAtMs: NOW_MS - 60_000, left: { exchanges: 0, tunnels: 2, connections: 2 } },
    { pid: 40, version: "1.2.1", sinceAtMs: NOW_MS, left: null },
  ];
  const { body } = await adminOf({ drain: () => DRAINING, predecessors: () => predecessors }).json("/api/drain");
  assert.deepEqual(body, {
    drain: DRAIN_VIEW,
    predecessors: [
      { pid: 41, version: "1.2.2", since: "2023-11-14T22:12:20.000Z", exchanges: 0, tunnels: 2, connections: 2 },
      { pid: 40, version: "1.2.1", since: "2023-11-14T22:13:20.000Z", exchanges: null, tunnels: null, connections: null },
    ],
  });
});

test("GET /api/workers and /api/drain ask the workers first", async () => {
  for (const path of ["/api/workers", "/api/drain"]) {
    let worker = workerStatus({ state: "silent" });
    let drain: DrainStatus | null = null;
    const collect = () => {
      worker = workerStatus();
      drain = DRAINING;
      return Promise.resolve();
    };
    const { body } = await adminOf({ collect, workers: () => [worker], drain: () => drain }).json(path);
    assert.equal(body.workers?.[0].state ?? body.drain?.phase, path === "/api/drain" ? "finishing" : "serving");
  }
});

test("GET /api/workers and /api/settings, which are whole, refuse parameters of pages", async () => {
  for (const path of ["/api/workers", "/api/settings"]) {
    assert.equal((await adminOf().json(`${path}?limit=1`)).body.error, "bad_query", path);
  }
});

test("GET /api/workers tells the workers apart", async () => {
  const metrics = new Metrics();
  metrics.connectionsOpen = 7;
  metrics.exchangesActive = 2;
  metrics.recordExchange("forwarded", 200, 0.001);
  const workers = [
    workerStatus({ worker: 1, metrics: metrics.snapshot(), heardAtMs: NOW_MS - 500, answerMs: 1.23456 }),
    workerStatus({ worker: 2, state: "restarting", pid: null, restarts: 4, revision: 0, revisionsBehind: 3, ...NEVER_HEARD }),
  ];
  const { body } = await adminOf({ workers: () => workers }).json("/api/workers");
  assert.deepEqual(body.workers, [{
    worker: 1,
    pid: 4711,
    state: "serving",
    since: "2023-11-14T22:13:10.000Z",
    restarts: 0,
    connections: 7,
    exchanges: 2,
    tunnels: 0,
    requests: 1,
    memory_bytes: 80_000_000,
    cpu_seconds: 1.25,
    stall_ms: 3,
    revision: 3,
    revisions_behind: 0,
    answered: "2023-11-14T22:13:19.500Z",
    answered_ms: 1.235,
    silent_ms: 500,
  }, {
    worker: 2,
    pid: null,
    state: "restarting",
    since: "2023-11-14T22:13:10.000Z",
    restarts: 4,
    connections: null,
    exchanges: null,
    tunnels: null,
    requests: null,
    memory_bytes: null,
    cpu_seconds: null,
    stall_ms: null,
    revision: 0,
    revisions_behind: 3,
    answered: null,
    answered_ms: null,
    silent_ms: null,
  }]);
});

test("GET /metrics answers in the Prometheus text format", async () => {
  const response = await adminOf().ask("/metrics");
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  assert.match(await response.text(), /^edgeproxy_table_age_seconds 1\.5$/m);
});

test("GET /api/routes pages through the table in order of hosts", async () => {
  const hosts: string[] = [];
  for (let i = 0; i < 500; i++) {
    const host = `h${String((i * 7) % 500).padStart(3, "0")}.example.com`;
    hosts.push(host);
  }
  const table = routesOf(hosts.map(route));
  const admin = adminOf({ routes: () => table });
  const seen: string[] = [];
  let after: string | null = "";
  let pages = 0;
  while (after !== null) {
    const { body }: { body: { routes: RouteRecord[]; next: string | null; total: number } } = await admin.json(
      `/api/routes?limit=120&after=${after}`,
    );
    assert.equal(body.total, 500);
    seen.push(...body.routes.map((shown) => shown.host));
    after = body.next;
    pages++;
  }
  assert.equal(pages, 5);
  assert.deepEqual(seen, hosts.sort());
});

test("GET /api/routes filters by part of a host", async () => {
  const { body } = await adminOf().json("/api/routes?q=PREVIEW");
  assert.deepEqual(body, {
    revision: 3,
    total: 1,
    routes: [{ host: "*.preview.example.com", endpoints: [{ kind: "vm", address: "10.0.0.5", port: 8080, region: HERE }] }],
    next: null,
  });
});

test("GET /api/routes filters by region, kind and wildcard, and sorts both ways", async () => {
  const table = routesOf([route("b.example.com"), route("*.a.example.com"), { ...route("c.example.com"), endpoints: [ELSEWHERE] }]);
  const hosts = async (query: string): Promise<string[]> => {
    const { body } = await adminOf({ routes: () => table }).json(`/api/routes?${query}`);
    assert.equal(body.total, body.routes.length);
    return body.routes.map(({ host }: RouteRecord) => host);
  };
  assert.deepEqual(await hosts(`region=${HERE.toUpperCase()}`), ["*.a.example.com", "b.example.com"]);
  assert.deepEqual(await hosts("kind=region"), ["c.example.com"]);
  assert.deepEqual(await hosts("wildcard=true"), ["*.a.example.com"]);
  assert.deepEqual(await hosts("wildcard=false&sort=-host"), ["c.example.com", "b.example.com"]);
  assert.deepEqual(await hosts("region=other&kind=vm"), []);
});

test("GET /api/routes refuses a query it does not understand", async () => {
  for (const query of ["limit=0", "limit=1001", "limit=many", "offset=3"]) {
    const { status, body } = await adminOf().json(`/api/routes?${query}`);
    assert.deepEqual([status, body.error], [400, "bad_query"], query);
  }
});

test("GET /api/routes/:host shows one route, however its host is written", async () => {
  const admin = adminOf();
  for (
    const host of ["shop.example.com", "SHOP.example.com.", "*.preview.example.com", "%2A.preview.example.com", "[2001:DB8::1]"]
  ) {
    assert.equal((await admin.json(`/api/routes/${host}`)).status, 200, host);
  }
  for (const host of ["pr-7.preview.example.com", "nobody.example.com", "%20", "%ff"]) {
    const { status, body } = await admin.json(`/api/routes/${host}`);
    assert.deepEqual([status, body.error], [404, "no_route"], host);
  }
});

test("GET /api/routes/:host says what there is instead of a route: the reason, or the routes file", async () => {
  const excluded = [{ domain: "bad.test", host: "bad.test", code: "bad_policy", reason: "its policy is wrong: x" }] as const;
  const admin = adminOf({ excluded: () => excluded, policies: () => POLICIES });
  const message = async (host: string) => (await admin.json(`/api/routes/${host}`)).body.message;
  assert.equal(await message("BAD.test"), 'The routing table has no host "BAD.test": bad_policy, its policy is wrong: x');
  assert.equal(
    await message("app.example.com"),
    'The routing table has no host "app.example.com". Policies have routes that may fit it: /api/policies/routes lists them',
  );
  assert.equal(await message("nobody.test"), 'The routing table has no host "nobody.test"');
});

test("GET /api/health lists the endpoints in use", async () => {
  const health: EndpointHealth = {
    endpoint: route("a").endpoints[0]!,
    verdict: "unhealthy",
    state: "resting",
    sinceAtMs: NOW_MS,
    lastProbeAtMs: NOW_MS,
    latencyMs: 1.23456,
    reason: "connection refused",
    consecutive: 2,
    nextProbeAtMs: null,
  };
  const { body } = await adminOf({ endpointHealth: () => [health] }).json("/api/health");
  assert.deepEqual(body, {
    endpoints: [{
      key: "vm/10.0.0.5:8080",
      address: "10.0.0.5",
      port: 8080,
      region: HERE,
      verdict: "unhealthy",
      state: "resting",
      since: "2023-11-14T22:13:20.000Z",
      reason: "connection refused",
      consecutive: 2,
      latency_ms: 1.235,
      last_probe: "2023-11-14T22:13:20.000Z",
      next_probe: null,
    }],
  });
});

test("GET /api/regions lists the regions and says which one is here", async () => {
  const { body } = await adminOf().json("/api/regions");
  assert.deepEqual(body, {
    total: 2,
    regions: [{ id: HERE, public_ipv4: null, here: true }, { id: "other", public_ipv4: "203.0.113.7", here: false }],
    next: null,
  });
  assert.equal((await adminOf().json("/api/regions?here=false&sort=-id")).body.regions[0].id, "other");
  assert.equal((await adminOf().json("/api/regions?q=203.0.113")).body.total, 1);
});

test("POST /api/refresh runs a refresh and answers its result", async () => {
  let status = LOADED;
  const admin = adminOf({
    refreshStatus: () => status,
    refreshNow: (reason) => {
      assert.equal(reason, "admin");
      status = { ...status, revision: 4, routes: 9 };
      return Promise.resolve();
    },
  });
  const { status: code, body } = await admin.json("/api/refresh", { method: "POST" });
  assert.equal(code, 200);
  assert.deepEqual(body, {
    ok: true,
    changed: true,
    revision: 4,
    routes: 9,
    held_removals: 0,
    held_policies: 0,
    kept_policies: 0,
    bad_rows: 1,
    duration_ms: 12.3,
    error: null,
  });
});

test("POST /api/refresh answers 502 when the database cannot be read", async () => {
  const { status, body } = await adminOf({ refreshStatus: () => ({ ...LOADED, lastError: "timeout" }) }).json("/api/refresh", {
    method: "POST",
  });
  assert.deepEqual([status, body.ok, body.error], [502, false, "timeout"]);
});

test("adminApp() answers unknown paths with 404 and wrong methods with 405, as JSON", async () => {
  const admin = adminOf();
  assert.deepEqual((await admin.json("/api/nothing")).body, { error: "not_found", message: "There is no /api/nothing" });
  const refused = await admin.json("/api/refresh");
  assert.deepEqual([refused.status, refused.body.error, refused.headers.get("allow")], [405, "method_not_allowed", "POST"]);
  assert.equal((await admin.json("/metrics", { method: "DELETE" })).headers.get("allow"), "GET, HEAD");
  assert.equal((await admin.ask("/healthz", { method: "HEAD" })).status, 200);
});

test("adminApp() answers 500 and logs when something of ours fails", async () => {
  const admin = adminOf({
    endpointHealth: () => {
      throw new Error("broken");
    },
  });
  const { status, body } = await admin.json("/api/health");
  assert.deepEqual([status, body.error], [500, "internal"]);
  assert.deepEqual(admin.log.take(), ["error admin request failed"]);
});
