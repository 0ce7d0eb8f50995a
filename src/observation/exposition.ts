/*  Metrics in the Prometheus text format.
 *
 *  METRICS is the one list: names, help and where each sample comes from; the documentation is derived from it. A scrape builds a
 *  fresh prom-client registry from figures read once, so that all samples of one answer belong together and two scrapes
 *  at a time cannot disturb each other. Counters live in the workers (`metrics.ts`) and the control plane and come here
 *  as sums; prom-client only formats them.
 */
import { Gauge, Registry } from "prom-client";
import type { ProcessFigures } from "../runtime/process-figures.ts";
import type { DurationSums } from "./duration-counts.ts";
import { HOST_METRICS } from "./host-metrics.ts";
import type { HostSeries } from "./host-traffic.ts";
import { counter, gauge, type HistogramMetric, type MetricRow, type Sample } from "./metric-row.ts";
import { DURATION_BUCKETS, type MetricsSnapshot, OUTCOMES, RETRY_REASONS } from "./metrics.ts";
import { STATUS_CLASSES } from "./traffic-history.ts";
import { ANSWER_CODES, type Blame, BLAMES, CODES, ERROR_CODES, type ErrorCode } from "./proxy-error.ts";
import { WORKER_METRICS } from "./worker-metrics.ts";
import type { Restarts, WorkerStatus } from "./worker-status.ts";

/** What the control plane knows. Counts only grow; all else is as of now. */
export interface ControlFigures {
  readonly version: string;
  /** `bun 1.4.5` or `deno 2.9.6`. */
  readonly runtime: string;
  readonly region: string;
  readonly routes: number;
  readonly revision: number;
  /** Since it was last known to be what its source says; Infinity before the first. */
  readonly tableAgeSeconds: number;
  readonly refreshesSucceeded: number;
  readonly refreshesFailed: number;
  readonly lastRefreshSeconds: number;
  readonly refreshDurations: DurationSums;
  /** Whether the last reading succeeded; null before the first has ended. */
  readonly sourceReadable: boolean | null;
  readonly logLinesDropped: number;
  /** Conflicts count, too. */
  readonly badRows: number;
  /** A refresh that would remove too much waits for the next to say the same. */
  readonly refreshHeld: boolean;
  /** Domains that are not served, or not as their rows say, by code. */
  readonly excluded: Readonly<Record<string, number>>;
  /** null before the first table. */
  readonly tableSource: string | null;
  /** An old revision is served. */
  readonly pinned: boolean;
  readonly following: string;
  /** null while there is none. */
  readonly server: string | null;
  /** null where each refresh compares everything. */
  readonly lastComparisonAtMs: number | null;
  /** Of the last good table; 0 where none is kept. */
  readonly stateWrites: number;
  readonly stateFailures: number;
  readonly lastStateWriteAtMs: number | null;
  /** null where none are exported. */
  readonly spans: { readonly exported: number; readonly lost: number } | null;
  readonly probesHealthy: number;
  readonly probesUnhealthy: number;
  readonly probeDurations: DurationSums;
  /** Endpoints that the prober watches, by verdict. */
  readonly endpoints: { readonly unprobed: number; readonly healthy: number; readonly unhealthy: number };
  /** Endpoints that an operator has cordoned. */
  readonly cordoned: number;
}

/** Everything one scrape shows. */
export interface Figures {
  /** The sum over all workers, also of those that are gone. */
  readonly data: MetricsSnapshot;
  readonly hosts: readonly HostSeries[];
  readonly workers: readonly WorkerStatus[];
  readonly restarts: Restarts;
  readonly control: ControlFigures;
  /** Of the control plane. */
  readonly process: ProcessFigures;
}

