/*  Each code of the vocabulary is made to happen for real, and is then looked for in every place where docs/errors.md says that it
 *  shows: header, JSON body, access log, application log, metrics, and that document. A code without an injection fails.
 *
 *  `internal` is a bug of ours, and the binary has none that a request could reach: it is injected in this process, into the same
 *  parts of the data plane.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { Hono } from "hono";
import { pseudonym } from "../../src/decision/loop.ts";
import { type EdgeEnv, honoDispatch } from "../../src/downstream/hono-request.ts";
import { ExchangeObserver } from "../../src/lifecycle/exchange-observer.ts";
import { Outbox } from "../../src/lifecycle/outbox.ts";
import { AccessLog } from "../../src/observation/access-log.ts";
import { TargetCounts } from "../../src/observation/target-counts.ts";
import { HostCounts } from "../../src/observation/host-counts.ts";
import { LineWriter } from "../../src/observation/line-writer.ts";
import { type Blame, BLAMES, CODES, ERROR_CODES, type ErrorCode } from "../../src/observation/proxy-error.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { accessLineProblems } from "../fixtures/access-line.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { World } from "../fixtures/world.ts";
import { type Edgeproxy, type LogLine, startEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { cutMessage, fieldValue, type Message } from "../fixtures/http1.ts";
import { freePort, loopbackAddress } from "../fixtures/ports.ts";
import { insertRegion, insertRoute } from "../fixtures/postgres.ts";
import { openFiles } from "../fixtures/processes.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";
import { DataPlane } from "../fixtures/served-vms.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";
import { hang, resetConnection, respond, sendRaw, startVm, type Vm } from "../fixtures/vm.ts";
import { readDocument } from "../rules/document-tables.ts";

const JSON_PLEASE = "Accept: application/json";
const MIB = 2 ** 20;
const LOGS = { EDGEPROXY_ACCESS_LOG: "on", EDGEPROXY_LOG_LEVEL: "debug" };

/** What routes say where the database's are not enough. */
const routes = (closedPort: number, slowVm: Vm): string => `
services:
  opened: { endpoints: [{ url: "http://127.0.0.1:${closedPort}" }], health: { type: none }, breaker: { failures: 1, openFor: 1h } }
  full: { endpoints: [{ url: "http://127.0.0.1:${slowVm.port}" }], health: { type: none }, limits: { hard: 1, queue: 0 } }
  late: { endpoints: [{ url: "http://127.0.0.1:${slowVm.port}" }], health: { type: none }, limits: { hard: 1, queueTimeout: 50ms } }
  slow: { endpoints: [{ url: "http://127.0.0.1:${slowVm.port}" }], health: { type: none }, timeouts: { response: 500ms } }
  gone: { endpoints: [{ url: "http://127.0.0.1:9", weight: 0 }] }
routes:
  - { hosts: [opened.example.com], service: opened }
  - { hosts: [full.example.com], service: full }
  - { hosts: [late.example.com], service: late }
  - { hosts: [slow.example.com], service: slow }
  - { hosts: [limited.example.com], rateLimit: { requests: 1, window: 10m }, respond: { status: 200, body: ok } }
  - { id: nowhere, hosts: [nowhere.example.com], service: gone }
  - { hosts: [maintained.example.com], service: gone, maintenance: { enabled: true } }
`;

