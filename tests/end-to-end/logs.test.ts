/** Contract section 11: what the compiled binary writes, and what it never writes. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { socketDoors } from "../../src/runtime/sockets.ts";
import { accessLineProblems } from "../fixtures/access-line.ts";
import { type Edgeproxy, type LogLine, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform, postRequest, send } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { rawRequest } from "../fixtures/raw-client.ts";
import { resetConnection, respond } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";

function lines(edge: Edgeproxy, msg: string): LogLine[] {
  return edge.log.filter((line) => line["msg"] === msg);
}

/** Resolves with that many lines, or more, once they have come: an answer may be here before what was written of it. */
async function awaitedLines(edge: Edgeproxy, msg: string, count: number): Promise<LogLine[]> {
  await edge.waitFor(() => Promise.resolve(lines(edge, msg).length >= count), `did not write ${count} lines "${msg}"`);
  return lines(edge, msg);
}

test("log is JSON lines with time, level and message, from start to stop", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge({ EDGEPROXY_LOG_LEVEL: "debug", EDGEPROXY_ACCESS_LOG: "on" });
  await get(edge, HOST);
  await get(edge, "nobody.example.com");
  vm.script = resetConnection();
  await get(edge, HOST);
  assert.equal(await edge.stop(), 0);
  assert.equal(edge.stderr, "");
  for (const line of edge.log) {
    assert.match(String(line["time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, JSON.stringify(line));
    assert.match(String(line["level"]), /^(debug|info|warn|error)$/);
    assert.equal(typeof line["msg"], "string");
  }
  const level = (msg: string): unknown => lines(edge, msg)[0]?.["level"];
  const expected: Readonly<Record<string, string>> = {
    "starting": "info",
    "routes changed": "info",
    "ready": "info",
    "decision": "debug",
    "probe": "debug",
    "access": "info",
    "request without a route": "warn",
    "VM unhealthy": "warn",
    "proxy error": "error",
    "shutting down": "info",
    "stopped": "info",
  };
  for (const [msg, wanted] of Object.entries(expected)) assert.equal(level(msg), wanted, msg);
  assert.equal(edge.log[0]?.["msg"], "starting");
  assert.equal(edge.log.at(-1)?.["msg"], "stopped");
  assert.equal(lines(edge, "shutting down")[0]?.["signal"], "SIGTERM");
});

test("log begins with the effective configuration", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_HEALTH_TIMEOUT: "1500ms", EDGEPROXY_TRUSTED_PROXIES: "10.0.0.0/8" });
  const settings = (await awaitedLines(edge, "starting", 1))[0]!["settings"] as Record<string, string>;
  assert.equal(settings["EDGEPROXY_HTTP_ADDR"], `${edge.host}:${edge.port}`);
  assert.equal(settings["EDGEPROXY_REGION_ID"], platform.region.id);
  assert.equal(settings["EDGEPROXY_UPDATE_INTERVAL"], "1h");
  assert.equal(settings["EDGEPROXY_HEALTH_TIMEOUT"], "1s500ms");
  assert.equal(settings["EDGEPROXY_TRUSTED_PROXIES"], "10.0.0.0/8");
  assert.equal(settings["EDGEPROXY_IDLE_TIMEOUT"], "1m15s", "defaults too");
  const [serves] = await awaitedLines(edge, "worker serves", 1);
  assert.equal(serves!["sockets"], socketDoors()[0]!.name, "the best that this machine has");
});

test("log tells of changed routes with their counts and the duration", async () => {
  await using platform = await Platform.start(server);
  for (const name of ["a", "b", "c"]) await platform.route(`${name}.example.com`, { address: "10.0.0.5", port: 8080 });
  const edge = await platform.edge();
  await platform.database.sql("delete from domains where name = 'a.example.com'");
  await platform.route("b.example.com", { address: "10.0.0.6", port: 8080 });
  await platform.route("d.example.com", { address: "10.0.0.6", port: 8080 });
  await platform.route("e.example.com", { address: "10.0.0.6", port: 8080 });
  await edge.refresh();
  await edge.refresh();
  await awaitedLines(edge, "routes changed", 2);
  assert.equal(await edge.stop(), 0); // until then one more could come
  const changes = lines(edge, "routes changed");
  const counts = changes.map(({ added, removed, changed, routes, revision }) => ({ added, removed, changed, routes, revision }));
  assert.deepEqual(counts, [
    { added: 3, removed: 0, changed: 0, routes: 3, revision: 1 },
    { added: 2, removed: 1, changed: 1, routes: 4, revision: 2 },
  ]);
  for (const change of changes) assert.equal(typeof change["duration_ms"], "number");
});

