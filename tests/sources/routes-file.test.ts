/** The routes file: the contract's notation becomes policies, and whatever is wrong is told with its place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FilePolicies } from "../../src/table/policy.ts";
import { routesFileSchema } from "../../src/sources/policy-schema.ts";
import { parseYaml } from "../../src/sources/yaml-value.ts";
import { type ParsedFile, parseRoutesFile } from "../../src/sources/routes-file.ts";
import { z } from "zod";

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

test("parseRoutesFile() takes numbers and true for texts where the sandbox router does", () => {
  const { routes } = policiesOf(`
routing:
  rules:
    - { routeKey: a, targetService: http://10.0.0.9, headerMatchers: { X-Version: 2 }, additionalHeaders: { X-Sandbox: true, X-Number: 7 } }`);
  assert.deepEqual(routes[0]?.match.headers, [{ name: "x-version", matcher: { kind: "equal", value: "2" } }]);
  assert.deepEqual(routes[0]?.requestFields.set, [["X-Sandbox", "true"], ["X-Number", "7"]]);
});

test("parseRoutesFile() takes empty parts of rules for none, as the sandbox router does", () => {
  const rule = {
    routeKey: "a",
    targetService: "http://10.0.0.9",
    pathPrefixes: null,
    headerMatchers: null,
    additionalHeaders: null,
  };
  const [route] = policiesOf(JSON.stringify({ routing: { defaultTarget: null, rules: [rule] } })).routes;
  assert.deepEqual([route?.match.path.value, route?.match.headers, route?.requestFields.set], ["/", [], []]);
});

test("parseRoutesFile() warns of the sandbox router's rules that nothing gets to, and takes ports that are not said for none", () => {
  const rule = (rest: string) => `    - { routeKey: k, targetService: "http://10.0.0.9:8080", ${rest} }\n`;
  const rules = [
    "pathPrefixes: [/a, /b, /a], headerMatchers: { X-A: 1, X-B: 2 }",
    "pathPrefixes: [/c, /b], headerMatchers: { x-b: 2, x-a: 1 }",
    "pathPrefixes: [/b]",
    "pathPrefixes: []",
    "headerMatchers: {}",
  ].map(rule).join("");
  assert.deepEqual(warningsOf(`server: { httpPort: ~, grpcPort: }\nrouting:\n  rules:\n${rules}`), [
    "routes.yaml:5:7: routing.rules[1]: conflict: for k at /b it matches exactly what routing.rules[0] matches, which comes first",
    "routes.yaml:8:7: routing.rules[4]: conflict: for k at / it matches exactly what routing.rules[3] matches, which comes first",
  ]);
});

test("parseRoutesFile() compares route keys as other values", () => {
  const keyed = (routeKey: unknown) => {
    const [route] = policiesOf(JSON.stringify({ routes: [{ match: { routeKey }, respond: {} }] })).routes;
    return [route?.match.routeKey, route?.match.routeKeyLike];
  };
  assert.deepEqual(keyed("s-1"), ["s-1", undefined]);
  assert.deepEqual(keyed({ exact: "s-1" }), ["s-1", undefined]);
  assert.deepEqual(keyed({ prefix: "s-" }), [null, { kind: "prefix", value: "s-" }]);
  assert.deepEqual(keyed({ pattern: "^s-[0-9]+$" }), [null, { kind: "pattern", pattern: "^s-[0-9]+$" }]);
  assert.deepEqual(keyed({ present: true }), [null, { kind: "present" }]);
  assert.match(problemsOf("routes: [{ match: { routeKey: 'a b' }, respond: {} }]").join(), /routeKey: must be 1 to 128 letters/);
});

test("the schema of the whole, which editors are told of, takes what the file may say", () => {
  const yaml = parseYaml(CONTRACT);
  assert.ok("value" in yaml);
  const read = routesFileSchema.safeParse(yaml.value);
  assert.ok(read.success, JSON.stringify(read.error?.issues));
  assert.equal(routesFileSchema.safeParse({ ...yaml.value as object, sevices: {} }).success, false);
});

test("patterns by which editors check texts are no narrower than ours", () => {
  const taken: Readonly<Record<string, readonly string[]>> = {
    window: ["250ms", "1.5s", "1m30s", "24h"],
    url: ["http://10.0.0.5:8080", "HTTPS://vm.internal/", "http://[2001:db8::1]", "http://a:"],
    key: ["client-ip", "header:X-A", "cookie:a.b", "path", "route-key", "route"],
    id: ["a/b*:@+-", "...", "."],
    routeKeyHeader: ["X-Route-Key", "!#$%&'*+.^_`|~"],
    service: ["vms", "_a-b"],
    region: ["ABCDEF01-1111-4111-8111-111111111111"],
  };
  const checked: [string, string][] = [];
  const look = (node: unknown, key: string): void => {
    if (typeof node !== "object" || node === null) return;
    const { pattern, default: usual } = node as { readonly pattern?: unknown; readonly default?: unknown };
    if (typeof pattern === "string") {
      const texts = [...taken[key] ?? [], ...typeof usual === "string" ? [usual] : []];
      for (const text of texts) checked.push([`${key}: ${text}`, String(new RegExp(pattern, "u").test(text))]);
    }
    for (const [name, part] of Object.entries(node)) look(part, name);
  };
  look(z.toJSONSchema(routesFileSchema, { io: "input" }), "");
  assert.deepEqual(new Set(checked.filter(([, fits]) => fits === "false").map(([what]) => what)), new Set(["id: ."]));
  for (const [key, texts] of Object.entries(taken)) {
    assert.ok(texts.every((text) => checked.some(([what]) => what === `${key}: ${text}`)), key);
  }
});

test("parseRoutesFile() notes what has no effect", () => {
  assert.deepEqual(warningsOf(CONTRACT), [
    "routes.yaml:8:5: services.users.hashKey: has no effect: only balance: consistent-hash goes by it",
    "routes.yaml:16:5: services.users.tls: has no effect: no endpoint begins with https://",
    "routes.yaml:41:11: server.httpPort: ignored: set EDGEPROXY_HTTP_ADDR=:8080",
    "routes.yaml:41:27: server.grpcPort: ignored: gRPC has no port of its own",
    "routes.yaml:41:43: server.metricsPort: ignored: set EDGEPROXY_ADMIN_ADDR=127.0.0.1:9091",
  ]);
  assert.deepEqual(warningsOf("routes: [{ service: vms, splitKey: client-ip }]"), [
    "routes.yaml:1:26: routes[0].splitKey: has no effect without a split, but while the route drains",
  ]);
  const turns = (weights: number[], balance = "round-robin") =>
    warningsOf(
      `services: { a: { balance: ${balance}, endpoints: [${
        weights.map((weight, index) => `{ url: "http://10.0.0.${index}", weight: ${weight} }`).join(", ")
      }] } }`,
    );
  assert.deepEqual(turns([3, 1]), [
    "routes.yaml:1:18: services.a.balance: does not heed weights, but for 0: weighted does, in turn, too",
  ]);
  for (const quiet of [turns([2, 2, 0]), turns([3, 1], "weighted"), turns([3, 1], "p2c")]) assert.deepEqual(quiet, []);
});

test("parseRoutesFile() takes one text where a list may have one, and shares as per cents", () => {
  const { services, routes, sandbox } = policiesOf(`services:
  a:
    endpoints: [{ url: "http://10.0.0.5" }]
    retry: { on: connect, budget: 10% }
    ejection: { maxShare: 25% }
    breaker: { failureRate: 50 % }
  b: { endpoints: [{ url: "http://10.0.0.6" }], retry: { on: 503 } }
routes:
  - split: [{ service: a, weight: 99.5% }, { service: b, weight: 0.5% }]
    headers: { request: { remove: Cookie } }
    rewrite: { query: { remove: debug } }
sandbox: { carriers: header }
routing: { rules: [{ routeKey: k, targetService: "http://10.0.0.9", pathPrefixes: /api }] }
`);
  const [a, b] = services.map(({ policy }) => policy);
  assert.deepEqual([a?.retry?.on, a?.retry?.budget, a?.ejection?.maxShare], [["connect"], 0.1, 0.25]);
  assert.deepEqual([a?.breaker?.failureRate, b?.retry?.statuses], [0.5, [{ from: 503, to: 503 }]]);
  const [rule, split] = routes;
  assert.deepEqual(split?.split, [{ service: "a", share: 9950 }, { service: "b", share: 50 }]);
  assert.deepEqual([split?.requestFields.remove, split?.rewrite?.query?.remove], [["cookie"], ["debug"]]);
  assert.deepEqual([sandbox.carriers, rule?.match.path.value], [["header"], "/api"]);
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
      'routes.yaml:8:5: routes[0].service: there is no service "user", did you mean users?',
      'routes.yaml:9:5: routes[1].path: must be a path such as /api, without dot segments, query or spaces (is "api")',
      "routes.yaml:11:5: routes[2].split: has no weight above 0",
      'routes.yaml:12:13: routes[3].hosts[0]: must be a host name such as app.example.com, *.example.com or * (without scheme and path) (is "http://a/")',
      'routes.yaml:13:32: routes[3].match.headers.X-A.pattern: must be a pattern in RE2\'s syntax (missing closing ): `(`) (is "(")',
      "routes.yaml:15:1: sevices: unknown key, did you mean services?",
    ],
  );
});

test("parseRoutesFile() warns of services whose endpoints all have weight 0", () => {
  const service = (weight: number) =>
    `services: { a: { endpoints: [{ url: "http://a", weight: ${weight} }] }, b: { endpoints: [] } }\n`;
  assert.deepEqual(warningsOf(service(0)), [
    "routes.yaml:1:18: services.a.endpoints: all have weight 0: nobody takes requests, but from clients that stick to him",
  ]);
  assert.deepEqual(warningsOf(service(1)), []);
});

test("parseRoutesFile() says where quotes are missing, and where they are not what is wrong", () => {
  const problem = (field: string) =>
    problemsOf(`routes: [{ service: vms, ${field} }]`).join().replace(/^routes.yaml:\d+:\d+: routes\[0\]\./, "");
  assert.equal(
    problem("headers: { request: { set: { X-A: {client_ip} } } }"),
    "headers.request.set.X-A: must be a text or a list, not a mapping: put it in quotes",
  );
  assert.equal(problem("maintenance: { body: {host} }"), "maintenance.body: must be a text, not a mapping: put it in quotes");
  assert.equal(problem("maintenance: { body: { host: a } }"), "maintenance.body: must be a text, not a mapping");
  assert.equal(problem("maintenance: { body: 503 }"), "maintenance.body: must be a text, not 503: put it in quotes");
  assert.equal(problem("maxBodySize: .nan"), "maxBodySize: must be a text or a number, not NaN");
});

test("parseRoutesFile() refuses an empty file, but not one that says nothing", () => {
  for (const text of ["", "# routes to come\n", "---\n"]) {
    assert.match(problemsOf(text).join(), /^routes.yaml:\d+:\d+: is empty; for no routes at all, write \{\}$/);
  }
  assert.deepEqual(problemsOf("[]"), ["routes.yaml:1:1: must be a mapping with services and routes"]);
  for (const text of ["{}", "routes: []\n", "services:\nroutes:\n"]) assert.deepEqual(policiesOf(text).routes, []);
});

test("parseRoutesFile() reads anchors from x- keys, and JSON", () => {
  const { services } = policiesOf(`
x-policy: &policy { balance: round-robin, health: &health { path: /up } }
services:
  a: { <<: *policy, endpoints: [] }
  b: { endpoints: [], health: { <<: *health, interval: 1s } }
`);
  assert.deepEqual(services.map(({ policy }) => [policy.balance, policy.health?.path, policy.health?.intervalMs]), [
    ["round-robin", "/up", 10_000],
    ["p2c", "/up", 1000],
  ]);
  const json = '{"$schema": "./routes.schema.json", "services": {"a": {"endpoints": []}}, "routes": [{"service": "a"}]}';
  assert.equal(policiesOf(json).routes[0]?.id, "*/");
  assert.ok(routesFileSchema.safeParse(JSON.parse(json)).success);
});