let plane: DataPlane;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let slowVm: Vm;
let silentRegion: UnresponsiveListener;
before(async () => {
  silentRegion = await UnresponsiveListener.start(loopbackAddress());
  folder = await temporaryFolder();
  slowVm = await startVm({ script: hang() });
  await writeFile(join(folder.path, "routes.yaml"), routes(await freePort(), slowVm));
  plane = await DataPlane.start({
    ...LOGS,
    EDGEPROXY_CONFIG_FILE: join(folder.path, "routes.yaml"),
    EDGEPROXY_REGION_PORT: String(silentRegion.port),
    EDGEPROXY_CONNECT_TIMEOUT: "1s",
    EDGEPROXY_HEADER_TIMEOUT: "4s", // clients are there before their routes are
    EDGEPROXY_STREAM_TIMEOUT: "2s", // and what waits for a connection, or for a probe
    EDGEPROXY_MAX_BODY_SIZE: "100MB",
    EDGEPROXY_SHUTDOWN_TIMEOUT: "200ms",
  });
});
after(async () => {
  await plane[Symbol.asyncDispose]();
  await slowVm[Symbol.asyncDispose]();
  await silentRegion[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** What has shown of one bad end. */
interface Evidence {
  /** The own answer; null without one. */
  readonly answer: Message | null;
  readonly access: LogLine;
  /** Lines of the application log with its request id. */
  readonly told: readonly LogLine[];
  /** By how much samples have grown, those that have. */
  readonly grown: Readonly<Record<string, number>>;
}

interface Injection {
  readonly blame: Blame;
  /** What is said in words, where that matters. */
  readonly problem?: RegExp;
  /** false: the request ends before its Accept field can be read. */
  readonly json?: false;
  readonly run: (code: ErrorCode) => Promise<Evidence>;
}

/** What a client does to `proxy`; its answer, if there is one. */
type Play = (client: RawConnection) => Promise<Message | null>;

/** On the proxy that all share, unless `play` has another. */
function onProxy(
  play: Play,
  proxyOf: () => Edgeproxy = () => plane.proxy,
): (code: ErrorCode) => Promise<Evidence> {
  return async (code) => {
    const proxy = proxyOf();
    const seen = new Set(proxy.log);
    const counted = await errorCounts(proxy);
    await using client = await openRaw(proxy.port, proxy.host);
    const answer = await play(client);
    const answeredId = answer === null ? undefined : fieldValue(answer, "x-request-id");
    const access = await proxy.waitForLog((line) =>
      !seen.has(line) && line["msg"] === "access" && line["error"] === code &&
      (answer === null || line["request_id"] === answeredId)
    );
    const id = access["request_id"];
    await proxy.waitForLog((line) => line["request_id"] === id && line["code"] === code && line["msg"] !== "decision");
    const told = proxy.log.filter((line) => line["request_id"] === id && line["code"] === code && line["msg"] !== "decision");
    let grown: Record<string, number> = {};
    await proxy.waitFor(async () => {
      grown = growth(counted, await errorCounts(proxy), code);
      return Object.keys(grown).length > 0;
    }, "counted nothing");
    return { answer, access, told, grown };
  };
}

async function errorCounts(proxy: Edgeproxy): Promise<Map<string, number>> {
  const text = await (await fetch(`${proxy.adminUrl}/metrics`)).text();
  const samples = text.matchAll(/^edgeproxy_((?:routing_)?errors_total\{\S+\}) (\d+)$/gm);
  return new Map(Array.from(samples, ([, sample, value]) => [sample!, Number(value)]));
}

/** Of the samples of a code. */
function growth(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>, code: ErrorCode): Record<string, number> {
  const grown = [...now].filter(([sample]) => sample.includes(`"${code}"`)).map(([sample, value]) =>
    [sample, value - (before.get(sample) ?? 0)] as const
  );
  return Object.fromEntries(grown.filter(([, by]) => by !== 0));
}

/** Asks for this and reads the answer. */
function ask(request: (host: string) => string, script = respond(200, "ok"), healthStatus: number = 200): Play {
  return async (client) => {
    const { host } = await plane.vm({ script, healthStatus });
    client.send(request(host));
    return await client.readResponse();
  };
}

/** A GET that is answered as told. */
function get(...options: [script?: Parameters<typeof ask>[1], healthStatus?: number]): Play {
  return ask((host) => getRequest(host, "/", JSON_PLEASE), ...options);
}

/** A head with this line, and `Accept` before it. */
function withField(line: string, method = "GET"): Play {
  return ask((host) => `${method} / HTTP/1.1\r\nHost: ${host}\r\n${JSON_PLEASE}\r\n${line}\r\n\r\n`);
}

async function askRegion(client: RawConnection, publicIpv4: string): Promise<Message> {
  const name = `far-${publicIpv4.replaceAll(".", "-")}.example.com`;
  const regionId = await insertRegion(plane.database, { publicIpv4 });
  await insertRoute(plane.database, { name, regionId, privateIp: "10.255.255.1", port: 80 });
  await plane.refresh();
  client.send(getRequest(name, "/", JSON_PLEASE));
  return await client.readResponse();
}

/** One that waits for its answer. */
async function waiting(client: RawConnection): Promise<void> {
  const { vm, host } = await plane.vm({ script: hang() });
  client.send(getRequest(host));
  await vm.until(() => vm.requests.length === 1);
}

async function askCordoned(client: RawConnection): Promise<Message> {
  const { vm, host } = await plane.vm();
  const path = `/api/endpoints/${encodeURIComponent(`vm/${vm.host}:${vm.port}`)}/cordon`;
  const cordoned = await plane.proxy.admin(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ reason: "a test" }),
  });
  assert.equal(cordoned.status, 200, await cordoned.text());
  client.send(getRequest(host, "/", JSON_PLEASE));
  return await client.readResponse();
}

