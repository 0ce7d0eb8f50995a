/** The metrics of the control plane: the table and its source, the state on disk, probes; and of its process. */
import type { DurationSums } from "./duration-counts.ts";
import type { Figures } from "./exposition.ts";
import { counter, gauge, type HistogramMetric, type MetricRow } from "./metric-row.ts";
import { DURATION_BUCKETS } from "./metrics.ts";

export const CONTROL_METRICS: readonly MetricRow[] = [
  gauge("edgeproxy_routes", "Routes in the table.", ({ control }) => control.routes),
  gauge("edgeproxy_table_revision", "Revision of the table; grows with each change.", ({ control }) => control.revision),
  gauge(
    "edgeproxy_table_age_seconds",
    "Time since the table was last known to be what its source says; +Inf before the first.",
    ({ control }) => control.tableAgeSeconds,
  ),
  gauge(
    "edgeproxy_update_interval_seconds",
    "How often the table is refreshed (EDGEPROXY_UPDATE_INTERVAL): what its age is to be compared with.",
    ({ control }) => control.updateIntervalSeconds,
  ),
  {
    type: "gauge",
    name: "edgeproxy_table_info",
    help: "Always 1; the label says where the routes come from: postgres, last good table, or none (no database).",
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
    help:
      "Always 1; the labels say how changes are learned (notifications, change log, tables; nothing: no database) and from which server.",
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
    help:
      "1 while the last reading of the source has succeeded, else 0; absent before the first has ended, and without a database.",
    labels: [],
    samples: ({ control: { sourceReadable } }) => sourceReadable === null ? [] : [[{}, Number(sourceReadable)]],
  },
  gauge("edgeproxy_refresh_duration_seconds", "Duration of the last refresh.", ({ control }) => control.lastRefreshSeconds),
  durations("edgeproxy_refresh_seconds", "Duration of the refreshes that succeeded.", ({ control }) => control.refreshDurations),
  gauge(
    "edgeproxy_refresh_held",
    "1 while a refresh that would remove too many routes, or policies of domains, is held back.",
    ({ control }) => Number(control.refreshHeld),
  ),
  gauge(
    "edgeproxy_policies_kept",
    "Rows of route_policies that stay in force although the table was there and cannot be read any more.",
    ({ control }) => control.policiesKept,
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
  {
    type: "gauge",
    name: "edgeproxy_config_file_ok",
    help: "1 while the routes file is right, 0 while it is wrong and the one before stays in force; absent where there is none.",
    labels: [],
    samples: ({ control: { configFile } }) => configFile === null ? [] : [[{}, Number(configFile.ok)]],
  },
  {
    type: "gauge",
    name: "edgeproxy_config_file_loaded_timestamp_seconds",
    help: "When what is in force of the routes file was read first, since 1970; absent where there is none.",
    labels: [],
    samples: ({ control: { configFile } }) => configFile === null ? [] : [[{}, configFile.loadedAtMs / 1000]],
  },
  counter(
    "edgeproxy_config_file_reloads_total",
    "Readings of the routes file after the first by result: changed, unchanged or refused; absent where there is none.",
    "result",
    ({ control: { configFile } }) => configFile === null ? {} : configFile.results,
  ),
  gauge(
    "edgeproxy_policies",
    "Services and routes of the routes file in force, and domains with a policy of their own.",
    "kind",
    ({ control: { policies: { services, routes, domains } } }) => ({ services, routes, domains }),
  ),
  gauge(
    "edgeproxy_endpoint_names",
    "Host names of services' endpoints by how they were last resolved; a failure keeps the addresses of before.",
    "result",
    ({ control: { policies: { names, namesFailing } } }) => ({ resolved: names - namesFailing, failed: namesFailing }),
  ),
  gauge(
    "edgeproxy_policies_revision",
    "Revision of the policies; grows with each change.",
    ({ control }) => control.policies.revision,
  ),
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
  counter(
    "edgeproxy_error_events_lost_total",
    "Bad ends that are counted but missing in /api/errors and /api/events, since too many came at once, by whose doing they were.",
    "blame",
    ({ control }) => control.errorEventsLost,
  ),
];

export const PROCESS_METRICS: readonly MetricRow[] = [
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
