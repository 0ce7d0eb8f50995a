/** What `POST /api/explain` says of a request is what then becomes of it: status, code, the VM, and the fields that the VM gets. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Edgeproxy, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue, type Message } from "../fixtures/http1.ts";
import { MovingDomain } from "../fixtures/moving-domain.ts";
import { Platform, type Region, send } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { startVm, type Vm } from "../fixtures/vm.ts";

const MAX_BODY = 1000;

interface Explained {
  readonly worker: number;
  readonly revision: number;
  readonly "current_revision": number;
  readonly request: { readonly host: string | null };
  readonly route: string | null;
  readonly candidates: readonly {
    readonly key: string;
    readonly availability: string;
    readonly outcome: string;
    readonly health: { readonly verdict: string; readonly reason: string } | null;
  }[];
  readonly conclusion: {
    readonly kind: string;
    readonly endpoint: string | null;
    readonly awaited: readonly string[];
    readonly status: number | null;
    readonly code: string | null;
    readonly blame: string | null;
    readonly text: string;
  };
  readonly hop: { readonly region: string; readonly address: string; readonly port: number; readonly via: string } | null;
  readonly fields: Readonly<Record<"set" | "added" | "removed", readonly Field[]>> | null;
}

interface Field {
  readonly name: string;
  readonly value: string;
}

interface Request {
  readonly host: string;
  readonly method?: string;
  readonly path?: string;
  /** Besides Host. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
}

let server: TestDatabase;
let platform: Platform;
let there: Region;
let edge: Edgeproxy;
const vms: Vm[] = [];

before(async () => {
  server = await startPostgres();
  platform = await Platform.start(server);
  there = await platform.addRegion();
  for (const domain of ["app.example.com", "*.wild.example.com", "2001:db8::7", "both.example.com", "pair.example.com"]) {
    vms.push(await platform.vm(domain));
  }
  vms.push(await platform.vm("pair.example.com"), await platform.vm("sick.example.com", { healthStatus: 500 }));
  vms.push(await platform.vm("over.example.com", { healthStatus: 500 }));
  const far = await startVm({ host: there.address, port: platform.edgePort });
  vms.push(far);
  for (const domain of ["far.example.com", "both.example.com", "over.example.com"]) {
    await platform.route(domain, { address: "10.99.0.1", port: 80, region: there });
  }
  edge = await platform.edge({ EDGEPROXY_MAX_BODY_SIZE: String(MAX_BODY) });
});
after(async () => {
  await platform[Symbol.asyncDispose]();
  await vms.at(-1)?.[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function explain(
  at: Edgeproxy,
  { host, method = "GET", path = "/", fields = [] }: Request,
  suppose = {},
): Promise<Explained> {
  const body = JSON.stringify({ url: `http://any.test${path}`, method, headers: [["Host", host], ...fields], suppose });
  const response = await at.admin("/api/explain", { method: "POST", body });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as Explained;
}

/** The same request, sent. */
function real(at: Edgeproxy, { host, method = "GET", path = "/", fields = [] }: Request) {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...fields.map(([name, value]) => `${name}: ${value}`), "", ""];
  return send(at, lines.join("\r\n"));
}