async function uploadInVain(client: RawConnection): Promise<Message> {
  const { vm, host } = await plane.vm();
  client.send(getRequest(host));
  await client.readResponse();
  vm.onHead = (_head, { socket }) => void socket.pause();
  client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\n${JSON_PLEASE}\r\nContent-Length: ${50 * MIB}\r\n\r\n`);
  client.send(Buffer.alloc(50 * MIB - 1));
  return await client.readResponse();
}

async function readNothing(client: RawConnection): Promise<null> {
  const { vm, host } = await plane.vm({ script: respond(200, Buffer.alloc(50 * MIB)) });
  client.socket.pause();
  client.send(getRequest(host));
  await vm.until(() => vm.requests.length === 1);
  return null;
}

async function cutByDrain(client: RawConnection): Promise<null> {
  await waiting(client);
  process.kill((await plane.proxy.workers())[0]!.pid, "SIGTERM"); // replaced by the supervisor, which then tells it to drain
  assert.equal(await client.ended, "reset");
  return null;
}

/** Without a table: its database is away. */
async function runWithoutTable(code: ErrorCode): Promise<Evidence> {
  const database = `postgres://nobody@127.0.0.1:${await freePort()}/none`;
  await using proxy = await startEdgeproxy({ database, region: plane.region, env: LOGS, ready: false });
  await proxy.waitForLog((line) => line["msg"] === "worker serves");
  const play: Play = (client) => (client.send(getRequest("app.example.com", "/", JSON_PLEASE)), client.readResponse());
  return await onProxy(play, () => proxy)(code);
}

/** With files for a few connections beside its own: more clients than those ask at once, and some have none left for their endpoint. */
async function runWithoutFiles(code: ErrorCode): Promise<Evidence> {
  const few = { fileLimit: openFiles(plane.proxy.pid) + 24 };
  await using proxy = await plane.another({ ...LOGS, EDGEPROXY_WORKERS: "0" }, few);
  const { vm, host } = await plane.vm({ script: hang() });
  const answers: Message[] = [];
  const play: Play = async (first) => {
    const clients = [first];
    while (clients.length < 16) clients.push(await openRaw(proxy.port, proxy.host));
    for (const client of clients) {
      client.send(getRequest(host, "/", JSON_PLEASE));
      void client.readResponse().then((answer) => answers.push(answer), () => {});
    }
    await proxy.waitFor(() => Promise.resolve(vm.requests.length + answers.length === clients.length), "has not dealt with all");
    for (const client of clients) client.reset(); // the admin address needs files, too
    return answers[0] ?? null;
  };
  const evidence = await onProxy(play, () => proxy)(code);
  return {
    ...evidence,
    grown: Object.fromEntries(Object.entries(evidence.grown).map(([sample, by]) => [sample, by / answers.length])),
  };
}

