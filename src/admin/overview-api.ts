/** Everything that a first screen shows, in one answer. */
import { z } from "zod";
import { isBreaker, type PolicedNow, policedNow } from "../observation/policed-figures.ts";
import { BLAMES } from "../observation/proxy-error.ts";
import type { TrafficPoint } from "../observation/traffic-history.ts";
import { hasDatabase, isReadable, type RefreshStatus } from "../sources/refresh-status.ts";
import type { PolicyFindings } from "../table/policy-findings.ts";
import { drainShare } from "../table/policy-order.ts";
import { type Alert, alertsOf, SEVERITIES } from "./alerts.ts";
import type { AdminDeps } from "./deps.ts";
import { DRAIN, drainView } from "./drain-api.ts";
import { TIME } from "./fields.ts";
import { rounded, roundedOrNull } from "./hosts-api.ts";
import { adminPath } from "./path.ts";
import { PIN, pinView } from "./revisions-api.ts";
import { timeText } from "./time-text.ts";

/** What "now" means for a rate. */
const NOW_SPAN_MS = 10_000;

const ALERT = z.object({
  severity: z.enum(SEVERITIES),
  name: z.string().nullable().describe("Of the alert rule, and of its section in docs/operations.md; null: there is none"),
  what: z.string(),
  since: TIME.nullable(),
});
const TRAFFIC = z.object({
  seconds: z.number().describe("Of which these are the figures"),
  requests_per_second: z.number(),
  errors_per_second: z.number(),
  by_blame: z.record(z.enum(BLAMES), z.number()).describe("Bad ends per second by whose doing they were"),
  p50_ms: z.number().nullable(),
  p95_ms: z.number().nullable(),
  p99_ms: z.number().nullable(),
  bytes_in_per_second: z.number(),
  bytes_out_per_second: z.number(),
});
const POLICED = z.object({
  breakers_open: z.int(),
  breakers_half_open: z.int().describe("On trial, or the next request is"),
  ejected: z.int().describe("Endpoints that live traffic has put out"),
  queued: z.int().describe("Requests that wait for a place"),
  maintained: z.int().describe("Routes and services in maintenance"),
  draining: z.int().describe("Routes and services that drain, or are drained"),
  unusable: z.array(z.string()).describe("Services that no endpoint can serve, up to 100"),
  hidden_routes: z.int().describe("Routes of the file that never apply; /api/policies lists them"),
});
const OVERVIEW = z.object({
  version: z.string(),
  region: z.string(),
  time: TIME,
  since: TIME.describe("Start of this process"),
  routes: z.int(),
  revision: z.int(),
  table_age_s: z.number().nullable().describe("Since the table was last known to be what its source says"),
  table_source: z.string().nullable(),
  held_removals: z.int(),
  held_policies: z.int(),
  kept_policies: z.int(),
  database: z.object({
    state: z.enum(["ok", "away", "unread", "none"]).describe("unread: no reading has ended yet; none: there is no database"),
    problem: z.string().nullable(),
    following: z.string(),
    server: z.string().nullable(),
  }),
  workers: z.object({ up: z.int(), total: z.int() }),
  endpoints: z.object({ unprobed: z.int(), healthy: z.int(), unhealthy: z.int() }),
  cordons: z.int(),
  policies: POLICED,
  traffic: TRAFFIC,
  connections: z.int(),
  tunnels: z.int(),
  drain: DRAIN.nullable(),
  pinned: PIN.nullable(),
  alerts: z.array(ALERT).describe("The worst first"),
});

export const SHOW_OVERVIEW = adminPath({
  method: "GET",
  path: "/api/overview",
  tag: "traffic",
  summary: "How the edge is: table, database, workers, endpoints, traffic of the last seconds, and what needs a look",
  answers: { 200: { meaning: "As of now", schema: OVERVIEW } },
  answer: async (c, deps) => {
    await deps.collect();
    return c.json(overviewOf(deps));
  },
});

