import { test } from "node:test";
import assert from "node:assert/strict";
import { type Figures, METRICS, renderMetrics } from "../../src/observation/exposition.ts";
import { NO_DURATIONS } from "../../src/observation/duration-counts.ts";
import { addSparse, emptyRow } from "../../src/observation/host-figures.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { noBlames } from "../../src/observation/proxy-error.ts";
import {
  OTHERS,
  REFUSAL_COLUMN,
  RETRY_COLUMN,
  TARGET_COLUMNS,
  WAIT_COLUMN,
  WAIT_MS_COLUMN,
} from "../../src/observation/target-figures.ts";
import { noRestarts } from "../../src/observation/worker-status.ts";
import { readProcessFigures } from "../../src/runtime/process-figures.ts";
import { workerStatus } from "../fixtures/worker-status.ts";

/** One exchange that a VM has spoilt, in 0.2 s. */
const hostRow = emptyRow();
addSparse(hostRow, [5, 1, 7, 1, 11, 200, 13, 400, 14 + 8, 1]);

/** One that the VM has spoilt and one beyond the rate limit; another attempt was made, and one has waited. */
const targetRow = emptyRow(TARGET_COLUMNS);
addSparse(targetRow, [4, 1, 5, 1, 7, 1, 11, 200, 14 + 8, 2]);
addSparse(targetRow, [REFUSAL_COLUMN, 1, RETRY_COLUMN, 1, WAIT_COLUMN, 1, WAIT_MS_COLUMN, 250]);

