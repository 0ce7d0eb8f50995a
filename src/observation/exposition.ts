/*  Metrics in the Prometheus text format.
 *
 *  METRICS is the one list: names, help and where each sample comes from; the documentation is derived from it. A scrape builds a
 *  fresh prom-client registry from figures read once, so that all samples of one answer belong together and two scrapes
 *  at a time cannot disturb each other. Counters live in the workers (`metrics.ts`) and the control plane and come here
 *  as sums; prom-client only formats them.
 */
import { Gauge, Registry } from "prom-client";
import type { ProcessFigures } from "../runtime/process-figures.ts";
import { CONTROL_METRICS, PROCESS_METRICS } from "./control-metrics.ts";
import type { DurationSums } from "./duration-counts.ts";
import { HOST_METRICS } from "./host-metrics.ts";
import type { HostSeries } from "./host-traffic.ts";
import type { HistogramMetric, MetricRow } from "./metric-row.ts";
import type { MetricsSnapshot } from "./metrics.ts";
import type { BlameCounts } from "./proxy-error.ts";
import { type PolicedFigures, POLICY_METRICS } from "./policy-metrics.ts";
import { TRAFFIC_METRICS } from "./traffic-metrics.ts";
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
  /** How often the source is read. */
  readonly updateIntervalSeconds: number;
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
  /** Although their table cannot be read any more. */
  readonly policiesKept: number;
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
  /** The routes file; null where there is none. */
  readonly configFile: {
    readonly ok: boolean;
    readonly loadedAtMs: number;
    readonly results: Readonly<Record<string, number>>;
  } | null;
  readonly policies: {
    readonly revision: number;
    readonly services: number;
    readonly routes: number;
    readonly domains: number;
    /** Host names of endpoints. */
    readonly names: number;
    readonly namesFailing: number;
  };
  /** null where none are exported. */
  readonly spans: { readonly exported: number; readonly lost: number } | null;
  readonly probesHealthy: number;
  readonly probesUnhealthy: number;
  readonly probeDurations: DurationSums;
  /** Endpoints that the prober watches, by verdict. */
  readonly endpoints: { readonly unprobed: number; readonly healthy: number; readonly unhealthy: number };
  /** Endpoints that an operator has cordoned. */
  readonly cordoned: number;
  /** Bad ends of which operators are not told one by one. */
  readonly errorEventsLost: Readonly<BlameCounts>;
}

/** Everything one scrape shows. */
export interface Figures {
  /** The sum over all workers, also of those that are gone. */
  readonly data: MetricsSnapshot;
  readonly hosts: readonly HostSeries[];
  readonly policed: PolicedFigures;
  readonly workers: readonly WorkerStatus[];
  readonly restarts: Restarts;
  readonly control: ControlFigures;
  /** Of the control plane. */
  readonly process: ProcessFigures;
}

export const EXPOSITION_CONTENT_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** Every metric of the proxy, in the order of the answer. */
export const METRICS: readonly MetricRow[] = [
  ...TRAFFIC_METRICS,
  ...POLICY_METRICS,
  ...CONTROL_METRICS,
  ...WORKER_METRICS,
  ...HOST_METRICS,
  ...PROCESS_METRICS,
];

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