test("log warns of requests without a route, a few lines at a time", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  const sinceMs = performance.now();
  const first = await get(edge, "nobody.example.com");
  for (let i = 0; i < 200; i++) await get(edge, `h${i}.nobody.example.com`);
  const windows = 1 + Math.ceil((performance.now() - sinceMs) / 10_000);
  await awaitedLines(edge, "request without a route", 10);
  assert.equal(await edge.stop(), 0);
  const warnings = lines(edge, "request without a route");
  assert.deepEqual([warnings[0]?.["level"], warnings[0]?.["host"]], ["warn", "nobody.example.com"]);
  assert.equal(warnings[0]?.["request_id"], fieldValue(first, "x-request-id"));
  assert.ok(warnings.length <= 10 * windows, `${warnings.length} lines for 201 requests in ${windows} windows`);
});

test("log writes what is below its level not at all", async () => {
  await using platform = await Platform.start(server);
  await platform.route("far.example.com", { address: "10.99.0.1", port: 80, region: await platform.addRegion() });
  const edge = await platform.edge({ EDGEPROXY_LOG_LEVEL: "error" });
  await get(edge, "nobody.example.com");
  await get(edge, "far.example.com");
  await edge.waitForLog((line) => line["msg"] === "proxy error");
  assert.equal(await edge.stop(), 0);
  assert.deepEqual(new Set(edge.log.map((line) => line["level"])), new Set(["error"]));
});

test("log warns of unknown variables with the nearest known name", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge({ EDGEPROXY_HEALTH_TIMOUT: "1s" });
  const line = await edge.waitForLog((each) => each["level"] === "warn");
  assert.match(JSON.stringify(line), /EDGEPROXY_HEALTH_TIMOUT.*EDGEPROXY_HEALTH_TIMEOUT/);
});

test("access log has a line for each request when it is on", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST, { script: respond(201, "the answer") });
  const edge = await platform.edge({ EDGEPROXY_ACCESS_LOG: "on", EDGEPROXY_TRUSTED_PROXIES: "127.0.0.9" });
  await rawRequest(
    edge.port,
    postRequest(HOST, "the body", '/a%20b?c="d"\\e').replace("\r\n", "\r\nX-Request-Id: given-1\r\n"),
    edge.host,
    "127.0.0.9",
  );
  const refused = await get(edge, "NOBODY.example.com:80", "/x");
  const [forwarded, own] = await awaitedLines(edge, "access", 2);
  assert.deepEqual(accessLineProblems(forwarded!), []);
  const { time: _time, duration_ms: duration, probe_wait_ms: probe, connect_ms: connect, first_byte_ms: first, ...rest } =
    forwarded!;
  assert.deepEqual(rest, {
    level: "info",
    msg: "access",
    schema: 1,
    method: "POST",
    host: HOST,
    path: "/a%20b",
    status: 201,
    bytes_in: 8,
    bytes_out: 10,
    head_wait_ms: 0,
    upstream: `${vm.host}:${vm.port}`,
    region: platform.region.id,
    request_id: "given-1",
    error: "",
    trace_id: rest["trace_id"],
    client: "127.0.0.9",
    protocol: "HTTP/1.1",
    target: '/a%20b?c="d"\\e',
    route: HOST,
    policy: "",
    service: "",
    decided_by: "",
    outcome: "forwarded",
    blame: "",
    problem: "",
    ended_by: "vm",
    queue_wait_ms: 0,
    attempts: 1,
    retry: "",
    reused: false,
    worker: 1,
    sample: 1,
  });
  assert.ok([duration, probe, connect, first].every((ms) => typeof ms === "number" && ms > 0), JSON.stringify(forwarded));
  assert.ok(Number(probe) + Number(connect) <= Number(first) && Number(first) <= Number(duration), JSON.stringify(forwarded));
  const { status, host, error, upstream, request_id: id } = own!;
  assert.deepEqual([status, host, error, upstream], [404, "nobody.example.com", "no_route", ""]);
  assert.equal(id, fieldValue(refused, "x-request-id"));
});

test("access log is off unless asked for, and samples when told to, but for what goes wrong", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const silent = await platform.edge();
  await get(silent, HOST);
  assert.equal(await silent.stop(), 0);
  assert.deepEqual(lines(silent, "access"), []);

  const sampled = await platform.edge({ EDGEPROXY_ACCESS_LOG: "50%" });
  const requests = 200;
  for (let i = 0; i < requests; i++) await get(sampled, HOST);
  for (let i = 0; i < 20; i++) await get(sampled, "nobody.example.com");
  assert.equal(await sampled.stop(), 0);
  const good = lines(sampled, "access").filter((line) => line["error"] === "" && line["sample"] === 0.5);
  assert.ok(good.length > 0 && good.length < requests, `${good.length} of ${requests}`);
  const bad = lines(sampled, "access").filter((line) => line["error"] === "no_route" && line["sample"] === 1);
  assert.deepEqual([bad.length, lines(sampled, "access").length], [20, 20 + good.length]);

  const errors = await platform.edge({ EDGEPROXY_ACCESS_LOG: "errors" });
  for (const host of [HOST, "nobody.example.com"]) await get(errors, host);
  assert.equal(await errors.stop(), 0);
  assert.deepEqual(lines(errors, "access").map((line) => line["error"]), ["no_route"]);
});