/** In this process, through an app whose handler throws. */
function runWithBug(): Promise<Evidence> {
  let text = "";
  const log = new CollectingLog();
  const writer = new LineWriter({ write: (bytes) => (text += new TextDecoder().decode(bytes), bytes.length) });
  const accessLog = new AccessLog({ sampling: { share: 1, errors: true }, writer });
  const app = new Hono<EdgeEnv>({ getPath: () => "/" }).onError((error) => {
    throw error;
  });
  app.all("*", () => {
    throw new Error("a bug");
  });
  const world: World = new World("later", 0, {
    dispatch: honoDispatch(app, (error) => log.error("handler failed", { error })),
    exchangeEnded: (exchange) => observer.ended(exchange),
  });
  const { metrics } = world;
  const hosts = new HostCounts(new RoutingTable());
  const outbox = new Outbox(() => {});
  const targets = new TargetCounts();
  const observer = new ExchangeObserver({
    worker: 0,
    metrics,
    hosts,
    targets,
    log,
    accessLog,
    tracing: null,
    outbox,
    routeOf: () => "",
  });
  world.client.send(Buffer.from(getRequest("app.test", "/", JSON_PLEASE)));
  world.network.settle();
  accessLog.close();
  world.sweep.close();
  const access = JSON.parse(text.trim()) as LogLine;
  const bad = metrics.badEnds[ERROR_CODES.indexOf("internal") * BLAMES.length + BLAMES.indexOf("edge")]!;
  const own = metrics.errors.reduce((sum, count) => sum + count, 0);
  return Promise.resolve({
    answer: cutMessage(world.client.take(), { bodiless: false, untilClose: "open" }),
    access,
    told: log.lines.map(({ level, fields }): LogLine => ({ level, ...fields })).filter((line) =>
      line["request_id"] === access["request_id"]
    ),
    grown: { 'errors_total{code="internal",blame="edge"}': bad, 'routing_errors_total{code="internal"}': own },
  });
}

/** The second time is once too often. */
function askTwice(host: string): Play {
  return async (client) => {
    client.send(getRequest(host, "/", JSON_PLEASE));
    await client.readResponse();
    client.send(getRequest(host, "/", JSON_PLEASE));
    return await client.readResponse();
  };
}

/** While the one place of the service is taken. */
function askFull(host: string): Play {
  return async (client) => {
    const taken = slowVm.requests.length;
    await using first = await openRaw(plane.proxy.port, plane.proxy.host);
    first.send(getRequest(host));
    await slowVm.until(({ requests }) => requests.length > taken);
    client.send(getRequest(host, "/", JSON_PLEASE));
    return await client.readResponse();
  };
}