test("parseRoutesFile() shares 10,000 parts by largest remainder", () => {
  const sharesOf = (weights: readonly number[]) => {
    const services = weights.map((_, index) => `  s${index}: { endpoints: [] }`).join("\n");
    const split = weights.map((weight, index) => `{ service: s${index}, weight: ${weight} }`).join(", ");
    return policiesOf(`services:\n${services}\nroutes: [{ split: [${split}] }]`).routes[0]!.split.map(({ share }) => share);
  };
  assert.deepEqual(sharesOf([1, 1, 1]), [3334, 3333, 3333]);
  assert.deepEqual(sharesOf([0.01, 99.99]), [1, 9999]);
  assert.deepEqual(sharesOf([0, 5]), [0, 10_000]);
  assert.deepEqual(sharesOf([1e-9, 1, 2]), [0, 3333, 6667]);
  assert.equal(sharesOf([3, 7, 11, 13, 17, 19, 23]).reduce((sum, share) => sum + share), 10_000);
});

test("parseRoutesFile() splits evenly where no weights are said, and counts clients apart where no key is", () => {
  const [route] = policiesOf(`
services: { a: { endpoints: [] }, b: { endpoints: [] }, c: { endpoints: [] } }
routes: [{ split: [{ service: a }, { service: b }, { service: c, weight: 2 }], rateLimit: { requests: 5 } }]`).routes;
  assert.deepEqual(route?.split.map(({ share }) => share), [2500, 2500, 5000]);
  assert.deepEqual(route?.rateLimit, { requests: 5, windowMs: 1000, burst: 0, key: { kind: "client-ip" } });
});

