/** What is told of an exchange: how often it was sent, what it waited for, who ended it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ExchangeObserver } from "../../src/lifecycle/exchange-observer.ts";
import { Outbox } from "../../src/lifecycle/outbox.ts";
import { AccessLog, NO_ACCESS_LOG } from "../../src/observation/access-log.ts";
import type { ExchangeReport } from "../../src/observation/exchange-report.ts";
import { HostCounts } from "../../src/observation/host-counts.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { TargetCounts } from "../../src/observation/target-counts.ts";
import { beginTurn, endTurn } from "../../src/runtime/clock.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { VM, World } from "../fixtures/world.ts";
import type { MemorySocket } from "../fixtures/memory-socket.ts";
import { ELSEWHERE, region, vm } from "../fixtures/records.ts";

const GET = "GET /a?b HTTP/1.1\r\nHost: app.test\r\n\r\n";
const UPGRADE = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

class ObservedWorld extends World {
  /** Thrown where a line of the access log would be written. */
  fault: Error | null = null;
  readonly reports: ExchangeReport[];
  readonly log: CollectingLog;

  constructor(vmConnections = 1, endpoints: ConstructorParameters<typeof World>[3] = [VM]) {
    const reports: ExchangeReport[] = [];
    const log = new CollectingLog();
    const accessLog = new AccessLog({ sampling: NO_ACCESS_LOG });
    accessLog.shareFor = () => 1;
    accessLog.record = (report) => {
      if (this.fault !== null) throw this.fault;
      reports.push(report);
    };
    const observer = new ExchangeObserver({
      worker: 3,
      metrics: new Metrics(),
      hosts: new HostCounts(new RoutingTable()),
      targets: new TargetCounts(),
      log,
      accessLog,
      tracing: null,
      outbox: new Outbox(() => {}),
      routeOf: (host) => `route of ${host}`,
    });
    super("later", vmConnections, { exchangeEnded: (exchange) => observer.ended(exchange) }, endpoints);
    this.reports = reports;
    this.log = log;
  }
}

/** The clock moves. */
function pass(): void {
  const then = performance.now();
  while (performance.now() - then < 2);
}

test("an exchange on a pooled connection is told with its route, its ids, and no time spent on waiting", () => {
  using w = new ObservedWorld();
  w.say(w.client, GET);
  pass();
  w.say(w.vm[0]!, OK);
  const [{ atMs, requestId, traceId, headWaitMs: _, firstByteMs, totalMs, ...told }] = w.reports as [ExchangeReport];
  assert.deepEqual(told, {
    worker: 3,
    client: "192.0.2.7",
    method: "GET",
    host: "app.test",
    route: "route of app.test",
    target: "/a?b",
    protocol: "HTTP/1.1",
    status: 200,
    outcome: "forwarded",
    code: null,
    blame: null,
    problem: "",
    bytesIn: 0,
    bytesOut: 2,
    endedBy: "vm",
    upstream: `${VM.address}:${VM.port}`,
    upstreamKind: "vm",
    region: VM.region,
    attempts: 1,
    policy: "",
    service: "",
    decidedBy: "",
    retry: "",
    queueWaitMs: 0,
    reused: true,
    probeWaitMs: 0,
    connectMs: 0,
  });
  assert.ok(Math.abs(Date.now() - atMs) < 60_000 && requestId !== "" && traceId !== "");
  assert.ok(firstByteMs !== null && firstByteMs >= 2 && totalMs >= firstByteMs);
  assert.deepEqual(w.log.lines, []);
});