/** Asks first, then sends, and compares; what was said before of it. */
async function compare(request: Request, at: Edgeproxy = edge): Promise<Explained> {
  const label = JSON.stringify(request);
  const first = await explain(at, request);
  const seen = new Map(vms.map((vm) => [vm, vm.requests.length]));
  const response = await real(at, request);
  const reached = vms.find((vm) => vm.requests.length > seen.get(vm)!);
  const said = first.conclusion.kind === "probe-first" ? await explain(at, request, verdicts(first.conclusion.awaited)) : first;
  const { conclusion } = said;
  const code = fieldValue(response, "x-edgeproxy-error") ?? null;
  assert.equal(conclusion.code, code, `${label}: ${conclusion.text}`);
  if (code !== null) {
    assert.deepEqual([conclusion.status, conclusion.blame], [response.status, fieldValue(response, "x-edgeproxy-blame")], label);
    assert.equal(said.candidates.some(({ outcome }) => outcome === "chosen"), false, label);
    return first;
  }
  assert.ok(reached !== undefined, label);
  const mayGo = said.candidates.filter(({ availability }) => availability === "available").map(({ key }) => key);
  const where = `${reached.host === there.address ? "region" : "vm"}/${reached.host}:${reached.port}`;
  assert.ok(mayGo.length > 1 ? mayGo.includes(where) : conclusion.endpoint === where, `${label}: ${conclusion.text}, but ${where}`);
  comparedFields(request, said, reached.requests.at(-1)!);
  return first;
}

/** As the VMs would answer their probes. */
function verdicts(keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    keys.map((
      key,
    ) => [key, vms.find((vm) => key.endsWith(`/${vm.host}:${vm.port}`))?.healthStatus === 200 ? "healthy" : "unhealthy"]),
  );
}

/** What the client sent, changed as was said, is what the VM got. */
function comparedFields(request: Request, { fields }: Explained, got: Message): void {
  const expected = joined([["Host", request.host], ...request.fields ?? []]);
  assert.ok(fields !== null);
  for (const { name } of fields.removed) assert.ok(expected.delete(name.toLowerCase()), `${name} was there`);
  for (const { name, value } of fields.added) {
    assert.ok(!expected.has(name.toLowerCase()), `${name} was not there`);
    expected.set(name.toLowerCase(), value);
  }
  for (const { name, value } of fields.set) {
    assert.ok(expected.has(name.toLowerCase()), `${name} was there`);
    expected.set(name.toLowerCase(), value);
  }
  const received = joined(got.fields);
  for (const [name, value] of expected) if (value === "new" && received.get(name)) received.set(name, "new");
  assert.deepEqual(Object.fromEntries(received), Object.fromEntries(expected), JSON.stringify(request));
}