test("parseRoutesFile() warns of routes that match exactly the same, and refuses ids that are there twice", () => {
  const service = "service: vms";
  assert.deepEqual(
    warningsOf(`routes:
  - { hosts: [a.example.com, b.example.com], path: /x, methods: [GET, POST], ${service} }
  - { hosts: [c.example.com, b.example.com], path: /x/, methods: [POST, GET], ${service} }
  - { hosts: [b.example.com], path: /x, methods: [GET], ${service} }
  - { hosts: [b.example.com], path: /x, methods: [GET], priority: 1, ${service} }
`),
    ["routes.yaml:3:5: routes[1]: conflict: for b.example.com it matches exactly what routes[0] (a.example.com/x) matches, which comes first"],
  );
  assert.deepEqual(problemsOf(`routes: [{ id: a, ${service} }, { id: a, path: /x, ${service} }]`), [
    'routes.yaml:1:37: routes[1].id: another route has the id "a"',
  ]);
  const ids = policiesOf(`routes: [{ ${service} }, { id: "*/", path: /y, ${service} }, { methods: GET, ${service} }]`).routes.map((
    { id },
  ) => id);
  assert.deepEqual(ids, ["*/-2", "*/", "*/-3"]);
});

test("parseRoutesFile() wants a route to lead somewhere; maintenance in force is enough", () => {
  assert.deepEqual(problemsOf("routes: [{ path: /a }]"), [
    "routes.yaml:1:10: routes[0]: leads nowhere: it needs one of service, split, redirect, respond",
  ]);
  assert.equal(problemsOf("routes: [{ maintenance: { enabled: false } }]").length, 1);
  assert.deepEqual(policiesOf("routes: [{ maintenance: { body: soon } }]").routes[0]?.split, []);
});