const INJECTIONS: Readonly<Record<ErrorCode, Injection>> = {
  "no_route": {
    blame: "client",
    run: onProxy((client) => (client.send(getRequest("nobody.example.com", "/", JSON_PLEASE)), client.readResponse())),
  },
  "vm_unhealthy": { blame: "vm", problem: /^vm\/[\d.:]+: status 500$/, run: onProxy(get(respond(200, "ok"), 500)) },
  "vm_cordoned": { blame: "edge", problem: /^vm\/[\d.:]+: cordoned$/, run: onProxy(askCordoned) },
  "no_table": { blame: "database", run: runWithoutTable },
  overloaded: { blame: "edge", run: runWithoutFiles },
  "connect_failed": { blame: "region", run: onProxy((client) => askRegion(client, loopbackAddress())) },
  "connect_timeout": { blame: "region", run: onProxy((client) => askRegion(client, silentRegion.host)) },
  "upstream_reset": { blame: "vm", run: onProxy(get(resetConnection())) },
  "upstream_protocol": { blame: "vm", run: onProxy(get(sendRaw("SSH-2.0-OpenSSH_9.2\r\n"))) },
  "response_timeout": {
    blame: "vm",
    run: onProxy((client) => (client.send(getRequest("slow.example.com", "/", JSON_PLEASE)), client.readResponse())),
  },
  "stream_timeout": { blame: "vm", run: onProxy(uploadInVain) },
  "bad_request": { blame: "client", run: onProxy(withField("Host: another.example.com")) },
  "unsupported_coding": { blame: "client", run: onProxy(withField("Transfer-Encoding: gzip", "POST")) },
  "head_too_large": { blame: "client", run: onProxy(withField("X: y\r\n".repeat(130).trim())) },
  "target_too_long": { blame: "client", json: false, run: onProxy(ask((host) => getRequest(host, `/${"x".repeat(9000)}`))) },
  "body_too_large": { blame: "client", run: onProxy(withField("Content-Length: 100000001", "POST")) },
  "head_timeout": { blame: "client", json: false, run: onProxy(ask((host) => getRequest(host).slice(0, -2))) },
  "body_timeout": { blame: "client", run: onProxy(withField("Content-Length: 10", "POST")) },
  "send_timeout": { blame: "client", run: onProxy(readNothing) },
  "client_gone": { blame: "client", run: onProxy(async (client) => (await waiting(client), client.reset(), null)) },
  loop: { blame: "edge", run: onProxy((client) => withField(`Via: 1.1 ${pseudonym(plane.region)}`)(client)) },
  internal: { blame: "edge", run: runWithBug },
  "no_endpoints": {
    blame: "edge",
    problem: /^Service gone of route nowhere has no endpoint/,
    run: onProxy((client) => (client.send(getRequest("nowhere.example.com", "/", JSON_PLEASE)), client.readResponse())),
  },
  "rate_limited": { blame: "client", run: onProxy(askTwice("limited.example.com")) },
  "breaker_open": { blame: "vm", problem: /of service opened is open$/, run: onProxy(askTwice("opened.example.com")) },
  "queue_full": { blame: "vm", run: onProxy(askFull("full.example.com")) },
  "queue_timeout": { blame: "vm", run: onProxy(askFull("late.example.com")) },
  maintenance: {
    blame: "edge",
    run: onProxy((client) => (client.send(getRequest("maintained.example.com", "/", JSON_PLEASE)), client.readResponse())),
  },
  "cut_off": { blame: "edge", run: onProxy(cutByDrain) }, // last: it ends the worker
};

for (const code of ERROR_CODES) {
  test(`${code} shows its code and its blame wherever it must`, async () => {
    const injection = INJECTIONS[code];
    assert.ok(injection !== undefined, `nothing makes ${code} happen`);
    const { status, text, level } = CODES[code];
    const { blame, problem } = injection;
    const { answer, access, told, grown } = await injection.run(code);

    assert.deepEqual(accessLineProblems(access), []);
    assert.deepEqual([access["error"], access["blame"]], [code, blame]);
    if (problem !== undefined) assert.match(String(access["problem"]), problem);
    assert.deepEqual(told.map((line) => [line["level"], line["blame"]]), [[level, blame]]);
    assert.deepEqual(grown, {
      [`errors_total{code="${code}",blame="${blame}"}`]: 1,
      ...(status !== null && { [`routing_errors_total{code="${code}"}`]: 1 }),
    });
    if (status === null) assert.equal(answer, null);
    else assertAnswer(answer!, code, injection, access);
    assert.match(
      await readDocument("docs/errors.md"),
      new RegExp(`^\\| \`${code}\` \\| ${status ?? ""} ?\\| .*\`${blame}\`.* \\| ${level} \\| `, "m"),
    );
    assert.equal(text === "", status === null);
  });
}

function assertAnswer(answer: Message, code: ErrorCode, { blame, json }: Injection, access: LogLine): void {
  const { status, text } = CODES[code];
  const id = fieldValue(answer, "x-request-id");
  assert.equal(answer.startLine.split(" ")[1], String(status));
  assert.deepEqual([fieldValue(answer, "x-edgeproxy-error"), fieldValue(answer, "x-edgeproxy-blame")], [code, blame]);
  assert.deepEqual([access["status"], access["request_id"], access["outcome"], access["ended_by"]], [
    status,
    id,
    "refused",
    "edge",
  ]);
  const body = answer.body.toString();
  if (json === false) assert.equal(body, text);
  else assert.deepEqual(JSON.parse(body), { error: code, message: text, "request_id": id });
}