function overviewOf(deps: AdminDeps): z.output<typeof OVERVIEW> {
  const status = deps.refreshStatus();
  const workers = deps.workers();
  const nowMs = deps.nowMs();
  const drain = deps.drain();
  const traffic = deps.traffic.latest(NOW_SPAN_MS);
  const { unprobed, healthy, unhealthy } = deps.verdicts();
  const endpoints = { unprobed, healthy, unhealthy };
  const cordoned = deps.cordoned().length;
  const findings = deps.policyFindings();
  const policed = policedNow(workers.map((worker) => worker.policed));
  const watched = {
    nowMs,
    status,
    updateIntervalMs: deps.updateIntervalMs,
    workers,
    lastGood: deps.lastGood(),
    drain,
    cordoned,
    orders: deps.policyOrders.list(),
    file: deps.policies().file,
    findings,
    policed,
    verdicts: endpoints,
    traffic,
  };
  return {
    version: deps.version,
    region: deps.regionId,
    time: timeText(nowMs),
    since: timeText(performance.timeOrigin),
    routes: status.routes,
    revision: status.revision,
    table_age_s: status.lastSuccessAtMs === null ? null : rounded(Math.max(0, nowMs - status.lastSuccessAtMs) / 1000),
    table_source: status.tableSource,
    held_removals: status.held,
    held_policies: status.heldPolicies,
    kept_policies: status.keptPolicies?.count ?? 0,
    database: {
      state: databaseState(status),
      problem: status.lastError,
      following: status.following,
      server: status.server,
    },
    workers: {
      up: workers.filter(({ state }) => state === "serving").length,
      total: new Set(workers.map(({ worker }) => worker)).size,
    },
    endpoints,
    cordons: cordoned,
    policies: policedView(findings, policed, nowMs),
    traffic: trafficView(traffic),
    connections: traffic.connections,
    tunnels: traffic.tunnels,
    drain: drainView(drain, nowMs),
    pinned: pinView(status),
    alerts: alertsOf(watched).map(alertView),
  };
}

function policedView(
  { maintained, drained, unusable, hidden }: PolicyFindings,
  { troubles, queues }: PolicedNow,
  nowMs: number,
): z.output<typeof POLICED> {
  return {
    breakers_open: troubles.filter(({ kind }) => kind === "breaker_open").length,
    breakers_half_open: troubles.filter(({ kind }) => kind === "breaker_half_open").length,
    ejected: troubles.filter((trouble) => !isBreaker(trouble)).length,
    queued: queues.reduce((sum, { waiting }) => sum + waiting, 0),
    maintained: maintained.length,
    draining: drained.filter(({ drain }) => drainShare(drain, nowMs) < 1).length,
    unusable: unusable.map(({ name }) => name),
    hidden_routes: hidden.length,
  };
}

function databaseState(status: RefreshStatus): z.output<typeof OVERVIEW>["database"]["state"] {
  if (!hasDatabase(status)) return "none";
  const readable = isReadable(status);
  return readable === null ? "unread" : readable ? "ok" : "away";
}

function trafficView(point: TrafficPoint): z.output<typeof TRAFFIC> {
  const seconds = Math.max(point.spanMs, 1) / 1000;
  const { byBlame } = point;
  return {
    seconds: rounded(seconds),
    requests_per_second: rounded(point.requests / seconds),
    errors_per_second: rounded(point.errors / seconds),
    by_blame: Object.fromEntries(BLAMES.map((blame) => [blame, rounded(byBlame[blame] / seconds)])) as typeof byBlame,
    p50_ms: roundedOrNull(point.p50Ms),
    p95_ms: roundedOrNull(point.p95Ms),
    p99_ms: roundedOrNull(point.p99Ms),
    bytes_in_per_second: rounded(point.bytesIn / seconds),
    bytes_out_per_second: rounded(point.bytesOut / seconds),
  };
}

function alertView({ severity, name, what, sinceAtMs }: Alert): z.output<typeof ALERT> {
  return { severity, name, what, since: timeText(sinceAtMs) };
}