test("waiting for a verdict and for connections counts, over all attempts, also of a client that leaves meanwhile", () => {
  for (const leaves of [false, true]) {
    using w = new ObservedWorld(0);
    w.endpoint.judge("unprobed");
    w.dials.push("refused", "open");
    w.client.send(Buffer.from(GET));
    pass();
    w.endpoint.judge("healthy"); // connects
    pass();
    w.network.settle(); // is refused, and waits for a fresh verdict
    pass();
    w.endpoint.judge("healthy"); // connects
    pass();
    if (leaves) w.client.abort();
    w.network.settle();
    if (!leaves) w.say(w.vm[0]!, OK);
    const [{ probeWaitMs, connectMs, attempts, reused, problem, code, endedBy, firstByteMs, totalMs }] = w.reports as [
      ExchangeReport,
    ];
    assert.deepEqual([attempts, reused], [2, false]);
    assert.ok(probeWaitMs >= 4 && connectMs >= 4 && totalMs >= probeWaitMs + connectMs, `${probeWaitMs} ${connectMs} ${totalMs}`);
    if (leaves) assert.deepEqual([code, endedBy, firstByteMs], ["client_gone", "client", null]);
    else assert.deepEqual([code, endedBy, problem], [null, "vm", "Cannot connect"]);
  }
});

