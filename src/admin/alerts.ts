/** What an operator should look at now: the conditions of the alert rules (packaging/prometheus) as far as they show at a glance. */
import type { DrainStatus } from "../observation/drain-status.ts";
import type { TrafficPoint } from "../observation/traffic-history.ts";
import type { WorkerStatus } from "../observation/worker-status.ts";
import { LAST_GOOD } from "../sources/first-table.ts";
import type { LastGoodFigures } from "../sources/last-good.ts";
import type { RefreshStatus } from "../sources/refresh-status.ts";
import { policyAlerts, type WatchedPolicies } from "./policy-alerts.ts";

export const SEVERITIES = ["critical", "warning", "info"] as const;

export interface Alert {
  readonly severity: (typeof SEVERITIES)[number];
  /** Of the rule, and of its section in docs/operations.md; null: there is no rule for this. */
  readonly name: string | null;
  /** For people. */
  readonly what: string;
  readonly sinceAtMs: number | null;
}

export interface Watched extends Omit<WatchedPolicies, "excluded"> {
  readonly status: RefreshStatus;
  readonly updateIntervalMs: number;
  readonly workers: readonly WorkerStatus[];
  readonly lastGood: LastGoodFigures | null;
  readonly drain: DrainStatus | null;
  readonly cordoned: number;
  readonly verdicts: Readonly<Record<"unprobed" | "healthy" | "unhealthy", number>>;
  /** Of the last seconds. */
  readonly traffic: TrafficPoint;
}

/** As in the rules. */
const STALE_MS = 300_000;
const STALE_INTERVALS = 3;
const UNHEALTHY_SHARE = 0.25;
const UNHEALTHY_LEAST = 5;
const EDGE_SHARE = 0.01;
const CONNECTIONS_SHARE = 0.85;
const STALL_S = 0.5;
const VM_SHARE = 0.05;
/** A handful of requests says nothing of a share. */
const REQUESTS_LEAST = 20;

/** The worst first. */
export function alertsOf(watched: Watched): Alert[] {
  const alerts = [ofTable, ofPolicies, ofWorkers, ofProcesses, ofTraffic, ofEndpoints, ofState].flatMap((
    part,
  ) => [...part(watched)]);
  return alerts.sort((one, other) => SEVERITIES.indexOf(one.severity) - SEVERITIES.indexOf(other.severity));
}

function* ofTable({ status, nowMs, updateIntervalMs }: Watched): Iterable<Alert> {
  const { lastSuccessAtMs, pinned, held, heldPolicies, keptPolicies, lastError } = status;
  const staleMs = Math.max(STALE_MS, STALE_INTERVALS * updateIntervalMs);
  if (status.revision === 0) {
    yield { severity: "critical", name: "EdgeproxyTableStale", what: "No routing table has been loaded yet", sinceAtMs: null };
  } else if (lastSuccessAtMs !== null && nowMs - lastSuccessAtMs > staleMs && pinned === null) {
    const what = "The table may no longer be what its source says";
    yield { severity: "critical", name: "EdgeproxyTableStale", what, sinceAtMs: lastSuccessAtMs };
  }
  if (lastError !== null) {
    yield { severity: "warning", name: "EdgeproxyDatabaseAway", what: "The source cannot be read", sinceAtMs: lastSuccessAtMs };
  } else if (status.tableSource === LAST_GOOD) {
    yield { severity: "warning", name: null, what: "The last good table is served until the source answers", sinceAtMs: null };
  }
  if (held + heldPolicies > 0) {
    const most = [held > 0 ? `${held} routes` : "", heldPolicies > 0 ? `${heldPolicies} policies of domains` : ""];
    const what = `A refresh that would remove ${most.filter((each) => each !== "").join(" and ")} is held back`;
    yield { severity: "critical", name: "EdgeproxyRefreshHeld", what, sinceAtMs: null };
  }
  if (keptPolicies !== null) {
    const { count, problem, sinceAtMs } = keptPolicies;
    const what = `The policies of ${count} domains stay as they were: ${problem}`;
    yield { severity: "warning", name: "EdgeproxyPoliciesUnreadable", what, sinceAtMs };
  }
  if (pinned !== null) {
    const what = `Revision ${pinned.revision} is served whatever the source says`;
    yield { severity: "warning", name: "EdgeproxyTablePinned", what, sinceAtMs: pinned.sinceAtMs };
  }
}

