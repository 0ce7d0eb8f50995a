/** May this proxy receive traffic, and if not, why not. */
import type { Context } from "hono";
import { LAST_GOOD } from "../sources/first-table.ts";
import type { LastGoodFigures } from "../sources/last-good.ts";
import type { RefreshStatus } from "../sources/refresh-status.ts";
import { isAuthorised } from "./auth.ts";
import type { AdminDeps } from "./deps.ts";
import { drainView } from "./drain-api.ts";
import { pinView } from "./revisions-api.ts";

/**
 * Ready once a table is loaded and somebody serves it, and until the shutdown begins. A database that is away does not change that: the
 * table serves on.
 */
export function answerReadiness(c: Context, deps: AdminDeps): Response {
  const status = deps.refreshStatus();
  const drain = deps.drain();
  const workers = deps.workers();
  const serving = workers.filter(({ state }) => state === "serving");
  const reasons: string[] = [];
  if (drain !== null) reasons.push("shutting down");
  if (status.revision === 0) reasons.push("no routing table loaded yet");
  if (drain === null && serving.length === 0) reasons.push("no worker is serving");
  // A large table takes a moment to reach them; until then they answer 503
  if (status.revision > 0 && serving.some(({ revision }) => revision === 0)) {
    reasons.push("a worker serves without the routing table");
  }
  const lastGood = deps.lastGood();
  const ready = reasons.length === 0;
  // An error of the database may name hosts and users: not for those who show no token.
  const detailed = isAuthorised(c, deps.token);
  return c.json({
    ready,
    reasons,
    table: tableOf(status, deps.nowMs()),
    database: databaseOf(status, detailed),
    ...(lastGood !== null && { state: stateOf(lastGood, deps.nowMs(), detailed) }),
    workers: { serving: serving.length, total: new Set(workers.map(({ worker }) => worker)).size },
    ...(drain !== null && { drain: detailed ? drainView(drain, deps.nowMs()) : { phase: drain.phase } }),
  }, ready ? 200 : 503);
}

function tableOf(status: RefreshStatus, nowMs: number): unknown {
  if (status.revision === 0) return null;
  return {
    revision: status.revision,
    routes: status.routes,
    age_seconds: ageSeconds(status.lastSuccessAtMs, nowMs),
    /** What is served may no longer be what the database says. */
    stale: status.lastError !== null || status.held > 0 || status.pinned !== null || status.tableSource === LAST_GOOD,
    held_removals: status.held,
    bad_rows: status.badRows,
    excluded: status.excluded,
    source: status.tableSource,
    pinned: pinView(status),
  };
}

function databaseOf(status: RefreshStatus, detailed: boolean): unknown {
  const readable = status.lastAttemptAtMs === null ? null : status.lastError === null;
  const { following, server, lastError } = status;
  return detailed ? { readable, following, server, last_error: lastError } : { readable };
}

/** Of the table on disk, which nobody's readiness depends on. */
function stateOf({ path, lastError, lastWriteAtMs }: LastGoodFigures, nowMs: number, detailed: boolean): unknown {
  const state = { writable: lastError === null, "saved_seconds_ago": ageSeconds(lastWriteAtMs, nowMs) };
  return detailed ? { ...state, path, last_error: lastError } : state;
}

function ageSeconds(atMs: number | null, nowMs: number): number | null {
  return atMs === null ? null : Math.round(Math.max(0, nowMs - atMs)) / 1000;
}
