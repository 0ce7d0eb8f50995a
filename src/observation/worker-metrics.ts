/** The metrics that tell the data plane's processes apart. What is not known of one is left out, not shown as 0. */
import { gauge, type MetricRow, type Sample, type ScalarMetric } from "./metric-row.ts";
import { RESTART_REASONS, WORKER_STATES, type WorkerStatus } from "./worker-status.ts";

export const WORKER_METRICS: readonly MetricRow[] = [
  gauge(
    "edgeproxy_workers",
    "Data-plane processes by state: starting, serving, silent, draining, restarting.",
    "state",
    ({ workers }) =>
      Object.fromEntries(WORKER_STATES.map((state) => [state, workers.filter((worker) => worker.state === state).length])),
  ),
  {
    type: "counter",
    name: "edgeproxy_worker_restarts_total",
    help: "Data-plane processes replaced: killed by a signal, ended by an error, silent, or asked to end.",
    labels: ["reason"],
    samples: ({ restarts }) => RESTART_REASONS.map((reason): Sample => [{ reason }, restarts[reason]]),
  },
  perWorker(
    "gauge",
    "edgeproxy_worker_up",
    "1 while a worker answers its supervisor, else 0.",
    (worker) => Number(answers(worker)),
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_connections",
    "Client connections open in a worker.",
    ({ metrics }) => metrics?.connectionsOpen,
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_connections_limit",
    "Most client connections that a worker accepts; it closes those beyond at once.",
    ({ metrics }) => metrics?.connectionsLimit,
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_upstream_connections",
    "Connections of a worker to endpoints, also those that are being opened.",
    ({ metrics }) => metrics === null ? undefined : metrics.upstreamOpen + metrics.upstreamConnecting,
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_upstream_connections_limit",
    "Most connections of a worker to endpoints; requests beyond are answered overloaded.",
    ({ metrics }) => metrics?.upstreamLimit,
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_exchanges_active",
    "Exchanges running in a worker.",
    ({ metrics }) => metrics?.exchangesActive,
  ),
  perWorker(
    "counter",
    "edgeproxy_worker_requests_total",
    "Finished exchanges of a worker, from 0 again in its replacement.",
    ({ metrics }) => metrics?.requests.reduce((sum, count) => sum + count, 0),
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_resident_memory_bytes",
    "Resident memory of a worker.",
    ({ figures }) => figures?.residentBytes,
  ),
  perWorker(
    "counter",
    "edgeproxy_worker_cpu_seconds_total",
    "User and system CPU time of a worker.",
    ({ figures }) => figures?.cpuSeconds,
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_stall_seconds",
    "Longest time in which a worker did not look at its sockets, within the last 30 seconds.",
    ({ longestStallSeconds }) => longestStallSeconds ?? undefined,
  ),
  perWorker(
    "gauge",
    "edgeproxy_worker_answer_seconds",
    "How long a worker took for its last answer to the supervisor.",
    ({ answerMs }) => answerMs === null ? undefined : answerMs / 1000,
  ),
  perWorker("gauge", "edgeproxy_worker_table_revision", "Revision of the table that a worker serves.", ({ revision }) => revision),
  perWorker(
    "gauge",
    "edgeproxy_worker_revisions_behind",
    "Revisions of the table that a worker has yet to take.",
    ({ revisionsBehind }) => revisionsBehind,
  ),
];

/** Whether it answers its supervisor, so that its figures are of now. */
export function answers({ state }: WorkerStatus): boolean {
  return state === "serving" || state === "draining";
}

function perWorker(
  type: ScalarMetric["type"],
  name: string,
  help: string,
  read: (worker: WorkerStatus) => number | undefined,
): ScalarMetric {
  const samples: ScalarMetric["samples"] = ({ workers }) =>
    current(workers).flatMap((worker): Sample[] => {
      const value = read(worker);
      return value === undefined ? [] : [[{ worker: String(worker.worker) }, value]];
    });
  return { type, name, help, labels: ["worker"], samples };
}

/** One per number: a process that drains stands back for the one that has replaced it. */
function current(workers: readonly WorkerStatus[]): WorkerStatus[] {
  const byNumber = new Map<number, WorkerStatus>();
  for (const worker of workers) {
    if (worker.state !== "draining" || !byNumber.has(worker.worker)) byNumber.set(worker.worker, worker);
  }
  return [...byNumber.values()];
}