export const EXPOSITION_CONTENT_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** Every metric of the proxy, in the order of the answer. */
export const METRICS: readonly MetricRow[] = [
  {
    type: "counter",
    name: "edgeproxy_requests_total",
    help:
      "Finished exchanges by outcome (forwarded, refused, aborted, truncated, tunnelled) and status class (none: no head was sent).",
    labels: ["outcome", "status_class"],
    samples: ({ data }) =>
      OUTCOMES.flatMap((outcome, row) =>
        STATUS_CLASSES.map((status_class, column): Sample => [{ outcome, status_class }, data.requests[row * 6 + column] ?? 0])
      ),
  },
  {
    type: "histogram",
    name: "edgeproxy_request_duration_seconds",
    help: "Time from the first byte of a request to the last byte of its response; tunnels are not among these.",
    labels: [],
    upperBounds: DURATION_BUCKETS,
    counts: ({ data }) => data.durationBuckets,
    sum: ({ data }) => data.durationSumSeconds,
  },
  {
    type: "counter",
    name: "edgeproxy_routing_errors_total",
    help: "Answers of the proxy itself by error code, as in X-Edgeproxy-Error.",
    labels: ["code"],
    samples: ({ data }) => ANSWER_CODES.map((code): Sample => [{ code }, data.errors[ERROR_CODES.indexOf(code)] ?? 0]),
  },
  {
    type: "counter",
    name: "edgeproxy_errors_total",
    help: "Exchanges that ended badly by error code and by whose doing it was, whether an own answer told of it or not.",
    labels: ["code", "blame"],
    samples: ({ data }) =>
      ERROR_CODES.flatMap((code, index) =>
        possibleBlames(code).map((blame): Sample => [
          { code, blame },
          data.badEnds[index * BLAMES.length + BLAMES.indexOf(blame)] ?? 0,
        ])
      ),
  },
  gauge("edgeproxy_exchanges_active", "Exchanges running now.", ({ data }) => data.exchangesActive),
  gauge(
    "edgeproxy_exchanges_waiting",
    "Exchanges that wait for the verdict of a probe, or for another table.",
    ({ data }) => data.exchangesWaiting,
  ),
  gauge("edgeproxy_tunnels_active", "Upgraded connections (WebSocket and others) open now.", ({ data }) => data.tunnelsActive),
  counter(
    "edgeproxy_bytes_total",
    "Bytes on client connections: in from clients, out to clients.",
    "direction",
    ({ data }) => ({ in: data.bytesIn, out: data.bytesOut }),
  ),
  gauge("edgeproxy_connections", "Client connections open now.", ({ data }) => data.connectionsOpen),
  counter("edgeproxy_connections_accepted_total", "Client connections accepted.", ({ data }) => data.connectionsAccepted),
  counter(
    "edgeproxy_connections_shed_total",
    "Client connections closed at once, above the limit.",
    ({ data }) => data.connectionsShed,
  ),
  gauge(
    "edgeproxy_upstream_connections",
    "Connections to endpoints by state: idle (pooled), busy (with an exchange), connecting.",
    "state",
    ({ data }) => ({
      idle: data.upstreamIdle,
      busy: Math.max(0, data.upstreamOpen - data.upstreamIdle),
      connecting: data.upstreamConnecting,
    }),
  ),
  counter(
    "edgeproxy_upstream_connects_total",
    "Connection attempts to endpoints by result: connected or failed.",
    "result",
    ({ data }) => ({
      connected: data.upstreamConnects,
      failed: data.upstreamConnectFailures,
    }),
  ),
  counter("edgeproxy_upstream_reuses_total", "Requests sent on a pooled connection.", ({ data }) => data.upstreamReuses),
  {
    type: "counter",
    name: "edgeproxy_upstream_retries_total",
    help:
      "Failed attempts that were not the end: the pooled connection was dead, a fresh probe of the VM passed, or without that endpoint.",
    labels: ["reason"],
    samples: ({ data }) => RETRY_REASONS.map((reason, index): Sample => [{ reason }, data.upstreamRetries[index] ?? 0]),
  },
  gauge("edgeproxy_routes", "Routes in the table.", ({ control }) => control.routes),
  gauge("edgeproxy_table_revision", "Revision of the table; grows with each change.", ({ control }) => control.revision),
  gauge(
    "edgeproxy_table_age_seconds",
    "Time since the table was last known to be what its source says; +Inf before the first.",
    ({ control }) => control.tableAgeSeconds,
  ),
  {
    type: "gauge",
    name: "edgeproxy_table_info",
    help: "Always 1; the label says where the routes come from: postgres, or last good table.",
    labels: ["source"],
    samples: ({ control: { tableSource } }) => tableSource === null ? [] : [[{ source: tableSource }, 1]],
  },
  gauge(
    "edgeproxy_table_pinned",
    "1 while an old revision is served whatever the source says.",
    ({ control }) => Number(control.pinned),
  ),
  {
    type: "gauge",
    name: "edgeproxy_source_info",
    help: "Always 1; the labels say how changes are learned (notifications, change log, tables) and from which server.",
    labels: ["following", "server"],
    samples: ({ control: { following, server } }) => [[{ following, server: server ?? "" }, 1]],
  },
  counter("edgeproxy_refreshes_total", "Refreshes of the table by result: succeeded or failed.", "result", ({ control }) => ({
    succeeded: control.refreshesSucceeded,
    failed: control.refreshesFailed,
  })),
  {
    type: "gauge",
    name: "edgeproxy_last_comparison_timestamp_seconds",
    help:
      "When everything was last compared although changes are followed, since 1970; absent where each refresh compares everything.",
    labels: [],
    samples: ({ control: { lastComparisonAtMs } }) => lastComparisonAtMs === null ? [] : [[{}, lastComparisonAtMs / 1000]],
  },
  {
    type: "gauge",
    name: "edgeproxy_source_up",
    help: "1 while the last reading of the source has succeeded, else 0; absent before the first has ended.",
    labels: [],
    samples: ({ control: { sourceReadable } }) => sourceReadable === null ? [] : [[{}, Number(sourceReadable)]],
  },
  gauge("edgeproxy_refresh_duration_seconds", "Duration of the last refresh.", ({ control }) => control.lastRefreshSeconds),
  durations("edgeproxy_refresh_seconds", "Duration of the refreshes that succeeded.", ({ control }) => control.refreshDurations),
  gauge(
    "edgeproxy_refresh_held",
    "1 while a refresh that would remove too many routes is held back.",
    ({ control }) => Number(control.refreshHeld),
  ),
  gauge(
    "edgeproxy_bad_rows",
    "Rows that are not served: they cannot be used, or another one has their host (conflicts).",
    ({ control }) => control.badRows,
  ),
  gauge(
    "edgeproxy_routes_excluded",
    "Domains that are not served, or not as their rows say, by reason; /api/excluded lists them.",
    "code",
    ({ control }) => control.excluded,
  ),
  counter(
    "edgeproxy_state_writes_total",
    "Writes of the last good table to disk by result: succeeded or failed.",
    "result",
    ({ control }) => ({
      succeeded: control.stateWrites,
      failed: control.stateFailures,
    }),
  ),
  {
    type: "gauge",
    name: "edgeproxy_state_last_write_timestamp_seconds",
    help: "When the last good table was last written or read, since 1970; absent before.",
    labels: [],
    samples: ({ control: { lastStateWriteAtMs } }) => lastStateWriteAtMs === null ? [] : [[{}, lastStateWriteAtMs / 1000]],
  },
  counter(
    "edgeproxy_spans_total",
    "Spans by what became of them: exported or lost; absent where none are exported.",
    "result",
    ({ control }) => control.spans === null ? {} : { exported: control.spans.exported, lost: control.spans.lost },
  ),
  counter("edgeproxy_probes_total", "Health checks of VMs by result: healthy or unhealthy.", "result", ({ control }) => ({
    healthy: control.probesHealthy,
    unhealthy: control.probesUnhealthy,
  })),
  durations(
    "edgeproxy_probe_duration_seconds",
    "Duration of health checks, from the connection to the answer or to giving up.",
    ({ control }) => control.probeDurations,
  ),
  gauge(
    "edgeproxy_endpoints",
    "VMs in use by health verdict: unprobed, healthy or unhealthy.",
    "verdict",
    ({ control }) => control.endpoints,
  ),
  gauge(
    "edgeproxy_endpoints_cordoned",
    "Endpoints that an operator has cordoned, in use or not.",
    ({ control }) => control.cordoned,
  ),
  ...WORKER_METRICS,
  ...HOST_METRICS,
  counter(
    "edgeproxy_log_lines_dropped_total",
    "Lines of the log and the access log that were dropped because nobody read them in time.",
    ({ data, control }) => data.logLinesDropped + control.logLinesDropped,
  ),
  {
    type: "gauge",
    name: "edgeproxy_build_info",
    help: "Always 1; the labels say what runs.",
    labels: ["version", "runtime", "region"],
    samples: ({ control: { version, runtime, region } }) => [[{ version, runtime, region }, 1]],
  },
  gauge(
    "edgeproxy_event_loop_delay_seconds",
    "How long a due callback of the control plane waited at the scrape.",
    ({ process }) => process.loopDelaySeconds,
  ),
  gauge("process_resident_memory_bytes", "Resident memory of the control plane's process.", ({ process }) => process.residentBytes),
  counter(
    "process_cpu_seconds_total",
    "User and system CPU time of the control plane's process.",
    ({ process }) => process.cpuSeconds,
  ),
  gauge("process_start_time_seconds", "Start of the process since 1970.", ({ process }) => process.startedAtSeconds),
  gauge(
    "process_max_fds",
    "Limit of open file descriptors of the control plane's process.",
    ({ process }) => process.mostDescriptors,
  ),
  gauge("process_open_fds", "Open file descriptors of the control plane's process.", ({ process }) => process.openDescriptors),
];