async function figuresOf(metrics: Metrics): Promise<Figures> {
  return {
    data: metrics.snapshot(),
    hosts: [{ host: 'a"b.test', counts: hostRow }],
    policed: {
      troubles: [
        { name: "vm/10.0.0.5:80@users", service: "users", kind: "breaker_open" },
        { name: "vm/10.0.0.6:80@users", service: "users", kind: "breaker_open" },
        { name: "vm/10.0.0.6:80@users", service: "users", kind: "trial" },
        { name: "shop", service: "shop", kind: "breaker_half_open" },
      ],
      queues: [{ service: "users", waiting: 3, places: 10 }],
      targets: [{ host: "api users", counts: targetRow }, { host: OTHERS, counts: emptyRow(TARGET_COLUMNS) }],
      shares: [{ route: "api", service: "users", share: 0.9 }, { route: "api", service: "canary", share: 0.1 }],
      maintained: { route: 1, service: 0 },
      drained: { route: 0, service: 2 },
      orders: 3,
      oldestOrderAtMs: 1_700_000_000_250,
      unusable: ["gone"],
      hidden: 4,
    },
    workers: [workerStatus({ worker: 1, metrics: metrics.snapshot() })],
    restarts: noRestarts(),
    control: {
      version: "0.1.0",
      runtime: 'bun "1"',
      region: "eu",
      routes: 12,
      revision: 3,
      tableAgeSeconds: Infinity,
      updateIntervalSeconds: 600,
      refreshesSucceeded: 5,
      refreshesFailed: 1,
      lastRefreshSeconds: 0.02,
      badRows: 2,
      refreshHeld: true,
      policiesKept: 3,
      excluded: { "bad_row": 1, conflict: 0, flapping: 2, "bad_policy": 0 },
      tableSource: "last good table",
      pinned: true,
      following: "change log",
      server: "db1:5432 (standby)",
      lastComparisonAtMs: 1_700_000_001_500,
      stateWrites: 3,
      stateFailures: 1,
      spans: { exported: 7, lost: 2 },
      configFile: { ok: false, loadedAtMs: 1_700_000_000_250, results: { changed: 2, unchanged: 1, refused: 3 } },
      policies: { revision: 4, services: 2, routes: 5, domains: 7, names: 3, namesFailing: 1 },
      lastStateWriteAtMs: 1_700_000_000_500,
      refreshDurations: NO_DURATIONS,
      sourceReadable: false,
      logLinesDropped: 2,
      cordoned: 1,
      errorEventsLost: { ...noBlames(), client: 7 },
      probeDurations: { buckets: [0, 3, ...NO_DURATIONS.buckets.slice(2)], sumSeconds: 0.5 },
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
  metrics.upstreamConnecting = 4;
  metrics.logLinesDropped = 5;
  metrics.recordRetry("probe_passed");
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
    'edgeproxy_routes_excluded{code="flapping"}': "2",
    'edgeproxy_table_info{source="last good table"}': "1",
    "edgeproxy_table_pinned": "1",
    'edgeproxy_source_info{following="change log",server="db1:5432 (standby)"}': "1",
    'edgeproxy_state_writes_total{result="failed"}': "1",
    "edgeproxy_state_last_write_timestamp_seconds": "1700000000.5",
    "edgeproxy_last_comparison_timestamp_seconds": "1700000001.5",
    "edgeproxy_table_revision": "3",
    "edgeproxy_table_age_seconds": "+Inf",
    "edgeproxy_update_interval_seconds": "600",
    "edgeproxy_refresh_held": "1",
    'edgeproxy_refreshes_total{result="failed"}': "1",
    'edgeproxy_probes_total{result="unhealthy"}': "4",
    'edgeproxy_endpoints{verdict="healthy"}': "2",
    "edgeproxy_endpoints_cordoned": "1",
    'edgeproxy_error_events_lost_total{blame="client"}': "7",
    'edgeproxy_probe_duration_seconds_bucket{le="0.0005"}': "0",
    'edgeproxy_probe_duration_seconds_bucket{le="0.001"}': "3",
    "edgeproxy_probe_duration_seconds_sum": "0.5",
    "edgeproxy_source_up": "0",
    "edgeproxy_log_lines_dropped_total": "7",
    'edgeproxy_upstream_retries_total{reason="probe_passed"}': "1",
    'edgeproxy_upstream_connections{state="connecting"}': "4",
    'edgeproxy_build_info{version="0.1.0",runtime="bun \\"1\\"",region="eu"}': "1",
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
});

test("renderMetrics() shows hosts, without what is 0", async () => {
  const text = await renderMetrics(await figuresOf(new Metrics()));
  assert.deepEqual(text.split("\n").filter((line) => line.startsWith("edgeproxy_host_")), [
    'edgeproxy_host_requests_total{host="a\\"b.test",status_class="5xx"} 1',
    'edgeproxy_host_errors_total{host="a\\"b.test",blame="vm"} 1',
    'edgeproxy_host_request_duration_seconds_sum{host="a\\"b.test"} 0.2',
    'edgeproxy_host_request_duration_seconds_count{host="a\\"b.test"} 1',
    'edgeproxy_host_bytes_total{host="a\\"b.test",direction="in"} 0',
    'edgeproxy_host_bytes_total{host="a\\"b.test",direction="out"} 400',
  ]);
});

test("renderMetrics() shows what policies do by route and service, and what keeps requests away", async () => {
  const metrics = new Metrics();
  metrics.recordQueueEnd("served", 0.02);
  metrics.recordQueueEnd("full", 0);
  const text = await renderMetrics(await figuresOf(metrics));
  const shown = text.split("\n").filter((line) =>
    /^edgeproxy_(route_|queue_waits|service_|breakers\{|endpoints_ejected|maintenance|draining|policy_order|routes_hidden)/.test(
      line,
    )
  );
  assert.deepEqual(shown, [
    'edgeproxy_route_requests_total{route="api",service="users",status_class="4xx"} 1',
    'edgeproxy_route_requests_total{route="api",service="users",status_class="5xx"} 1',
    'edgeproxy_route_share{route="api",service="users"} 0.9',
    'edgeproxy_route_share{route="api",service="canary"} 0.1',
    'edgeproxy_route_errors_total{route="api",service="users",blame="vm"} 1',
    'edgeproxy_route_refusals_total{route="api",service="users",code="rate_limited"} 1',
    'edgeproxy_route_retries_total{route="api",service="users"} 1',
    'edgeproxy_route_request_duration_seconds_sum{route="api",service="users"} 0.2',
    'edgeproxy_route_request_duration_seconds_count{route="api",service="users"} 2',
    'edgeproxy_route_request_duration_seconds_sum{route="(other)",service="(other)"} 0',
    'edgeproxy_route_request_duration_seconds_count{route="(other)",service="(other)"} 0',
    'edgeproxy_route_queue_wait_seconds_sum{route="api",service="users"} 0.25',
    'edgeproxy_route_queue_wait_seconds_count{route="api",service="users"} 1',
    'edgeproxy_queue_waits_total{end="served"} 1',
    'edgeproxy_queue_waits_total{end="timeout"} 0',
    'edgeproxy_queue_waits_total{end="left"} 0',
    'edgeproxy_queue_waits_total{end="full"} 1',
    'edgeproxy_service_queued{service="users"} 3',
    'edgeproxy_service_queue_places{service="users"} 10',
    'edgeproxy_breakers{state="open"} 2',
    'edgeproxy_breakers{state="half-open"} 1',
    "edgeproxy_endpoints_ejected 1",
    'edgeproxy_service_troubles{service="users",trouble="breaker_open"} 2',
    'edgeproxy_service_troubles{service="users",trouble="trial"} 1',
    'edgeproxy_service_troubles{service="shop",trouble="breaker_half_open"} 1',
    'edgeproxy_service_troubles{service="gone",trouble="no_endpoint"} 1',
    'edgeproxy_maintenance{kind="route"} 1',
    'edgeproxy_maintenance{kind="service"} 0',
    'edgeproxy_draining{kind="route"} 0',
    'edgeproxy_draining{kind="service"} 2',
    "edgeproxy_policy_orders 3",
    "edgeproxy_policy_order_oldest_timestamp_seconds 1700000000.25",
    "edgeproxy_routes_hidden 4",
  ]);
  const waits = samplesOf(text);
  assert.deepEqual(
    [waits.get("edgeproxy_queue_wait_seconds_count"), waits.get('edgeproxy_queue_wait_seconds_bucket{le="0.025"}')],
    ["1", "1"],
  );
});

test("renderMetrics() tells a hundred services apart, and the others together", async () => {
  const figures = await figuresOf(new Metrics());
  const queues = Array.from({ length: 103 }, (_, index) => ({ service: `s${index}`, waiting: 2, places: 5 }));
  const text = await renderMetrics({ ...figures, policed: { ...figures.policed, queues } });
  const lines = text.split("\n").filter((line) => line.startsWith("edgeproxy_service_queued{"));
  assert.deepEqual([lines.length, lines[0], lines.at(-1)], [
    101,
    'edgeproxy_service_queued{service="s0"} 2',
    'edgeproxy_service_queued{service="(other)"} 6',
  ]);
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
    assert.match(text, new RegExp(`^${row.name}(_bucket|_sum)?[{ ]`, "m"));
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

test("renderMetrics() tells workers apart and leaves out what is not known of one", async () => {
  const busy = new Metrics();
  busy.connectionsOpen = 7;
  busy.exchangesActive = 2;
  busy.recordExchange("forwarded", 200, 0.001);
  busy.recordExchange("refused", 404, 0.001);
  const workers = [
    workerStatus({
      worker: 1,
      metrics: busy.snapshot(),
      revision: 12,
      answerMs: 2,
      figures: { residentBytes: 90e6, cpuSeconds: 3.5, stallSeconds: 0.001 },
    }),
    workerStatus({ worker: 2, state: "silent", revision: 10, revisionsBehind: 2, metrics: busy.snapshot() }),
    workerStatus({ worker: 3, state: "restarting", pid: null, metrics: null, figures: null, answerMs: null }),
  ];
  const restarts = { ...noRestarts(), killed: 3 };
  const samples = samplesOf(await renderMetrics({ ...await figuresOf(new Metrics()), workers, restarts }));
  const expected: Record<string, string | undefined> = {
    'edgeproxy_workers{state="serving"}': "1",
    'edgeproxy_workers{state="silent"}': "1",
    'edgeproxy_workers{state="draining"}': "0",
    'edgeproxy_worker_restarts_total{reason="killed"}': "3",
    'edgeproxy_worker_restarts_total{reason="asked"}': "0",
    'edgeproxy_worker_up{worker="1"}': "1",
    'edgeproxy_worker_up{worker="2"}': "0",
    'edgeproxy_worker_up{worker="3"}': "0",
    'edgeproxy_worker_connections{worker="1"}': "7",
    'edgeproxy_worker_connections{worker="3"}': undefined,
    'edgeproxy_worker_exchanges_active{worker="1"}': "2",
    'edgeproxy_worker_requests_total{worker="1"}': "2",
    'edgeproxy_worker_resident_memory_bytes{worker="1"}': "90000000",
    'edgeproxy_worker_resident_memory_bytes{worker="3"}': undefined,
    'edgeproxy_worker_cpu_seconds_total{worker="1"}': "3.5",
    'edgeproxy_worker_stall_seconds{worker="1"}': "0.02",
    'edgeproxy_worker_answer_seconds{worker="1"}': "0.002",
    'edgeproxy_worker_answer_seconds{worker="3"}': undefined,
    'edgeproxy_worker_table_revision{worker="1"}': "12",
    'edgeproxy_worker_revisions_behind{worker="2"}': "2",
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
});

test("renderMetrics() shows the worker that has replaced one, not the one that drains", async () => {
  const [leaving, fresh] = [new Metrics(), new Metrics()];
  leaving.recordExchange("forwarded", 200, 0.001);
  const workers = [
    workerStatus({ worker: 1, metrics: fresh.snapshot() }),
    workerStatus({ worker: 1, state: "draining", metrics: leaving.snapshot() }),
  ];
  for (const order of [workers, workers.toReversed()]) {
    const samples = samplesOf(await renderMetrics({ ...await figuresOf(fresh), workers: order }));
    assert.equal(samples.get('edgeproxy_worker_requests_total{worker="1"}'), "0");
    assert.equal(samples.get('edgeproxy_workers{state="draining"}'), "1");
  }
});

test("readProcessFigures() tells memory, CPU time and start", async () => {
  const figures = await readProcessFigures();
  assert.ok(figures.residentBytes > 1e6);
  assert.ok(figures.cpuSeconds > 0);
  assert.ok(figures.startedAtSeconds > 1.6e9);
  assert.ok(figures.loopDelaySeconds >= 0);
});