function ofPolicies(watched: Watched): Iterable<Alert> {
  return policyAlerts({ ...watched, excluded: watched.status.excluded.bad_policy });
}

function* ofWorkers({ workers, drain }: Watched): Iterable<Alert> {
  if (drain !== null) yield { severity: "info", name: null, what: `Draining: ${drain.reason}`, sinceAtMs: drain.sinceAtMs };
  const serving = workers.filter(({ state }) => state === "serving");
  if (serving.length === 0 && drain === null) {
    yield { severity: "critical", name: "EdgeproxyNoWorkers", what: "No worker serves", sinceAtMs: null };
  }
  for (const { worker, state, heardAtMs } of workers) {
    if (state !== "silent" && state !== "restarting") continue;
    const what = state === "silent" ? `Worker ${worker} does not answer` : `Worker ${worker} has ended and is being replaced`;
    yield { severity: "warning", name: "EdgeproxyWorkerDown", what, sinceAtMs: heardAtMs };
  }
}

function* ofProcesses({ workers }: Watched): Iterable<Alert> {
  for (const { worker, metrics, longestStallSeconds } of workers) {
    if (longestStallSeconds !== null && longestStallSeconds > STALL_S) {
      const what = `Worker ${worker} did not look at its sockets for ${Math.round(longestStallSeconds * 10) / 10} s`;
      yield { severity: "warning", name: "EdgeproxyWorkerStalls", what, sinceAtMs: null };
    }
    if (metrics !== null && metrics.connectionsOpen > CONNECTIONS_SHARE * metrics.connectionsLimit) {
      const what = `Worker ${worker} has ${metrics.connectionsOpen} of ${metrics.connectionsLimit} client connections`;
      yield { severity: "warning", name: "EdgeproxyNearConnectionLimit", what, sinceAtMs: null };
    }
  }
}

function* ofTraffic({ traffic: { requests, byBlame, ordered, spanMs } }: Watched): Iterable<Alert> {
  if (requests < REQUESTS_LEAST) return;
  const within = `of the requests of the last ${Math.round(spanMs / 1000)} s`;
  const edge = (byBlame.edge - ordered) / requests, vm = byBlame.vm / requests, region = byBlame.region / requests;
  if (edge > EDGE_SHARE) {
    const what = `${percent(edge)} ${within} ended badly by the edge's own doing`;
    yield { severity: "critical", name: "EdgeproxyEdgeErrors", what, sinceAtMs: null };
  }
  if (vm > VM_SHARE) {
    yield { severity: "warning", name: "EdgeproxyVmErrors", what: `${percent(vm)} ${within} ended badly by VMs`, sinceAtMs: null };
  }
  if (region > VM_SHARE) {
    const what = `${percent(region)} ${within} ended badly by other regions`;
    yield { severity: "warning", name: "EdgeproxyRegionErrors", what, sinceAtMs: null };
  }
}

function* ofEndpoints({ verdicts: { healthy, unhealthy }, cordoned }: Watched): Iterable<Alert> {
  if (unhealthy >= UNHEALTHY_LEAST && unhealthy / (healthy + unhealthy) > UNHEALTHY_SHARE) {
    const what = `${unhealthy} of ${healthy + unhealthy} VMs in use do not pass their health check`;
    yield { severity: "warning", name: "EdgeproxyVmsUnhealthy", what, sinceAtMs: null };
  }
  if (cordoned > 0) {
    yield { severity: "info", name: null, what: `Cordoned endpoints: ${cordoned}`, sinceAtMs: null };
  }
}

function* ofState({ lastGood }: Watched): Iterable<Alert> {
  if (lastGood === null || lastGood.lastError === null) return;
  const what = "The last good table cannot be written";
  yield { severity: "warning", name: "EdgeproxyStateNotWritten", what, sinceAtMs: lastGood.lastWriteAtMs };
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}