/** [what stands in a route beside its target, what is said of it]. */
const BAD_ROUTES: readonly (readonly [string, string])[] = [
  ["path: /api/*", 'path: a prefix needs no *: write /api (is "/api/*")'],
  ["path: /a/../b", "path: must be a path such as /api, without dot segments, query or spaces"],
  ["path: /a%2e%2E/%2e%2e/b", "path: must be a path such as /api, without dot segments"],
  ["path: { exact: /a, prefix: /b }", "path: must be a path, { prefix: /path } or { exact: /path }"],
  ["path: 5", "path: must be a text or a mapping, not 5: put it in quotes"],
  ["methods: [get]", 'methods[0]: methods are case-sensitive: write GET (is "get")'],
  ["path: '/users/{id}'", "path: is a prefix and has no placeholders: write /users"],
  ["path: /users/:id/posts", "path: is a prefix and has no placeholders: write /users"],
  ["path: { exact: /a/*/b }", "path.exact: is one path and has no placeholders"],
  ["rewrite: { addPrefix: '/{host}' }", "rewrite.addPrefix: has no placeholders"],
  ["rateLimit: 10r/s", 'rateLimit: must be a mapping with keys such as requests, window, burst, not "10r/s"'],
  ["rateLimit: 10", "rateLimit: must be a mapping with keys such as requests, window, burst, not 10"],
  ["rewrite: { query: [a] }", "rewrite.query: must be a mapping with keys such as set, add, remove, not a list"],
  ["retry: { attempts: 2 }", "retry: is a key of a service, not of a route"],
  ["hosts: [_]", "hosts[0]: is no host: for any host leave hosts out"],
  ["hosts: .example.com", "hosts: must be a host name such as app.example.com, *.example.com or * (write *.example.com, "],
  ["headers: { request: { set: { X-A: $host } } }", "headers.request.set.X-A: $host would be sent as it stands: write {host}"],
  ["headers: { response: { add: { X-A: '${remote_addr}' } } }", "headers.response.add.X-A: ${remote_addr} would be sent"],
  [
    "headers: { request: { set: { X-A: $http_x_b } } }",
    "headers.request.set.X-A: $http_x_b would be sent as it stands: write {header:X-B}",
  ],
  [
    "headers: { request: { set: { X-A: $cookie_side } } }",
    "headers.request.set.X-A: $cookie_side would be sent as it stands: write {cookie:side}",
  ],
  [
    "errors: [{ on: refused, redirect: https://a.example.com$request_uri }]",
    "errors[0].redirect: $request_uri would be sent as it stands: write {path}?{query}",
  ],
  ["match: { header: {} }", "match.header: unknown key, did you mean headers?"],
  [
    "match: { headers: { X-A: { exact: a, prefix: b } } }",
    "match.headers.X-A: must be a text, or have one of exact, prefix, pattern and present",
  ],
  ["match: { headers: { X-A: 5 } }", "match.headers.X-A: must be a text or a mapping, not 5: put it in quotes"],
  ["match: { headers: { 'X A': b } }", 'match.headers["X A"]: must be the name of a header field'],
  ["match: { headers: { X-A: { present: false } } }", "match.headers.X-A.present: must be true, not false"],
  ["match: { query: { a: { pattern: '(a{1000}){1000}' } } }", "match.query.a.pattern: must be a simpler pattern"],
  ["match: { query: { a: { pattern: '(?=a)' } } }", "match.query.a.pattern: must be a pattern in RE2's syntax"],
  ["headers: { request: { remove: host } }", "headers.request.remove: is the proxy's own and cannot be edited"],
  ["priority: 1.5", "priority: must be a whole number, not 1.5"],
  [
    "split: [{ service: vms, weight: 1 }]",
    "split: a route leads to one of service, split, redirect, respond, and this one has service already",
  ],
  ["rewrite: { to: /x }", "rewrite.to: needs a pattern"],
  ["rewrite: { pattern: '/(a)', to: /$2 }", "rewrite.to: there is no group $2: the pattern has one"],
  ["rewrite: { addPrefix: /a, replacePrefix: /b }", "rewrite.replacePrefix: addPrefix or replacePrefix, not both"],
  ["rewrite: { addPrefix: /../x }", "rewrite.addPrefix: must be a path such as /api, without dot segments"],
  ["headers: { request: { add: { Host: x } } }", "headers.request.add.Host: is the proxy's own and cannot be edited"],
  ["headers: { request: { remove: [host] } }", "headers.request.remove[0]: is the proxy's own and cannot be edited"],
  ["headers: { request: { set: { Host: '{header:X-A}' } } }", "headers.request.set.Host: must be one host such as"],
  ["headers: { request: { set: { host: 'a, b' } } }", "headers.request.set.host: must be one host such as"],
  ["headers: { request: { set: { Host: [a, b] } } }", "headers.request.set.Host: must be one host such as"],
  ["headers: { request: { set: { Host: a, host: b } } }", "headers.request.set.host: must be one host such as"],
  ["headers: { request: { remove: [Content_Length] } }", "headers.request.remove[0]: is the proxy's own and cannot be edited"],
  ["headers: { response: { set: { X-Edgeproxy-Error: x } } }", "headers.response.set.X-Edgeproxy-Error: is the proxy's own"],
  ['headers: { request: { set: { X-A: "a\\r\\nb" } } }', "headers.request.set.X-A: must be one line without control characters"],
  [
    "headers: { request: { set: { X-A: '{clientip}' } } }",
    "headers.request.set.X-A: there is no variable {clientip}: did you mean {client_ip}?",
  ],
  ["headers: { request: { set: { X-A: '{header:a b}' } } }", "headers.request.set.X-A: {header:a b} names no header"],
  ["rateLimit: { requests: 0 }", "rateLimit.requests: must be at least 1"],
  ["rateLimit: {}", "rateLimit.requests: is missing: a number"],
  ["rateLimit: { requests: 1, key: ip }", "rateLimit.key: must be client-ip, header:NAME, cookie:NAME, path, route-key or route"],
  ["maxBodySize: 1 parsec", "maxBodySize: must be a size such as 512, 32KiB or 10MB"],
  ["timeouts: { connect: 1h }", "timeouts.connect: must be a duration from 10ms to 5m"],
  ["maintenance: { body: a, html: b }", "maintenance.html: body or html, not both"],
  ["maintenance: { service: nobody }", 'maintenance.service: there is no service "nobody"'],
  ["drain: { over: 10m }", "drain.start: is missing: a text"],
  ["drain: { start: tomorrow }", "drain.start: must be a moment such as 2027-01-31T18:00:00Z"],
  ["errors: [{ on: timeuot }]", 'errors[0].on: there is no error "timeuot": did you mean timeout?'],
  ["id: ..", "id: must be 1 to 128 letters, digits and . _ : / * @ + -, but not . or .."],
  ["errors: [{ on: [refused], status: 99 }]", "errors[0].status: must be at least 200"],
  ["errors: [{ on: refused, redirect: '//evil.example' }]", "errors[0].redirect: must be a URL such as"],
  ["hosts: [app.example.com:80]", "hosts[0]: must be a host name such as app.example.com, *.example.com or * (without a port)"],
  ["hosts: []", "hosts: must be a list of at least 1"],
  ["hosts: ['a.*.example.com']", "hosts[0]: must be a host name such as"],
  ["id: 'a b'", "id: must be 1 to 128 letters, digits and"],
];