function joined(fields: Message["fields"]): Map<string, string> {
  const map = new Map<string, string>();
  for (const [name, value] of fields) {
    const before = map.get(name.toLowerCase());
    map.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`);
  }
  return map;
}

test("explain says before a request what becomes of it", async () => {
  const own: readonly [string, string] = ["Via", `1.1 edgeproxy-${platform.region.id}`];
  const farVia: readonly [string, string] = ["Via", `1.1 cdn, 1.1 edgeproxy-${there.id}`];
  const requests: readonly (readonly [code: string | null, request: Request])[] = [
    [null, { host: "app.example.com", path: "/x?y=1" }],
    [null, { host: "APP.example.com.:8080" }],
    [null, { host: "a.b.wild.example.com" }],
    [null, { host: "[2001:DB8::0:7]" }],
    [null, { host: "both.example.com" }],
    [null, { host: "pair.example.com" }],
    [null, { host: "far.example.com" }],
    [null, { host: "over.example.com" }],
    [null, { host: "app.example.com", method: "DELETE", fields: [["X-Forwarded-For", "6.6.6.6"], ["Forwarded", "for=6.6.6.6"]] }],
    [null, {
      host: "app.example.com",
      fields: [["Connection", "close, X-Hop"], ["X-Hop", "1"], ["X-Stays", "a"], ["X-Stays", "b"]],
    }],
    [null, { host: "app.example.com", fields: [["TE", "trailers, gzip"], ["Accept", "*/*"], ["Keep-Alive", "5"]] }],
    [null, { host: "app.example.com", fields: [["Via", "1.0 cdn"], ["X-Request-Id", "mine"], ["X_Real_IP", "6.6.6.6"]] }],
    [null, { host: "app.example.com", fields: [["traceparent", `00-${"a".repeat(32)}-${"b".repeat(16)}-01`]] }],
    [null, { host: "app.example.com", fields: [["traceparent", "nonsense"], ["tracestate", "a=b"]] }],
    ["vm_unhealthy", { host: "sick.example.com" }],
    ["no_route", { host: "nobody.example.com" }],
    ["no_route", { host: "wild.example.com" }],
    ["loop", { host: "app.example.com", fields: [own] }],
    ["loop", { host: "far.example.com", fields: [farVia] }],
    ["vm_unhealthy", { host: "over.example.com", fields: [farVia] }],
    ["bad_request", { host: "a b" }],
    ["bad_request", { host: "app.example.com", fields: [["Host", "app.example.com"]] }],
    ["bad_request", { host: "app.example.com", method: "G(ET" }],
    ["bad_request", { host: "app.example.com", fields: [["Content-Length", "5"], ["Content-Length", "6"]] }],
    ["bad_request", { host: "app.example.com", fields: [["Bad name", "x"]] }],
    ["unsupported_coding", { host: "app.example.com", method: "POST", fields: [["Transfer-Encoding", "gzip, chunked"]] }],
    ["head_too_large", { host: "app.example.com", fields: [["X-Large", "x".repeat(40_000)]] }],
    ["body_too_large", { host: "app.example.com", method: "POST", fields: [["Content-Length", String(MAX_BODY + 1)]] }],
    ["target_too_long", { host: "app.example.com", path: `/${"x".repeat(9000)}` }],
  ];
  for (const [code, request] of requests) {
    const { conclusion } = await compare(request);
    if (conclusion.kind !== "probe-first") assert.equal(conclusion.code, code, JSON.stringify(request));
    assert.equal((await compare(request)).conclusion.code, code, "now that there is a verdict, if one is wanted");
  }
});

test("explain shows who decided, the route, the candidates with their health, and the hop to another region", async () => {
  await real(edge, { host: "over.example.com" });
  const over = await explain(edge, { host: "OVER.example.com" });
  assert.deepEqual([over.worker, over.request.host, over.route], [1, "over.example.com", "over.example.com"]);
  assert.equal(over.revision, over.current_revision);
  assert.deepEqual(over.candidates.map(({ availability, outcome }) => `${availability} ${outcome}`).toSorted(), [
    "available chosen",
    "unhealthy lost",
  ]);
  const sick = over.candidates.find(({ outcome }) => outcome === "lost");
  assert.deepEqual([sick?.health?.verdict, sick?.health?.reason], ["unhealthy", "status 500"]);
  assert.deepEqual(over.hop, {
    address: there.address,
    port: platform.edgePort,
    region: there.id,
    via: `1.1 edgeproxy-${platform.region.id}`,
  });
  await real(edge, { host: "both.example.com" });
  const what = await explain(edge, { host: "both.example.com" }, { [over.candidates[0]!.key]: "unhealthy" });
  assert.equal(what.conclusion.kind, "forward", "what is supposed of another endpoint changes nothing");
  const local = what.conclusion.endpoint!;
  const ifSick = await explain(edge, { host: "both.example.com" }, { [local]: "unhealthy" });
  assert.equal(ifSick.conclusion.endpoint, `region/${there.address}:${platform.edgePort}`);
});

test("to explain is no use: it neither asks for a probe nor keeps one going", async () => {
  const vm = await platform.vm("quiet.example.com");
  // In use means within 2.5 s
  const quick = await platform.edge({ EDGEPROXY_HEALTH_INTERVAL: "500ms" }, { port: await freePort(platform.region.address) });
  for (let i = 0; i < 3; i++) {
    assert.equal((await explain(quick, { host: "quiet.example.com" })).conclusion.kind, "probe-first");
  }
  assert.equal(vm.probes, 0);
  await real(quick, { host: "quiet.example.com" });
  await quick.waitFor(
    async () => (await explain(quick, { host: "quiet.example.com" })).conclusion.kind === "probe-first",
    "still probes",
  );
  assert.ok(vm.probes >= 1);
});

test("explain knows where a host led a moment ago", async () => {
  await using domain = await MovingDomain.create(platform, "moving.example.com");
  vms.unshift(domain.vm);
  await edge.refresh();
  await compare({ host: domain.name });
  const place = await domain.place({ listens: false, healthStatus: 500 });
  vms.unshift(place.vm);
  await domain.move(place, edge);
  await compare({ host: domain.name });
  const said = await compare({ host: domain.name });
  assert.deepEqual([said.conclusion.kind, said.conclusion.endpoint], [
    "fall-back",
    `vm/${domain.places[0]!.vm.host}:${domain.places[0]!.vm.port}`,
  ]);
});

test("explain says that an endpoint is cordoned, and that there is no table", async () => {
  const target = (await explain(edge, { host: "app.example.com" })).candidates[0]!.key;
  const at = `/api/endpoints/${encodeURIComponent(target)}/cordon`;
  assert.equal((await edge.admin(at, { method: "POST", body: "{}" })).status, 200);
  const said = await compare({ host: "app.example.com" });
  assert.deepEqual([said.conclusion.code, said.candidates[0]?.availability], ["vm_cordoned", "draining"]);
  assert.equal((await edge.admin(at, { method: "DELETE" })).status, 200);
  assert.equal((await compare({ host: "app.example.com" })).conclusion.code, null);

  const empty = await platform.edge({}, {
    database: `postgres://127.0.0.1:${await freePort()}/none`,
    port: await freePort(platform.region.address),
    ready: false,
  });
  await empty.waitForLog(({ msg }) => msg === "worker serves");
  await empty.waitFor(async () => (await empty.admin("/healthz")).ok);
  assert.equal((await compare({ host: "app.example.com" }, empty)).conclusion.code, "no_table");
});

