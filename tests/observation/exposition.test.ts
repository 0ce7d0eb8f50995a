import { test } from "node:test";
import assert from "node:assert/strict";
import { type Figures, METRICS, renderMetrics } from "../../src/observation/exposition.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { readProcessFigures } from "../../src/runtime/process-figures.ts";

async function figuresOf(metrics: Metrics): Promise<Figures> {
  return {
    data: metrics.snapshot(),
    control: {
      version: "0.1.0",
      runtime: 'bun "1"',
      region: "eu",
      routes: 12,
      revision: 3,
      tableAgeSeconds: Infinity,
      refreshesSucceeded: 5,
      refreshesFailed: 1,
      lastRefreshSeconds: 0.02,
      badRows: 2,
      refreshHeld: true,
      probesHealthy: 8,
      probesUnhealthy: 4,
      endpoints: { unprobed: 0, healthy: 2, unhealthy: 1 },
    },
    process: await readProcessFigures(),
  };
}

/** Sample lines by their name and labels. */
function samplesOf(text: string): Map<string, string> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]));
}

test("renderMetrics() shows counters, gauges and labels as they were counted", async () => {
  const metrics = new Metrics();
  metrics.recordExchange("forwarded", 200, 0.003);
  metrics.recordExchange("forwarded", 204, 0.003);
  metrics.recordExchange("aborted", 0, 0.1);
  metrics.recordError("no_route");
  metrics.bytesIn = 100;
  metrics.upstreamOpen = 5;
  metrics.upstreamIdle = 3;
  const samples = samplesOf(await renderMetrics(await figuresOf(metrics)));
  const expected: Record<string, string> = {
    'edgeproxy_requests_total{outcome="forwarded",status_class="2xx"}': "2",
    'edgeproxy_requests_total{outcome="aborted",status_class="none"}': "1",
    'edgeproxy_requests_total{outcome="refused",status_class="4xx"}': "0",
    'edgeproxy_routing_errors_total{code="no_route"}': "1",
    'edgeproxy_routing_errors_total{code="internal"}': "0",
    'edgeproxy_bytes_total{direction="in"}': "100",
    'edgeproxy_upstream_connections{state="busy"}': "2",
    'edgeproxy_upstream_connections{state="idle"}': "3",
    "edgeproxy_routes": "12",
    "edgeproxy_table_revision": "3",
    "edgeproxy_table_age_seconds": "+Inf",
    "edgeproxy_refresh_held": "1",
    'edgeproxy_refreshes_total{result="failed"}': "1",
    'edgeproxy_probes_total{result="unhealthy"}': "4",
    'edgeproxy_endpoints{verdict="healthy"}': "2",
    'edgeproxy_build_info{version="0.1.0",runtime="bun \\"1\\"",region="eu"}': "1",
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
});

test("renderMetrics() shows durations as cumulative buckets with sum and count", async () => {
  const metrics = new Metrics();
  for (const seconds of [0.0004, 0.0005, 0.02, 100]) metrics.recordExchange("forwarded", 200, seconds);
  const samples = samplesOf(await renderMetrics(await figuresOf(metrics)));
  const bucket = (le: string) => samples.get(`edgeproxy_request_duration_seconds_bucket{le="${le}"}`);
  assert.deepEqual([bucket("0.0005"), bucket("0.01"), bucket("0.025"), bucket("60"), bucket("+Inf")], ["2", "2", "3", "3", "4"]);
  assert.equal(samples.get("edgeproxy_request_duration_seconds_count"), "4");
  assert.ok(Math.abs(Number(samples.get("edgeproxy_request_duration_seconds_sum")) - 100.0209) < 1e-9);
});

test("renderMetrics() gives each metric of the table one help line, one type line and at least one sample", async () => {
  const text = await renderMetrics(await figuresOf(new Metrics()));
  for (const row of METRICS) {
    assert.equal(text.split(`# TYPE ${row.name} ${row.type}\n`).length, 2, row.name);
    assert.equal(text.split(`# HELP ${row.name} ${row.help}\n`).length, 2, row.name);
    assert.match(text, new RegExp(`^${row.name}(_bucket)?[{ ]`, "m"));
  }
  assert.equal(new Set(METRICS.map((row) => row.name)).size, METRICS.length);
});

test("renderMetrics() answers two scrapes at a time without mixing them", async () => {
  const one = new Metrics();
  const two = new Metrics();
  one.recordExchange("forwarded", 200, 1);
  const [first, second] = await Promise.all([figuresOf(one).then(renderMetrics), figuresOf(two).then(renderMetrics)]);
  const name = 'edgeproxy_requests_total{outcome="forwarded",status_class="2xx"}';
  assert.deepEqual([samplesOf(first).get(name), samplesOf(second).get(name)], ["1", "0"]);
});

test("readProcessFigures() tells memory, CPU time and start", async () => {
  const figures = await readProcessFigures();
  assert.ok(figures.residentBytes > 1e6);
  assert.ok(figures.cpuSeconds > 0);
  assert.ok(figures.startedAtSeconds > 1.6e9);
  assert.ok(figures.loopDelaySeconds >= 0);
});