test("parseRoutesFile() lets a route say which host its VMs are asked for", () => {
  const [route] = policiesOf("routes: [{ service: vms, headers: { request: { set: { Host: 'Shop.internal:8080' } } } }]").routes;
  assert.deepEqual(route?.requestFields.set, [["Host", "Shop.internal:8080"]]);
});

test("parseRoutesFile() refuses what a route cannot mean", () => {
  for (const [text, expected] of BAD_ROUTES) {
    const [first = "", ...more] = problemsOf(`routes: [{ service: vms, ${text} }]`);
    assert.ok(first.replace(/^routes.yaml:1:\d+: routes\[0\]\./, "").startsWith(expected), `${text}: ${first}`);
    assert.deepEqual(more, [], text);
  }
});

test("parseRoutesFile() refuses redirects by which a client could send others elsewhere", () => {
  const redirect = (to: string) => read(`routes: [{ redirect: { to: ${JSON.stringify(to)} } }]`);
  for (
    const to of [
      "https://www.example.com{path}",
      "https://{host}/x?{query}",
      "{scheme}://{host}{path}",
      "/login?from={path}",
      "{path}",
      "https://[::1]:8443/",
    ]
  ) {
    assert.ok("policies" in redirect(to), JSON.stringify(redirect(to)));
  }
  const evil = [
    "//evil.example",
    "/{path}",
    "/\\evil.example",
    "https://{header:X-Host}/",
    "https://{path}",
    "https://www.example.com@evil.example/",
  ];
  for (const to of [...evil, "{header:Location}", "javascript:alert(1)", "https://", "https://a b/", "https:/x", "", "{query}"]) {
    assert.ok("problems" in redirect(to), to);
  }
});