test("explain says what becomes of a trace that is exported", async () => {
  const tracing = await platform.edge(
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" },
    { port: await freePort(platform.region.address) },
  );
  for (const flags of ["00", "01"]) {
    const { fields } = await compare({
      host: "app.example.com",
      fields: [["traceparent", `00-${"a".repeat(32)}-${"b".repeat(16)}-${flags}`]],
    }, tracing);
    const expected = flags === "01" ? ["traceparent"] : [];
    assert.deepEqual(fields?.set.map(({ name }) => name).filter((name) => name === "traceparent"), expected, flags);
  }
});

test("explain refuses what is no question, and says when no worker answers", async () => {
  for (
    const body of [{}, { url: "http://[x" }, { url: "http://a.test", method: "GET\r\nX: y" }, {
      url: "a.test",
      headers: [["A", "b\nc"]],
    }, { url: "a.test", client: "me" }]
  ) {
    const response = await edge.admin("/api/explain", { method: "POST", body: JSON.stringify(body) });
    assert.equal(response.status, 400, JSON.stringify(body));
    await response.body?.cancel();
  }
  const nobody = await edge.admin("/api/explain", { method: "POST", body: JSON.stringify({ url: "a.test", worker: 9 }) });
  assert.deepEqual([nobody.status, (await nobody.json() as { error: string }).error], [503, "no_worker"]);
});

