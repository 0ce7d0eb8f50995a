/** The routes file: the contract's notation becomes policies, and whatever is wrong is told with its place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FilePolicies } from "../../src/table/policy.ts";
import { type ParsedFile, parseRoutesFile } from "../../src/sources/routes-file.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";

function read(text: string, files: Readonly<Record<string, string>> = {}): ParsedFile {
  return parseRoutesFile(text, {
    file: "routes.yaml",
    regionId: HERE,
    readFile: (path) => {
      if (files[path] === undefined) throw new Error(`no such file ${path}`);
      return files[path];
    },
  });
}

function policiesOf(text: string): FilePolicies {
  const reading = read(text);
  assert.ok("policies" in reading, JSON.stringify(reading));
  return reading.policies;
}

function problemsOf(text: string): string[] {
  const reading = read(text);
  assert.ok("problems" in reading, "expected problems");
  return [...reading.problems];
}

function warningsOf(text: string): string[] {
  const reading = read(text);
  assert.ok("policies" in reading, JSON.stringify(reading));
  return [...reading.warnings];
}

/** Section 12 of the contract, with one target and every name defined. */
const CONTRACT = `
services:
  users:
    endpoints:
      - { url: "http://10.0.0.5:8080", weight: 3, region: "${THERE}" }
      - { url: "http://10.0.0.6:8080" }
    balance: p2c
    hashKey: "header:X-User"
    sticky: { cookie: edge_sticky, ttl: 1h }
    health: { path: /health, method: GET, status: "200-399", interval: 10s, timeout: 5s, unhealthyAfter: 3, healthyAfter: 2, type: http }
    ejection: { errors: 3, window: 10s, time: 10s, maxShare: 0.5 }
    retry: { attempts: 2, on: [connect, 502, "503-504"], budget: 0.2, backoff: 25ms, maxBodySize: 64KiB }
    breaker: { failures: 5, failureRate: 0.5, minRequests: 10, window: 10s, openFor: 30s, halfOpenRequests: 1 }
    limits: { soft: 20, hard: 0, queue: 100, queueTimeout: 5s }
    timeouts: { connect: 2s, response: 60s, idle: 5m }
    tls: { verify: true, serverName: users.internal, caFile: /etc/ca.pem }
  users-v2: { endpoints: [{ url: "http://[2001:db8::1]:81/" }] }
  maintenance-page: { endpoints: [] }
routes:
  - id: users-api
    hosts: [App.Example.com., "*.users.example.com"]
    path: /api/users/
    methods: [GET, POST]
    match: { headers: { X-Env: beta }, cookies: { Side: { prefix: b } }, query: { v: { pattern: "^[0-9]+$" }, w: { present: true } }, routeKey: sandbox-123 }
    priority: 0
    split: [{ service: users, weight: 90 }, { service: users-v2, weight: 10 }]
    splitKey: client-ip
    rewrite: { stripPrefix: /api, addPrefix: /v1, pattern: "^/old/(.*)", to: "/new/$1" }
    headers: { request: { set: { X-Gateway: edge }, add: {}, remove: [Cookie] }, response: { set: {}, add: {}, remove: [] } }
    rateLimit: { requests: 100, window: 1s, burst: 20, key: client-ip }
    maxBodySize: 10MiB
    maintenance: { enabled: true, body: "…", service: maintenance-page }
  - { hosts: [www.example.com], redirect: { to: "https://www.example.com", status: 308 } }
  - { hosts: [old.example.com], respond: { status: 503, body: "back soon", headers: {} } }
sandbox: { routeKeyHeader: X-Route-Key, carriers: [header, baggage, tracestate, cookie, host], trust: trusted-proxies }
routing:
  routeKeyHeader: X-Route-Key
  defaultTarget: "http://default-service:8080"
  rules:
    - { routeKey: sandbox-123, targetService: "http://10.0.0.9:8080", pathPrefixes: [/api/v1], headerMatchers: { Content-Type: application/json }, additionalHeaders: { X-Environment: sandbox } }
server: { httpPort: 8080, grpcPort: 9090, metricsPort: 9091 }
`;

test("parseRoutesFile() reads the services of the contract's example", () => {
  const { services } = policiesOf(CONTRACT);
  assert.deepEqual(services.map(({ name }) => name), ["users", "users-v2", "maintenance-page", "sandbox-1", "sandbox-default"]);
  const [users, second] = services;
  assert.deepEqual(users?.endpoints, [
    {
      key: "region/10.0.0.5:8080@users",
      kind: "region",
      address: "10.0.0.5",
      port: 8080,
      region: THERE,
      service: "users",
      weight: 3,
    },
    { key: "vm/10.0.0.6:8080@users", kind: "vm", address: "10.0.0.6", port: 8080, region: HERE, service: "users", weight: 1 },
  ]);
  assert.equal(second?.endpoints?.[0]?.key, "vm/[2001:db8::1]:81@users-v2");
  const { hashKey, sticky, health, retry, breaker, limits, timeouts } = users!.policy;
  assert.deepEqual(hashKey, { kind: "header", name: "x-user" });
  assert.deepEqual(sticky, { cookie: "edge_sticky", ttlMs: 3_600_000 });
  assert.deepEqual(health?.status, [{ from: 200, to: 399 }]);
  assert.deepEqual(retry?.on, ["connect"]);
  assert.deepEqual(retry?.statuses, [{ from: 502, to: 502 }, { from: 503, to: 504 }]);
  assert.equal(retry?.maxBodyBytes, 65_536);
  assert.deepEqual([breaker?.windowMs, breaker?.openForMs, breaker?.strategy], [10_000, 30_000, "retry-elsewhere"]);
  assert.deepEqual(limits, { soft: 20, hard: 0, queue: 100, queueTimeoutMs: 5000 });
  assert.deepEqual(timeouts, { connectMs: 2000, responseMs: 60_000, idleMs: 300_000 });
});

