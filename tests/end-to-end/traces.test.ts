/** Traces: what VMs are told, what a collector gets, and what is not even loaded where there is none. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Collector } from "../fixtures/collector.ts";
import { type Edgeproxy, type LogLine, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, rawRequest } from "../fixtures/raw-client.ts";
import { resetConnection, respond, type Vm } from "../fixtures/vm.ts";

const HOST = "app.example.com";
const TRACE = "0af7651916cd43dd8448eb211c80319c", PARENT = "b7ad6b7169203331";

let server: TestDatabase;
let platform: Platform;
let vm: Vm;
before(async () => {
  server = await startPostgres();
  platform = await Platform.start(server);
  vm = await platform.vm(HOST);
});
after(async () => {
  await platform[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

interface Parent {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: string;
}

/** What the VM got with its last request. */
function lastParent(): Parent {
  const [, traceId = "", spanId = "", flags = ""] = fieldValue(vm.requests.at(-1)!, "traceparent")?.split("-") ?? [];
  return { traceId, spanId, flags };
}

async function accessLine(edge: Edgeproxy, path: string): Promise<LogLine> {
  return await edge.waitForLog((line) => line["msg"] === "access" && String(line["path"]).startsWith(path));
}

async function metricsOf(edge: Edgeproxy): Promise<string> {
  return await (await edge.admin("/metrics")).text();
}

/** The line of the supervisor's end. */
async function stopped(edge: Edgeproxy): Promise<LogLine> {
  assert.equal(await edge.stop(), 0);
  return edge.log.find((line) => line["msg"] === "traces")!;
}

test("edgeproxy exports a span for the exchange and one for the VM, with the ids that everybody else sees", async () => {
  await using collector = await Collector.start();
  await using edge = await platform.edge({
    EDGEPROXY_ACCESS_LOG: "on",
    EDGEPROXY_LOG_LEVEL: "debug",
    OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20s3cret",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=test",
    OTEL_TRACES_SAMPLER: "parentbased_always_on",
  });

  const beforeMs = Date.now();
  const response = await get(edge, HOST, "/a/b?secret=1");
  const told = lastParent();
  const [server, client] = await spansOf(collector, told.traceId);
  const afterMs = Date.now(); // the answer may be here before the edge has looked at the clock
  const line = await accessLine(edge, "/a/b");
  assert.equal(response.status, 200);
  assert.deepEqual([told.traceId, told.flags], [fieldValue(vm.requests.at(-1)!, "x-request-id"), "01"]);
  assert.deepEqual([line["trace_id"], line["request_id"]], [told.traceId, told.traceId]);
  assert.deepEqual([client.spanId, client.parentId, server.parentId], [told.spanId, server.spanId, ""]);
  assert.deepEqual([server.name, server.kind, server.status], ["GET", 2, 0]);
  assert.ok(
    server.startMs >= beforeMs - 2 && server.endMs <= afterMs + 2 && server.startMs <= client.startMs,
    JSON.stringify(server),
  );
  assert.ok(client.endMs <= server.endMs && client.startMs <= client.endMs);
  const { attributes } = server;
  assert.equal(attributes["http.response.status_code"], 200);
  assert.equal(attributes["url.path"], "/a/b");
  assert.equal(attributes["server.address"], HOST);
  assert.equal(attributes["edgeproxy.request_id"], told.traceId);
  assert.equal(attributes["edgeproxy.route"], HOST);
  assert.deepEqual([client.attributes["server.address"], client.attributes["server.port"]], [vm.host, vm.port]);
  assert.equal(client.attributes["edgeproxy.endpoint.region"], platform.region.id);
  assert.equal(server.resource["service.name"], "edgeproxy");
  assert.equal(server.resource["deployment.environment"], "test");
  assert.deepEqual([collector.requests[0]?.path, collector.requests[0]?.fields.authorization], ["/v1/traces", "Bearer s3cret"]);
  assert.doesNotMatch(JSON.stringify([collector.spans, edge.log]), /s3cret|secret=1.*collector/);

  // A trace that somebody else has begun is joined, or left alone when that somebody does not record it
  await get(edge, HOST, "/joined", `traceparent: 00-${TRACE}-${PARENT}-01`, "tracestate: a=1");
  const joined = lastParent();
  assert.deepEqual([joined.traceId, joined.flags, fieldValue(vm.requests.at(-1)!, "tracestate")], [TRACE, "01", "a=1"]);
  const [ours, theirs] = await spansOf(collector, TRACE);
  assert.deepEqual([ours.parentId, theirs.parentId, theirs.spanId], [PARENT, ours.spanId, joined.spanId]);
  assert.equal((await accessLine(edge, "/joined"))["trace_id"], TRACE);
  const unsampled = `00-${TRACE}-${PARENT}-00`;
  await get(edge, HOST, "/left", `traceparent: ${unsampled}`);
  assert.equal(fieldValue(vm.requests.at(-1)!, "traceparent"), unsampled);

  // Errors: of the VM, and our own
  vm.script = respond(500, "broken");
  await get(edge, HOST, "/500");
  const [broken, cause] = await spansOf(collector, lastParent().traceId);
  vm.script = respond(200, "fine");
  assert.deepEqual([broken.status, cause.status, broken.attributes["error.type"]], [2, 2, "500"]);
  const unknown = await get(edge, "nobody.example.com", "/nowhere");
  const [refused, ...none] = await collector.until(1, (span) => span.traceId === fieldValue(unknown, "x-request-id"));
  assert.deepEqual([refused?.status, refused?.attributes["edgeproxy.error"], none.length], [0, "no_route", 0]);
  assert.equal(refused?.attributes["edgeproxy.blame"], "client");

  // What is not exported yet leaves with the process
  await get(edge, HOST, "/last");
  const { traceId } = lastParent();
  const end = await stopped(edge);
  assert.equal(collector.spans.filter((span) => span.traceId === traceId).length, 2);
  assert.equal(collector.spans.some((span) => span.attributes["url.path"] === "/left"), false);
  assert.deepEqual([end["opentelemetry_loaded"], end["exported"], end["lost"]], [true, collector.spans.length, 0]);
});

