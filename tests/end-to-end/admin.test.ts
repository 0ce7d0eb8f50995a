/** Contract section 10: every path of the admin address, who may use it, and that its figures are right. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { metric, reaches } from "../fixtures/served-vms.ts";
import { type Edgeproxy, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform, send } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, rawRequest } from "../fixtures/raw-client.ts";
import { respond, sendRaw } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";
const TOKEN = "correct-horse-battery-staple";
const OPEN_PATHS = ["/healthz", "/readyz"];
const GUARDED_PATHS = ["/metrics", "/api/routes", `/api/routes/${HOST}`, "/api/health", "/api/regions"];

async function json(edge: Edgeproxy, path: string): Promise<Record<string, unknown>> {
  const response = await edge.admin(path);
  assert.equal(response.status, 200, path);
  assert.match(response.headers.get("content-type") ?? "", /^application\/json\b/);
  return await response.json() as Record<string, unknown>;
}

test("admin address tells that the process is alive and ready", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge();
  assert.equal((await json(edge, "/healthz"))["status"], "alive");
  const { ready, reasons, table, database } = await json(edge, "/readyz");
  assert.deepEqual([ready, reasons], [true, []]);
  const { age_seconds: age, ...rest } = table as Record<string, unknown>;
  assert.deepEqual(rest, {
    revision: 1,
    routes: 1,
    stale: false,
    held_removals: 0,
    held_policies: 0,
    bad_rows: 0,
    excluded: { "bad_row": 0, conflict: 0, flapping: 0, "bad_policy": 0 },
    source: "postgres",
    pinned: null,
  });
  assert.ok(typeof age === "number" && age >= 0);
  const { port } = new URL(platform.database.url);
  assert.deepEqual(database, {
    configured: true,
    readable: true,
    following: "tables",
    server: `127.0.0.1:${port}`,
    last_error: null,
  });
});

test("admin address says that the proxy shuts down while it still serves what is running", async () => {
  await using platform = await Platform.start(server);
  const answer = Promise.withResolvers<void>();
  const vm = await platform.vm(HOST, {
    script: async (request, connection) => {
      await answer.promise;
      await respond(200, "late")(request, connection);
    },
  });
  const edge = await platform.edge({ EDGEPROXY_SHUTDOWN_TIMEOUT: "20s" });
  const response = get(edge, HOST);
  await vm.until((each) => each.requests.length === 1);
  edge.signal("SIGTERM");
  await edge.waitFor(async () => (await edge.admin("/readyz")).status === 503, "stays ready");
  const { ready, reasons } = await (await edge.admin("/readyz")).json() as Record<string, unknown>;
  assert.deepEqual([ready, reasons], [false, ["shutting down"]]);
  assert.equal((await edge.admin("/healthz")).status, 200);
  answer.resolve();
  assert.equal((await response).body.toString(), "late");
  assert.equal(await edge.exited, 0);
});

test("admin address lists the routes page by page, or shows one", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("b.example.com");
  await platform.vm("*.wild.example.com");
  const there = await platform.addRegion();
  await platform.route("a.example.com", { address: "10.99.0.1", port: 80, region: there });
  const edge = await platform.edge();

  const all = await json(edge, "/api/routes") as { total: number; routes: { host: string }[]; next: unknown };
  assert.deepEqual([all.total, all.next, all.routes.map(({ host }) => host)], [3, null, [
    "*.wild.example.com",
    "a.example.com",
    "b.example.com",
  ]]);
  const page = await json(edge, "/api/routes?limit=1&after=*.wild.example.com");
  assert.deepEqual(page["routes"], [{
    host: "a.example.com",
    endpoints: [{ kind: "region", address: there.address, port: platform.edgePort, region: there.id }],
  }]);
  assert.equal(page["next"], "a.example.com");
  const found = await json(edge, "/api/routes?q=WILD") as { routes: { host: string }[] };
  assert.deepEqual(found.routes.map(({ host }) => host), ["*.wild.example.com"]);
  assert.equal((await edge.admin("/api/routes?limit=0")).status, 400);
  assert.equal((await edge.admin("/api/routes?size=5")).status, 400);

  assert.deepEqual(await json(edge, "/api/routes/B.example.com."), {
    host: "b.example.com",
    endpoints: [{ kind: "vm", address: vm.host, port: vm.port, region: platform.region.id }],
  });
  assert.equal((await json(edge, "/api/routes/*.wild.example.com"))["host"], "*.wild.example.com");
  assert.equal((await edge.admin("/api/routes/nobody.example.com")).status, 404);
});

test("admin address shows the health of VMs in use, and the regions", async () => {
  await using platform = await Platform.start(server);
  const healthy = await platform.vm(HOST);
  const sick = await platform.vm("sick.example.com", { healthStatus: 500 });
  await platform.vm("unused.example.com");
  const there = await platform.addRegion();
  const edge = await platform.edge({ EDGEPROXY_HEALTH_INTERVAL: "1h" });
  assert.deepEqual(await json(edge, "/api/health"), { endpoints: [] });
  await get(edge, HOST);
  await get(edge, "sick.example.com");
  const { endpoints } = await json(edge, "/api/health") as { endpoints: Record<string, unknown>[] };
  const shown = endpoints.map(({ key, verdict, reason, consecutive }) => ({ key, verdict, reason, consecutive }));
  const byKey = (a: { key: unknown }, b: { key: unknown }): number => String(a.key) < String(b.key) ? -1 : 1;
  assert.deepEqual(
    shown.sort(byKey),
    [
      { key: `vm/${healthy.host}:${healthy.port}`, verdict: "healthy", reason: "status 200", consecutive: 1 },
      { key: `vm/${sick.host}:${sick.port}`, verdict: "unhealthy", reason: "status 500", consecutive: 1 },
    ].sort(byKey),
  );
  for (const endpoint of endpoints) assert.ok(Date.parse(String(endpoint["last_probe"])) > 0);

  const { regions } = await json(edge, "/api/regions") as { regions: Record<string, unknown>[] };
  assert.deepEqual(regions.sort((a, b) => Number(b["here"]) - Number(a["here"])), [
    { id: platform.region.id, public_ipv4: platform.region.address, here: true },
    { id: there.id, public_ipv4: there.address, here: false },
  ]);
});

test("admin address knows its paths and methods, and no others", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  assert.equal((await edge.admin("/api/nothing")).status, 404);
  const get = await edge.admin("/api/refresh");
  assert.deepEqual([get.status, get.headers.get("allow")], [405, "POST"]);
  const post = await edge.admin("/api/routes", { method: "POST" });
  assert.deepEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
  assert.equal((await edge.admin("/api/refresh", { method: "POST" })).status, 200);
});

test("admin address wants its token, except for health and readiness", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge({ EDGEPROXY_ADMIN_TOKEN: TOKEN });
  const status = async (path: string, token: string | null, method = "GET"): Promise<number> => {
    const headers: Record<string, string> = token === null ? {} : { Authorization: token };
    const response = await fetch(edge.adminUrl + path, { method, headers });
    const text = await response.text();
    if (response.status === 401) {
      assert.match(response.headers.get("www-authenticate") ?? "", /^Bearer\b/);
      assert.doesNotMatch(text, /example\.com|edgeproxy_routes/);
    }
    return response.status;
  };
  for (const path of OPEN_PATHS) assert.equal(await status(path, null), 200, path);
  let guesses = 0;
  for (const path of [...GUARDED_PATHS, "/api/refresh", "/nothing"]) {
    const method = path === "/api/refresh" ? "POST" : "GET";
    for (const wrong of [null, "Bearer", "Bearer wrong", `Bearer ${TOKEN}x`, `Basic ${TOKEN}`, TOKEN]) {
      if (wrong?.startsWith("Bearer ") === true) guesses++;
      const refused = wrong?.startsWith("Bearer ") === true && guesses > 10 ? 429 : 401; // the right one is heard all the same
      assert.equal(await status(path, wrong, method), refused, `${path} with ${wrong}`);
    }
    assert.equal(await status(path, `Bearer ${TOKEN}`, method), path === "/nothing" ? 404 : 200, path);
  }
  const anonymous = await (await fetch(`${edge.adminUrl}/readyz`)).json() as { database: object };
  assert.deepEqual(anonymous.database, { configured: true, readable: true }, "details are for those with the token");
});

test("admin address without a token refuses other web sites' requests", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  const ask = async (...lines: string[]): Promise<number> => {
    return (await rawRequest(edge.adminPort, [...lines, "Content-Length: 0", "", ""].join("\r\n"))).status;
  };
  assert.equal(await ask("GET /api/routes HTTP/1.1", `Host: 127.0.0.1:${edge.adminPort}`), 200);
  assert.equal(await ask("GET /api/routes HTTP/1.1", `Host: localhost:${edge.adminPort}`), 200);
  assert.equal(await ask("GET /api/routes HTTP/1.1", `Host: evil.example:${edge.adminPort}`), 403, "a name that points to us");
  const refresh = ["POST /api/refresh HTTP/1.1", `Host: 127.0.0.1:${edge.adminPort}`];
  assert.equal(await ask(...refresh), 200);
  assert.equal(await ask(...refresh, "Origin: https://evil.example"), 403);
  assert.equal(await ask(...refresh, "Sec-Fetch-Site: cross-site"), 403);
});

test("edgeproxy refuses to start with an admin address for others but no token", async () => {
  const run = await runEdgeproxy(["serve"], {
    env: {
      EDGEPROXY_ADMIN_ADDR: `:${await freePort()}`,
      EDGEPROXY_REGION_ID: crypto.randomUUID(),
      EDGEPROXY_DATABASE_URL: server.url,
    },
  });
  assert.equal(run.exitCode, 2);
  assert.match(run.stdout + run.stderr, /EDGEPROXY_ADMIN_TOKEN: is required/);
});

test("admin paths are never answered on the data plane's port", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST, { script: respond(200, "from the VM") });
  const edge = await platform.edge();
  const paths = [...OPEN_PATHS, ...GUARDED_PATHS];
  const adminHosts = [`127.0.0.1:${edge.adminPort}`, `127.0.0.1:${edge.port}`, "localhost", `${edge.host}:${edge.port}`];
  for (const path of paths) {
    for (const host of adminHosts) assert.equal((await get(edge, host, path)).body.toString(), "Service Not Found");
    assert.equal((await get(edge, HOST, path)).body.toString(), "from the VM", "a VM may have paths of that name");
    const absolute = `GET http://127.0.0.1:${edge.adminPort}${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
    assert.equal((await send(edge, absolute)).status, 404);
  }
  assert.equal(vm.requests.length, paths.length);
});

test("edgeproxy has no admin address when it is off", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge({ EDGEPROXY_ADMIN_ADDR: "off" }, { ready: false });
  await edge.waitForLog((line) => line["msg"] === "ready");
  assert.equal((await get(edge, HOST)).status, 200);
  await assert.rejects(openRaw(edge.adminPort), /ECONNREFUSED/);
  assert.ok(!edge.log.some((line) => line["msg"] === "admin listening"));
});

test("metrics count requests by outcome, errors by code, connections and probes", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  await platform.vm("sick.example.com", { healthStatus: 500 });
  await platform.route("far.example.com", { address: "10.99.0.1", port: 80, region: await platform.addRegion() });
  const edge = await platform.edge({ EDGEPROXY_HEALTH_INTERVAL: "1h" });

  // On one connection, so that the VM's connection is used again
  await using client = await openRaw(edge.port, edge.host);
  for (const status of [200, 200, 204, 302, 404, 500]) {
    vm.script = respond(status, "x".repeat(100));
    client.send(getRequest(HOST));
    assert.equal((await client.readResponse()).status, status);
  }
  for (let i = 0; i < 3; i++) await get(edge, "nobody.example.com");
  for (let i = 0; i < 2; i++) await get(edge, "sick.example.com");
  await get(edge, "far.example.com");
  await send(edge, "nonsense\r\n\r\n");
  vm.script = sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "reset");
  await using cut = await openRaw(edge.port, edge.host);
  cut.send(getRequest(HOST));
  await cut.ended;

  const expected: Readonly<Record<string, number>> = {
    'edgeproxy_requests_total{outcome="forwarded",status_class="2xx"}': 3,
    'edgeproxy_requests_total{outcome="forwarded",status_class="3xx"}': 1,
    'edgeproxy_requests_total{outcome="forwarded",status_class="4xx"}': 1,
    'edgeproxy_requests_total{outcome="forwarded",status_class="5xx"}': 1,
    'edgeproxy_requests_total{outcome="refused",status_class="4xx"}': 4,
    'edgeproxy_requests_total{outcome="refused",status_class="5xx"}': 3,
    'edgeproxy_requests_total{outcome="truncated",status_class="2xx"}': 1,
    'edgeproxy_routing_errors_total{code="no_route"}': 3,
    'edgeproxy_routing_errors_total{code="vm_unhealthy"}': 2,
    'edgeproxy_routing_errors_total{code="connect_failed"}': 1,
    'edgeproxy_routing_errors_total{code="bad_request"}': 1,
    'edgeproxy_routing_errors_total{code="loop"}': 0,
    "edgeproxy_request_duration_seconds_count": 14,
    'edgeproxy_upstream_connects_total{result="connected"}': 1,
    'edgeproxy_upstream_connects_total{result="failed"}': 1,
    "edgeproxy_upstream_reuses_total": 6,
    'edgeproxy_probes_total{result="unhealthy"}': 1,
    "edgeproxy_routes": 3,
    "edgeproxy_table_revision": 1,
    'edgeproxy_refreshes_total{result="succeeded"}': 1,
    'edgeproxy_refreshes_total{result="failed"}': 0,
    "edgeproxy_connections": 1,
  };
  await reaches(edge, expected);
  assert.ok(await metric(edge, 'edgeproxy_probes_total{result="healthy"}') >= 1);
  assert.ok(await metric(edge, 'edgeproxy_bytes_total{direction="out"}') > 600);
  assert.ok(await metric(edge, "edgeproxy_table_age_seconds") < 600);
});

test("metrics are what Prometheus reads: every series with help and type, the histogram cumulative", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge();
  await get(edge, HOST);
  const response = await edge.admin("/metrics");
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).split("\n").filter((line) => line !== "");
  const declared = new Set(lines.filter((line) => line.startsWith("# TYPE ")).map((line) => line.split(" ")[2]!));
  const helped = new Set(lines.filter((line) => line.startsWith("# HELP ")).map((line) => line.split(" ")[2]!));
  assert.deepEqual(declared, helped);
  const samples = lines.filter((line) => !line.startsWith("#"));
  for (const sample of samples) {
    assert.match(sample, /^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (-?[\d.e+-]+|\+Inf)$/);
    const name = sample.split(/[{ ]/)[0]!;
    assert.ok(declared.has(name) || declared.has(name.replace(/_(bucket|sum|count)$/, "")), name);
  }
  assert.equal(new Set(samples.map((sample) => sample.slice(0, sample.lastIndexOf(" ")))).size, samples.length, "no series twice");
  const buckets = samples.filter((sample) => sample.startsWith("edgeproxy_request_duration_seconds_bucket"));
  const counts = buckets.map((bucket) => Number(bucket.split(" ").at(-1)));
  assert.deepEqual(counts, [...counts].sort((a, b) => a - b));
  assert.match(buckets.at(-1)!, /le="\+Inf"\} 1$/);
});