test("parseRoutesFile() reads the routes of the contract's example", () => {
  const { routes, sandbox } = policiesOf(CONTRACT);
  const ids = ["sandbox-rule-1", "users-api", "www.example.com/", "old.example.com/", "sandbox-default"];
  assert.deepEqual(routes.map(({ id }) => id), ids);
  const api = routes[1]!;
  assert.deepEqual(api.hosts, ["app.example.com", "*.users.example.com"]);
  assert.deepEqual(api.match.path, { kind: "prefix", value: "/api/users" });
  assert.deepEqual(api.match.headers, [{ name: "x-env", matcher: { kind: "equal", value: "beta" } }]);
  assert.deepEqual(api.match.cookies, [{ name: "Side", matcher: { kind: "prefix", value: "b" } }]);
  const query = [{ name: "v", matcher: { kind: "pattern", pattern: "^[0-9]+$" } }, { name: "w", matcher: { kind: "present" } }];
  assert.deepEqual(api.match.query, query);
  assert.deepEqual(api.split, [{ service: "users", share: 9000 }, { service: "users-v2", share: 1000 }]);
  assert.deepEqual(api.requestFields, { set: [["X-Gateway", "edge"]], add: [], remove: ["cookie"] });
  assert.deepEqual(api.rateLimit, { requests: 100, windowMs: 1000, burst: 20, key: { kind: "client-ip" } });
  assert.equal(api.maxBodyBytes, 10_485_760);
  assert.equal(api.maintenance?.service, "maintenance-page");
  assert.deepEqual(routes[2]?.redirect, { to: "https://www.example.com", scheme: null, host: null, status: 308 });
  assert.deepEqual(routes[3]?.respond, { status: 503, body: "back soon", headers: [] });
  assert.equal(sandbox.trust, "trusted-proxies");
});

test("parseRoutesFile() makes routes of the sandbox router's rules, first ones first, above what claims no priority", () => {
  const rule = (key: string, more: string) => `{ routeKey: ${key}, targetService: "http://10.0.0.9:80", ${more} }`;
  const { routes, services } = policiesOf(`
routing:
  defaultTarget: http://default-service
  rules: [${rule("a", "pathPrefixes: [/x, /y/]")}, ${rule("a", "headerMatchers: { X-A: b }")}]`);
  assert.deepEqual(routes.map(({ id, priority, match }) => [id, priority > 0 && priority < 1, match.path.value, match.routeKey]), [
    ["sandbox-rule-1-1", true, "/x", "a"],
    ["sandbox-rule-1-2", true, "/y", "a"],
    ["sandbox-rule-2", true, "/", "a"],
    ["sandbox-default", false, "/", null],
  ]);
  assert.ok(routes[1]!.priority > routes[2]!.priority);
  assert.deepEqual(services.map(({ name, endpoints }) => [name, endpoints?.[0]?.address]), [
    ["sandbox-1", "10.0.0.9"],
    ["sandbox-default", "default-service"],
  ]);
});

test("parseRoutesFile() notes what has no effect", () => {
  assert.deepEqual(warningsOf(CONTRACT), [
    "routes.yaml:16:5: services.users.tls: has no effect: no endpoint begins with https://",
    "routes.yaml:41:11: server.httpPort: ignored: set EDGEPROXY_HTTP_ADDR=:8080",
    "routes.yaml:41:27: server.grpcPort: ignored: gRPC has no port of its own",
    "routes.yaml:41:43: server.metricsPort: ignored: set EDGEPROXY_ADMIN_ADDR=127.0.0.1:9091",
  ]);
});

test("parseRoutesFile() tells all problems at once, with line and column", () => {
  assert.deepEqual(
    problemsOf(`services:
  users:
    endpoints: [{ url: "http://10.0.0.5:8080", wieght: 3 }, { url: "10.0.0.6" }]
    balance: round-robbin
    timeouts: { connect: 5 }
routes:
  - pth: /api
    service: user
  - path: api
  - path: /
    split: [{ service: users, weight: 0 }]
  - hosts: ["http://a/"]
    match: { headers: { X-A: { pattern: "(" } } }
    service: users
sevices: {}
`),
    [
      "routes.yaml:3:48: services.users.endpoints[0].wieght: unknown key, did you mean weight?",
      'routes.yaml:3:63: services.users.endpoints[1].url: must be a URL such as http://10.0.0.5:8080 (is "10.0.0.6")',
      "routes.yaml:4:5: services.users.balance: must be one of p2c, round-robin, weighted, least-connections, ip-hash, consistent-hash, " +
      'not "round-robbin", did you mean round-robin?',
      "routes.yaml:5:17: services.users.timeouts.connect: must be a duration such as 250ms, 10s or 1m30s, not 5",
      "routes.yaml:7:5: routes[0].pth: unknown key, did you mean path?",
      'routes.yaml:9:5: routes[1].path: must be a path such as /api, without dot segments, query or spaces (is "api")',
      "routes.yaml:11:5: routes[2].split: has no weight above 0",
      'routes.yaml:12:13: routes[3].hosts[0]: must be a host name such as app.example.com, *.example.com or * (without scheme and path) (is "http://a/")',
      'routes.yaml:13:32: routes[3].match.headers.X-A.pattern: must be a pattern in RE2\'s syntax (missing closing ): `(`) (is "(")',
      "routes.yaml:15:1: sevices: unknown key, did you mean services?",
    ],
  );
});