function durations(name: string, help: string, read: (figures: Figures) => DurationSums): HistogramMetric {
  return {
    type: "histogram",
    name,
    help,
    labels: [],
    upperBounds: DURATION_BUCKETS,
    counts: (figures) => read(figures).buckets,
    sum: (figures) => read(figures).sumSeconds,
  };
}

function possibleBlames(code: ErrorCode): readonly Blame[] {
  const { cause } = CODES[code];
  return cause === "endpoint" ? ["vm", "region"] : [cause];
}

/** The whole answer to a scrape. */
export function renderMetrics(figures: Figures): Promise<string> {
  const registry = new Registry();
  for (const row of METRICS) registry.registerMetric(new ReadMetric(row, figures));
  return registry.metrics();
}

interface Value {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** prom-client counts by itself; this one shows what was counted elsewhere, thousands of hosts among it. */
class ReadMetric extends Gauge {
  readonly #row: MetricRow;
  readonly #figures: Figures;

  constructor(row: MetricRow, figures: Figures) {
    super({ name: row.name, help: row.help, registers: [] });
    this.#row = row;
    this.#figures = figures;
  }

  /** What the registry asks for when it writes text. */
  override get(): ReturnType<Gauge["get"]> {
    const { name, help, type } = this.#row;
    const read = { name, help, type, values: valuesOf(this.#row, this.#figures), aggregator: "sum" };
    return Promise.resolve(read as unknown as Awaited<ReturnType<Gauge["get"]>>); // of another type than a gauge's
  }
}

function valuesOf(row: MetricRow, figures: Figures): readonly Value[] {
  const { name: metricName } = row;
  switch (row.type) {
    case "counter":
    case "gauge":
      return row.samples(figures).map(([labels, value]) => ({ metricName, labels, value }));
    case "histogram":
      return histogramValues(row, figures);
    case "summary":
      return row.sums(figures).flatMap(([labels, sum, count]) => [
        { metricName: `${metricName}_sum`, labels, value: sum },
        { metricName: `${metricName}_count`, labels, value: count },
      ]);
  }
}

function histogramValues({ name, upperBounds, counts, sum }: HistogramMetric, figures: Figures): readonly Value[] {
  let total = 0;
  const buckets = counts(figures).map((count, index) => {
    total += count;
    return { metricName: `${name}_bucket`, labels: { le: upperBounds[index] ?? "+Inf" }, value: total };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: {}, value: sum(figures) },
    { metricName: `${name}_count`, labels: {}, value: total },
  ];
}