test("the command asks the running proxy, and without one the database", async () => {
  const env = {
    EDGEPROXY_DATABASE_URL: platform.database.url,
    EDGEPROXY_REGION_ID: platform.region.id,
    EDGEPROXY_REGION_PORT: String(platform.edgePort),
    EDGEPROXY_ADMIN_ADDR: `127.0.0.1:${edge.adminPort}`,
  };
  await real(edge, { host: "app.example.com" });
  const running = await runEdgeproxy(["explain", "http://app.example.com/x", "-X", "POST", "-H", "X-Forwarded-For: 6.6.6.6"], {
    env,
  });
  const [first = "", ...lines] = running.stdout.trimEnd().split("\n");
  assert.match(first, /^asked the running proxy at 127\.0\.0\.1:\d+: worker 1, routing table revision \d+$/);
  assert.match(lines.at(-1) ?? "", /^=> VM at http:\/\//);
  assert.ok(lines.includes("sets X-Forwarded-For: 127.0.0.1") && lines.includes("adds X-Request-Id: new"), running.stdout);
  const vm = await platform.vm("first.example.com");
  await edge.refresh();
  const unprobed = (await runEdgeproxy(["explain", "first.example.com"], { env })).stdout;
  assert.match(unprobed, /^it has no verdict on vm\//m);
  assert.match(unprobed, new RegExp(`^probe vm/${vm.host}:${vm.port}: healthy, status 200, `, "m"));
  assert.match(unprobed, new RegExp(`\\n=> VM at http://${vm.host}:${vm.port}\\n$`));
  const json = JSON.parse((await runEdgeproxy(["explain", "app.example.com", "--json"], { env })).stdout) as Explained;
  assert.deepEqual([json.worker, json.conclusion.kind], [1, "forward"]);
  const others = { ...env, EDGEPROXY_REGION_ID: there.id };
  assert.match(
    (await runEdgeproxy(["explain", "app.example.com"], { env: others })).stdout,
    /it is that of region .*routes from the database/,
  );
  const none = { ...env, EDGEPROXY_ADMIN_ADDR: `127.0.0.1:${await freePort()}` };
  const alone = (await runEdgeproxy(["explain", "app.example.com"], { env: none })).stdout;
  assert.match(alone, /^no running proxy of this region is asked .*ECONNREFUSED.*database/);
  assert.match(alone, /\n=> VM at http:.*\n$/);
});

test("the command needs no settings to ask the running proxy, and says what helps where none answers", async () => {
  await real(edge, { host: "app.example.com" });
  const admin = { EDGEPROXY_ADMIN_ADDR: `127.0.0.1:${edge.adminPort}` };
  const running = await runEdgeproxy(["explain", "http://app.example.com/x"], { env: admin });
  assert.equal(running.exitCode, 0, running.stderr);
  assert.match(running.stdout, /^asked the running proxy at 127\.0\.0\.1:\d+: worker 1/);
  assert.match(running.stdout, /\n=> VM at http:.*\n$/);
  const vm = await platform.vm("second.example.com");
  await edge.refresh();
  const unprobed = (await runEdgeproxy(["explain", "second.example.com"], { env: admin })).stdout;
  assert.match(unprobed, /--env-file/);
  assert.match(unprobed, new RegExp(`\\n=> waits for the first probe of vm/${vm.host}:${vm.port}\\n$`));
  assert.equal(vm.probes, 0);

  const none = await runEdgeproxy(["explain", "app.example.com"], {
    env: { EDGEPROXY_ADMIN_ADDR: `127.0.0.1:${await freePort()}` },
  });
  assert.equal(none.exitCode, 2);
  assert.match(none.stderr, /the running proxy does not say at 127\.0\.0\.1:\d+ \(ECONNREFUSED\)/);
  for (
    const word of ["EDGEPROXY_DATABASE_URL: is required", "EDGEPROXY_REGION_ID: is required", "EDGEPROXY_ADMIN_ADDR", "--env-file"]
  ) {
    assert.ok(none.stderr.includes(word), word);
  }
  const other = await runEdgeproxy(["explain", "app.example.com"], { env: { ...admin, EDGEPROXY_REGION_ID: there.id } });
  assert.deepEqual([other.exitCode, /that of region/.test(other.stderr)], [2, true], other.stderr);
  const wrong = await runEdgeproxy(["explain", "app.example.com"], { env: { ...admin, EDGEPROXY_REGION_PORT: "many" } });
  assert.deepEqual([wrong.exitCode, /EDGEPROXY_REGION_PORT/.test(wrong.stderr)], [2, true], "what is wrong is said in any case");
});