test("parseRoutesFile() reads whom TLS has to find", () => {
  const text = `services:
  a: { endpoints: [{ url: https://vm.internal }, { url: "https://10.0.0.5:8443" }] }
  b: { endpoints: [{ url: https://10.0.0.6 }], tls: { verify: false, serverName: b.internal, caFile: /ca.pem } }
  c: { endpoints: [{ url: http://10.0.0.6 }], tls: { caFile: /none.pem } }
`;
  const reading = read(text, { "/ca.pem": "-----BEGIN CERTIFICATE-----\n" });
  assert.ok("policies" in reading, JSON.stringify(reading));
  const [a, b, c] = reading.policies.services;
  assert.deepEqual(a?.endpoints?.map(({ address, port, name }) => [address, port, name]), [
    ["vm.internal", 443, "vm.internal"],
    ["10.0.0.5", 8443, undefined],
  ]);
  assert.deepEqual(a?.policy.tls, { verify: true, serverName: null, ca: null });
  assert.deepEqual(b?.policy.tls, { verify: false, serverName: "b.internal", ca: "-----BEGIN CERTIFICATE-----\n" });
  assert.equal(c?.policy.tls, null);
  assert.ok("problems" in read(text, { "/ca.pem": "no certificate" }));
});

/** [what stands in a service, what is said of it]. */
const BAD_SERVICES: readonly (readonly [string, string])[] = [
  [
    "endpoints: [{ url: 'https://a' }, { url: 'http://b' }]",
    "endpoints[1].url: http:// and https:// cannot be mixed in one service",
  ],
  ["endpoints: [{ url: 'https://a' }]\n    tls: { caFile: /none.pem }", "tls.caFile: cannot be read: no such file /none.pem"],
  ["endpoints: [{ url: 'https://a' }]\n    tls: { verfy: false }", "tls.verfy: unknown key, did you mean verify?"],
  ["endpoints: [{ url: 'ftp://a' }]", "endpoints[0].url: must be a URL such as http://10.0.0.5:8080"],
  ["endpoints: [{ url: 'http://a:1/x' }]", "endpoints[0].url: must be a URL such as http://10.0.0.5:8080, without a path"],
  ["endpoints: [{ url: 'http://u:p@a:1' }]", "endpoints[0].url: must be a URL such as http://10.0.0.5:8080, without a user"],
  ["endpoints: [{ url: 'http://10.0.0.300:1' }]", "endpoints[0].url: must be a URL such as"],
  ["endpoints: [{ url: 'http://127.1' }]", "endpoints[0].url: must be a URL such as"],
  ["endpoints: [{ url: 'http://a:0' }]", "endpoints[0].url: must be a URL such as http://10.0.0.5:8080 (ports are 1 to 65535)"],
  ["endpoints: [{ url: 'http://a' }, { url: 'http://A:80/' }]", "endpoints[1]: is the same endpoint as endpoints[0]"],
  ["endpoints: []\n    retry: { on: [teapot] }", "retry.on[0]: must be connect, reset, timeout or statuses such as 503 or 502-504"],
  ["endpoints: []\n    maintenance: { service: a }", "maintenance.service: must be another service"],
  ["endpoints: []\n    health: { status: 99 }", "health.status: must be status codes from 100 to 599"],
  [
    "endpoints: []\n    health: { headers: { Content-Length: '1' } }",
    "health.headers.Content-Length: is no header field for a probe",
  ],
  ["endpoints: []\n    breaker: { strategy: fallback }", "breaker.strategy: needs a fallback"],
  ["endpoints: []\n    retry: { on: teapot }", "retry.on: must be connect, reset, timeout or statuses such as 503 or 502-504"],
  ["endpoints: []\n    ejection: { maxShare: 2 }", "ejection.maxShare: must be at most 1"],
  ["endpoints: []\n    retry: { budget: 120% }", "retry.budget: must be a share such as 0.2 or 20% (is"],
  ["endpoints: []\n    retry: { budget: [1] }", "retry.budget: must be a number or a text, not a list"],
  ["endpoints: []\n    limits: { soft: 5, hard: 3 }", "limits.soft: must not be above hard (3)"],
  ["endpoints: []\n    sticky: { cookie: 'a=b' }", "sticky.cookie: must be the name of a cookie"],
  ["endpoints: []\n    maintenance: { enabled: yes }", 'maintenance.enabled: must be true or false, not "yes"'],
  ["balance: p2c", "endpoints: is missing: a list"],
  ["endpoints: [10.0.0.5:80]", 'endpoints[0]: must be a mapping with keys such as url, weight, region, not "10.0.0.5:80"'],
  ["endpoints: []\n    health: /up", 'health: must be a mapping with keys such as type, path, method, not "/up"'],
  ["endpoints: []\n    rateLimit: { requests: 1 }", "rateLimit: is a key of a route, not of a service"],
];