test("a hostile request cannot forge log lines", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const edge = await platform.edge({
    EDGEPROXY_ACCESS_LOG: "on",
    EDGEPROXY_LOG_LEVEL: "debug",
    EDGEPROXY_TRUSTED_PROXIES: "127.0.0.0/8",
  });
  const forged = '"}{"level":"error","msg":"forged"}';
  const requests = [
    `GET /${forged} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
    `GET /\u001b[31m\u0000 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
    `GET /\u0085\u00e2\u0080\u00a8 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: ${forged}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Request-Id: ${forged}\r\n\r\n`,
    `${forged} / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
  ];
  for (const request of requests) await send(edge, request);
  assert.equal(await edge.stop(), 0);
  assert.deepEqual(edge.log.filter((line) => line["unparsed"] !== undefined), []);
  assert.deepEqual(lines(edge, "forged"), []);
  // Neither C0 nor C1 nor what some readers take for the end of a line: a log is read on terminals
  const harmful = [...edge.output.replaceAll("\n", "")].filter((character) => /\p{Cc}|\p{Zl}|\p{Zp}/u.test(character));
  assert.deepEqual(harmful, []);
});

/** Everything the admin address says, with the token. */
async function allAdminAnswers(edge: Edgeproxy): Promise<string> {
  const paths = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/routes",
    `/api/routes/${HOST}`,
    "/api/health",
    "/api/regions",
    "/nothing",
  ];
  const answers = paths.map(async (path) => await (await edge.admin(path)).text());
  const refreshed = await (await edge.admin("/api/refresh", { method: "POST" })).text();
  return [...await Promise.all(answers), refreshed].join("\n");
}

test("no secret is ever written: not in logs, not in answers, not by any command", async () => {
  await using platform = await Platform.start(server);
  await platform.vm(HOST);
  const password = "s3cret:of/the database";
  const token = "admin-t0ken-for-nobody-else";
  const role = `login_${platform.edgePort}`;
  await platform.database.sql(`create role ${role} login superuser password '${password}'`);
  const url = new URL(platform.database.url);
  const spelled = encodeURIComponent(password);
  const inUserInfo = `postgres://${role}:${spelled}@${url.host}${url.pathname}`;
  const urls = {
    "in the user information": inUserInfo,
    "as a parameter": `postgres://${role}@${url.host}${url.pathname}?password=${spelled}`,
    "wrong": inUserInfo.replace(spelled, `wrong-${spelled}`),
    "of a server that is away": `postgres://${role}:${spelled}@127.0.0.1:${await freePort()}/none`,
    "among several hosts": inUserInfo.replace("@", "@127.0.0.1:1,"),
  };
  const secrets = [password, spelled, "s3cret", token];
  const assertSilent = (text: string, where: string): void => {
    for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} in ${where}:\n${text}`);
  };
  for (const [where, database] of Object.entries(urls)) {
    const works = !/wrong|away/.test(where);
    const edge = await platform.edge({ EDGEPROXY_ADMIN_TOKEN: token, EDGEPROXY_LOG_LEVEL: "debug" }, { database, ready: works });
    await edge.waitForLog((line) => line["msg"] === (works ? "ready" : "cannot read routes"));
    await edge.waitForLog((line) => line["msg"] === "worker serves");
    await edge.waitFor(async () => (await edge.admin("/healthz")).ok);
    const answers = await allAdminAnswers(edge);
    const { raw } = await get(edge, HOST, "/", "Accept: text/html");
    await edge.stop();
    assert.ok(JSON.stringify(lines(edge, "starting")[0]).includes("***"), "masked, not missing");
    assertSilent(edge.output, `the log with a password ${where}`);
    assertSilent(answers, `the admin answers with a password ${where}`);
    assertSilent(raw.toString("latin1"), `an answer with a password ${where}`);
    const env = { EDGEPROXY_DATABASE_URL: database, EDGEPROXY_REGION_ID: platform.region.id, EDGEPROXY_ADMIN_TOKEN: token };
    for (const words of [["check"], ["routes", "--json"], ["explain", HOST]]) {
      const run = await runEdgeproxy(words, { env });
      assertSilent(run.stdout + run.stderr, `${words[0]} with a password ${where}`);
      const misconfigured = await runEdgeproxy(words, {
        env: { ...env, EDGEPROXY_REGION_ID: "eu", EDGEPROXY_ADMIN_TOKEN: `${token} ` + "\u00e9" },
      });
      assertSilent(misconfigured.stdout + misconfigured.stderr, `${words[0]} with mistakes and a password ${where}`);
    }
  }
  await platform.database.sql(`drop role ${role}`);
});