test("who ended it: the client, the VM, the region, or the edge", () => {
  const cases: readonly [what: string, play: (w: ObservedWorld) => void, endedBy: string, endpoints?: typeof FAR][] = [
    ["an own answer", (w) => w.say(w.client, "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n"), "edge"],
    ["an answer that breaks off", (w) => (w.say(w.client, GET), w.say(w.vm[0]!, OK.slice(0, -1)), w.vm[0]!.abort()), "vm"],
    ["one that turns malformed", (w) => {
      w.say(w.client, GET);
      w.say(w.vm[0]!, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx");
    }, "edge"],
    ["a tunnel that the client ends", (w) => tunnel(w, w.client, w.vm[0]!), "client"],
    ["a tunnel that the VM ends", (w) => tunnel(w, w.vm[0]!, w.client), "vm"],
    [
      "a region's answer",
      (w) => {
        w.dials.push("open");
        w.say(w.client, GET);
        w.say(w.vm[0]!, OK);
      },
      "region",
      FAR,
    ],
  ];
  for (const [what, play, by, endpoints = [VM]] of cases) {
    using w = new ObservedWorld(endpoints === FAR ? 0 : 1, endpoints);
    play(w);
    w.network.settle();
    assert.deepEqual(w.reports.map(({ endedBy }) => endedBy), [by], what);
  }
});

const FAR = [region(ELSEWHERE, "203.0.113.7")];

function tunnel(w: ObservedWorld, first: MemorySocket, second: MemorySocket): void {
  w.say(w.client, UPGRADE);
  w.say(w.vm[0]!, SWITCH);
  first.finish();
  w.network.settle();
  second.finish();
}

test("a client that closes in order while it waits is served, and told of without an error", () => {
  using w = new ObservedWorld(1);
  w.say(w.client, GET);
  w.client.finish();
  w.network.settle();
  w.say(w.vm[0]!, OK);
  assert.match(w.client.take().toString(), /^HTTP\/1\.1 200 OK/);
  assert.deepEqual(w.reports.map(({ status, outcome, code, endedBy, problem }) => [status, outcome, code, endedBy, problem]), [
    [200, "forwarded", null, "vm", "The client had closed its side of the connection before the answer was complete"],
  ]);
});

test("a bad end is told to the application log once, by the level of its code", () => {
  using w = new ObservedWorld();
  w.say(w.client, "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
  w.say(w.client, GET);
  w.vm[0]!.abort();
  w.network.settle();
  w.say(w.client, "GET / HTTP/1.1\r\n");
  w.client.abort();
  w.network.settle();
  const told = w.log.lines.map(({ level, msg, fields }) => [level, msg, fields["code"], fields["blame"]].join(", "));
  assert.deepEqual(told, [
    "warn, request without a route, no_route, client",
    "error, proxy error, upstream_reset, vm",
    "debug, exchange broken off, client_gone, client",
  ]);
});

test("what a target that is no path says of a user is not told, however malformed it is", () => {
  const told = (target: string): string | undefined => {
    using w = new ObservedWorld();
    w.say(w.client, `GET ${target} HTTP/1.1\r\nHost: app.test\r\n\r\n`);
    return w.reports[0]?.target;
  };
  for (
    const [target, shown] of [
      ["http://u:secret@app.test/x?y=a@b", "http://***@app.test/x?y=a@b"],
      ["u:secret@app.test:443", "***@app.test:443"],
      ["u:secret@app.test?to=http://b", "***@app.test?to=http://b"],
      ["http:/u:secret@app.test/x", "http:/***@app.test/x"],
      ["http:///u:secret@app.test", "http:///***@app.test"],
      ["http:u:se@cret@app.test", "***@app.test"],
      ["ftp://app.test/u@x", "ftp://app.test/u@x"],
    ] as const
  ) assert.equal(told(target), shown);
});

test("a fault while an exchange is told of is logged, and its connection goes on", () => {
  using w = new ObservedWorld();
  w.fault = new Error("no");
  w.say(w.client, GET);
  w.say(w.vm[0]!, OK);
  w.fault = null;
  w.say(w.client, GET);
  w.say(w.vm[0]!, OK);
  assert.equal(w.client.take().toString().split("HTTP/1.1 200 OK").length, 3);
  assert.equal(w.reports.length, 1);
  assert.deepEqual(w.log.lines.map(({ level, msg }) => `${level} ${msg}`), ["error cannot tell of an exchange"]);
});

test("a refusal names the endpoints that were meant, and why they cannot be had", () => {
  const others = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((address) => vm(address, 80));
  const [A, B, C] = others as [EndpointRecord, EndpointRecord, EndpointRecord];
  const cases: readonly [prepare: (w: ObservedWorld) => void, code: string, problem: string, endpoints: typeof others][] = [
    [(w) => w.endpoint.judge("unhealthy", "status 500"), "vm_unhealthy", `${VM.key}: status 500`, [VM]],
    [(w) => w.endpoint.judge("unhealthy"), "vm_unhealthy", `${VM.key}: unhealthy`, [VM]],
    [
      (w) => others.forEach((each, i) => w.endpoints.of(each).judge("unhealthy", `status 50${i}`)),
      "vm_unhealthy",
      `${A.key}: status 500; ${B.key}: status 501; 1 more`,
      others,
    ],
    [
      (w) => {
        for (const each of [A, B]) w.endpoints.of(each).judge("unhealthy", "status 500");
        w.endpoints.cordon(new Set([C.key]));
      },
      "vm_cordoned",
      `${C.key}: cordoned`,
      others,
    ],
  ];
  for (const [prepare, code, problem, endpoints] of cases) {
    using w = new ObservedWorld(0, endpoints);
    prepare(w);
    w.say(w.client, GET);
    assert.deepEqual(w.reports.map((report) => [report.code, report.problem, report.upstream]), [[code, problem, ""]]);
  }
});

test("a refusal after an attempt says what came of that", () => {
  using w = new ObservedWorld(0);
  w.endpoint.judge("healthy");
  w.dials.push("refused");
  w.say(w.client, GET);
  w.endpoint.judge("unhealthy", "status 500");
  assert.deepEqual(w.reports.map(({ code, problem, upstream }) => [code, problem, upstream]), [
    ["vm_unhealthy", "Cannot connect", "127.0.0.1:9"],
  ]);
});

test("time that stands still within a turn of the loop makes no negative or odd figures", () => {
  using w = new ObservedWorld();
  beginTurn();
  w.say(w.client, GET);
  w.say(w.vm[0]!, OK);
  endTurn();
  const [{ headWaitMs, firstByteMs, totalMs }] = w.reports as [ExchangeReport];
  assert.deepEqual([headWaitMs, firstByteMs, totalMs], [0, 0, 0]);
});