test("parseRoutesFile() refuses what a service cannot mean", () => {
  for (const [text, expected] of BAD_SERVICES) {
    const [first = "", ...more] = problemsOf(`services:\n  a:\n    ${text}\n`);
    assert.ok(first.replace(/^routes.yaml:\d+:\d+: services\.a\./, "").startsWith(expected), `${text}: ${first}`);
    assert.deepEqual(more, [], text);
  }
  for (const name of ["vms", "a/b", "a.b", "'a b'", "é"]) {
    assert.equal(problemsOf(`services: { ${name}: { endpoints: [] } }`).length, 1, name);
  }
});

test("parseRoutesFile() answers to whatever is written, and never throws", () => {
  const words = [
    "service: vms",
    "split: [{service: users, weight: 1e400}]",
    "path: {}",
    "path: []",
    "hosts: ~",
    "- 1",
    "routes: {}",
    "services: [1]",
    "errors: [{on: 1, json: {a: [*x]}}]",
    "x-a: &x [1]",
    "rewrite: {pattern: '[', to: 1}",
    "redirect: []",
    "routing: 1",
    "routing: {rules: [~]}",
    "server: []",
    "sandbox: {carriers: [1]}",
    "maintenance: {retryAfter: 1s, headers: {a: [1]}}",
    "? ~\n: 1",
    "tls: {caFile: /nowhere}",
  ];
  let state = 7;
  const random = (below: number) => (state = (state * 48_271) % 2_147_483_647) % below;
  const lines = CONTRACT.split("\n");
  for (let round = 0; round < 300; round++) {
    const mutated = [...lines];
    for (let i = random(4); i >= 0; i--) {
      const at = random(mutated.length);
      const indent = /^ *(- )?/.exec(mutated[at]!)?.[0] ?? "";
      if (random(4) === 0) mutated.splice(at, 1);
      else {mutated[at] = random(2) === 0
          ? `${indent}${words[random(words.length)]}`
          : mutated[at]!.slice(0, random(mutated[at]!.length + 1));}
    }
    const text = mutated.join("\n");
    const reading = read(text);
    const said = "problems" in reading ? reading.problems : reading.warnings;
    assert.ok("policies" in reading || said.length > 0, text);
    for (const line of said) assert.match(line, /^routes\.yaml:(\d+:\d+: .|and )/);
  }
});

test("sticky cookies of services that name none are told apart, and stay the same", () => {
  const { services } = policiesOf(`
services:
  users: { endpoints: [{ url: "http://10.0.0.5:80" }], sticky: {} }
  carts: { endpoints: [{ url: "http://10.0.0.5:80" }], sticky: { ttl: 24h } }
routes:
  - { path: /users, service: users }
  - { path: /carts, service: carts }
`);
  const names = services.map(({ policy }) => policy.sticky?.cookie);
  assert.deepEqual(names, ["edge_sticky_092b0386", "edge_sticky_663d0c57"]);
});