async function spansOf(collector: Collector, traceId: string) {
  const spans = await collector.until(2, (span) => span.traceId === traceId);
  const [server, client] = [spans.find(({ kind }) => kind === 2), spans.find(({ kind }) => kind === 3)];
  assert.ok(server !== undefined && client !== undefined && spans.length === 2, JSON.stringify(spans));
  return [server, client] as const;
}

test("edgeproxy keeps the trace when it sends a request again, and when a trusted peer's id cannot be one", async () => {
  await using edge = await platform.edge({
    EDGEPROXY_ACCESS_LOG: "on",
    EDGEPROXY_TRUSTED_PROXIES: "127.0.0.9",
    EDGEPROXY_WORKERS: "1",
  });
  await get(edge, HOST, "/first");
  const fine = vm.script;
  vm.script = (request, connection) => {
    vm.script = fine;
    return resetConnection()(request, connection);
  };
  assert.equal((await get(edge, HOST, "/again")).status, 200);
  const sent = vm.requests.filter(({ startLine }) => startLine.includes("/again"));
  assert.equal(sent.length, 2, "the pooled connection broke, so it was sent again");
  assert.equal(fieldValue(sent[0]!, "traceparent"), fieldValue(sent[1]!, "traceparent"));

  for (const id of ["lb-7", "0".repeat(32), TRACE.toUpperCase(), TRACE]) {
    await rawRequest(edge.port, getRequest(HOST, `/${id}`, `X-Request-Id: ${id}`), edge.host, "127.0.0.9");
    const line = await accessLine(edge, `/${id}`);
    const { traceId, spanId, flags } = lastParent();
    assert.match(`${traceId}-${spanId}-${flags}`, /^(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00$/, id);
    assert.deepEqual([line["request_id"], line["trace_id"], traceId === id], [id, traceId, id === TRACE]);
  }
});

test("edgeproxy loses and counts the spans that a collector does not take, and serves on", async () => {
  await using collector = await Collector.start();
  collector.status = 400;
  await using edge = await platform.edge({
    EDGEPROXY_LOG_LEVEL: "debug",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/elsewhere`,
    OTEL_TRACES_SAMPLER: "always_on",
  });
  assert.equal((await get(edge, HOST)).status, 200);
  const lost = await edge.waitForLog((line) => line["msg"] === "spans are lost");
  assert.deepEqual([lost["level"], lost["spans"]], ["warn", 2]);
  assert.equal((await get(edge, HOST)).status, 200);
  assert.match(await metricsOf(edge), /^edgeproxy_spans_total\{result="lost"\} [24]$/m);
  assert.equal(collector.requests[0]?.path, "/elsewhere");
  const end = await stopped(edge);
  assert.deepEqual([end["exported"], end["lost"]], [0, 4]);
  assert.equal(edge.log.filter((line) => line["msg"] === "spans are lost").length, 1, "the log tells once a minute");
});

test("edgeproxy neither waits for a collector that says nothing, nor for one that is away", async () => {
  await using collector = await Collector.start();
  collector.status = null;
  const away = `http://127.0.0.1:${await freePort()}`;
  for (const endpoint of [collector.url, away]) {
    await using edge = await platform.edge({
      EDGEPROXY_LOG_LEVEL: "debug",
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_TIMEOUT: "300",
      OTEL_TRACES_SAMPLER: "always_on",
    });
    assert.equal((await get(edge, HOST)).status, 200);
    await edge.waitForLog((line) => line["msg"] === "spans are lost" && line["spans"] === 2);
    assert.equal((await get(edge, HOST)).status, 200);
    assert.equal((await stopped(edge))["lost"], 4, "also those that were on their way at the end");
  }
});

test("edgeproxy loads nothing of OpenTelemetry where no collector is named, or it is disabled", async () => {
  const disabled = {
    OTEL_SDK_DISABLED: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
    OTEL_TRACES_SAMPLER: "always_on",
  };
  for (const env of [{}, disabled]) {
    await using edge = await platform.edge({ EDGEPROXY_LOG_LEVEL: "debug", ...env });
    await get(edge, HOST);
    assert.equal(
      lastParent().flags,
      "OTEL_TRACES_SAMPLER" in env ? "01" : "00",
      "a sampler that is named says what VMs should record",
    );
    assert.doesNotMatch(await metricsOf(edge), /edgeproxy_spans_total\{/);
    assert.equal((await stopped(edge))["opentelemetry_loaded"], false);
  }
});

test("edgeproxy does not start with a collector that it cannot speak to", async () => {
  const run = await runEdgeproxy(["serve"], {
    env: {
      EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1:1/x",
      EDGEPROXY_REGION_ID: platform.region.id,
      OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317",
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    },
  });
  assert.equal(run.exitCode, 2);
  assert.match(run.stderr, /^OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL .*, got "collector:4317"$/m);
  assert.match(run.stderr, /^OTEL_EXPORTER_OTLP_PROTOCOL: must be one of http\/protobuf, got "grpc"$/m);
});
