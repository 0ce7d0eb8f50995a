/** May this proxy receive traffic, and if not, why not. */
import { z } from "zod";
import type { ConfigFileStatus } from "../sources/config-file.ts";
import { LAST_GOOD } from "../sources/first-table.ts";
import type { LastGoodFigures } from "../sources/last-good.ts";
import type { KeptPolicies } from "../sources/policy-outage.ts";
import { hasDatabase, isReadable, type RefreshStatus } from "../sources/refresh-status.ts";
import { isAuthorised } from "./auth.ts";
import type { AdminDeps } from "./deps.ts";
import { DRAIN, drainView } from "./drain-api.ts";
import { type AdminContext, adminPath } from "./path.ts";
import { PIN, pinView } from "./revisions-api.ts";

const TABLE = z.object({
  revision: z.int(),
  routes: z.int(),
  age_seconds: z.number().nullable(),
  stale: z.boolean().describe("What is served may no longer be what the database says"),
  held_removals: z.int(),
  held_policies: z.int(),
  bad_rows: z.int(),
  excluded: z.object({ bad_row: z.int(), conflict: z.int(), flapping: z.int(), bad_policy: z.int() }),
  source: z.string().nullable(),
  pinned: PIN.nullable(),
});
const MOST_PROBLEMS = 10;
const DETAIL = "Only to whoever is authorised";
const READINESS = z.object({
  ready: z.boolean(),
  reasons: z.array(z.string()),
  table: TABLE.nullable(),
  database: z.object({
    configured: z.boolean().describe("false: there is none, all routes are those of the routes file"),
    readable: z.boolean().nullable().describe("null: there is none, or no reading has ended yet"),
    following: z.string().optional().describe(DETAIL),
    server: z.string().nullable().optional().describe(DETAIL),
    last_error: z.string().nullable().optional().describe(DETAIL),
  }),
  state: z.object({
    writable: z.boolean(),
    saved_seconds_ago: z.number().nullable(),
    path: z.string().optional().describe(DETAIL),
    last_error: z.string().nullable().optional().describe(DETAIL),
  }).optional().describe("Of the table on disk, where one is kept"),
  routes_file: z.object({
    ok: z.boolean().describe("false: the file is wrong, and the one before stays in force"),
    loaded_seconds_ago: z.number(),
    problems: z.int(),
    hidden_routes: z.int().describe("That never apply, since the database's routes come before; /api/policies lists them"),
    path: z.string().optional().describe(DETAIL),
    first_problems: z.array(z.string()).optional().describe(`${DETAIL}; /api/policies has all`),
  }).optional().describe("Where there is one"),
  route_policies: z.object({
    kept: z.int().describe("Policies that stay in force"),
    unreadable_seconds: z.number(),
    problem: z.string().optional().describe(DETAIL),
  }).optional().describe("While the table was there and cannot be read any more"),
  workers: z.object({ serving: z.int(), total: z.int() }),
  drain: DRAIN.partial().optional().describe("While it drains"),
});

export const SHOW_READINESS = adminPath({
  method: "GET",
  path: "/readyz",
  open: true,
  tag: "process",
  summary: "May this proxy receive traffic, and if not, why not",
  answers: { 200: { meaning: "It may", schema: READINESS }, 503: { meaning: "It may not", schema: READINESS } },
  answer: answerReadiness,
});

/**
 * Ready once a table is loaded and somebody serves it, and until the shutdown begins. A database that is away does not change that: the
 * table serves on.
 */
function answerReadiness(c: AdminContext, deps: AdminDeps): Response {
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
  const { file } = deps.policies();
  const hidden = file === null ? 0 : deps.policyFindings().hidden.length;
  const ready = reasons.length === 0;
  // An error of the database may name hosts and users: not for those who show no token.
  const detailed = isAuthorised(c);
  return c.json({
    ready,
    reasons,
    table: tableOf(status, deps.nowMs()),
    database: databaseOf(status, detailed),
    ...(lastGood !== null && { state: stateOf(lastGood, deps.nowMs(), detailed) }),
    ...(file !== null && { routes_file: routesFileOf(file, hidden, deps.nowMs(), detailed) }),
    ...(status.keptPolicies !== null && { route_policies: keptOf(status.keptPolicies, deps.nowMs(), detailed) }),
    workers: { serving: serving.length, total: new Set(workers.map(({ worker }) => worker)).size },
    ...(drain !== null && { drain: detailed ? drainView(drain, deps.nowMs()) : { phase: drain.phase } }),
  }, ready ? 200 : 503);
}

function tableOf(status: RefreshStatus, nowMs: number): z.output<typeof TABLE> | null {
  if (status.revision === 0) return null;
  const { held, heldPolicies, keptPolicies, lastError, pinned } = status;
  return {
    revision: status.revision,
    routes: status.routes,
    age_seconds: ageSeconds(status.lastSuccessAtMs, nowMs),
    stale: lastError !== null || held + heldPolicies > 0 || keptPolicies !== null || pinned !== null ||
      status.tableSource === LAST_GOOD,
    held_removals: status.held,
    held_policies: status.heldPolicies,
    bad_rows: status.badRows,
    excluded: status.excluded,
    source: status.tableSource,
    pinned: pinView(status),
  };
}

function databaseOf(status: RefreshStatus, detailed: boolean): z.output<typeof READINESS>["database"] {
  const { following, server, lastError } = status;
  const database = { configured: hasDatabase(status), readable: isReadable(status) };
  return detailed ? { ...database, following, server, last_error: lastError } : database;
}

/** Of the table on disk, which nobody's readiness depends on. */
function stateOf(
  { path, lastError, lastWriteAtMs }: LastGoodFigures,
  nowMs: number,
  detailed: boolean,
): z.output<typeof READINESS>["state"] {
  const state = { writable: lastError === null, "saved_seconds_ago": ageSeconds(lastWriteAtMs, nowMs) };
  return detailed ? { ...state, path, last_error: lastError } : state;
}

/** Nobody's readiness depends on it: the one before serves on. */
function routesFileOf(
  { path, problems, loadedAtMs }: ConfigFileStatus,
  hidden: number,
  nowMs: number,
  detailed: boolean,
): z.output<typeof READINESS>["routes_file"] {
  const loaded = Math.round(Math.max(0, nowMs - loadedAtMs)) / 1000;
  const file = { ok: problems.length === 0, "loaded_seconds_ago": loaded, problems: problems.length, "hidden_routes": hidden };
  return detailed ? { ...file, path, first_problems: problems.slice(0, MOST_PROBLEMS) } : file;
}

/** Nobody's readiness depends on it: what it said serves on. */
function keptOf(
  { count, problem, sinceAtMs }: KeptPolicies,
  nowMs: number,
  detailed: boolean,
): z.output<typeof READINESS>["route_policies"] {
  const state = { kept: count, "unreadable_seconds": ageSeconds(sinceAtMs, nowMs) ?? 0 };
  return detailed ? { ...state, problem } : state;
}

function ageSeconds(atMs: number | null, nowMs: number): number | null {
  return atMs === null ? null : Math.round(Math.max(0, nowMs - atMs)) / 1000;
}
