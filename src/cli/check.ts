/*  `edgeproxy check`: would the proxy work with this environment? One line per finding; the worst one gives the exit code.
 *
 *  configuration -> routes file -> error pages -> state folder -> connection -> tables and columns -> change feed -> region, routes and what is left
 *  out: each step needs the one before, except that file, pages and state folder are nobody's condition. With `--config` only
 *  that file is looked at, and no settings are needed.
 */
import { type Environment, ownPorts, parseSetting, parseSettings, type Settings } from "../lifecycle/settings.ts";
import { type DatabaseClient, describeError, openDatabase, type Session } from "../sources/database-client.ts";
import { FEED_QUERY, FEED_VERSION, type FeedFinding, feedFinding } from "../sources/change-feed.ts";
import { parseDatabaseUrl } from "../sources/database-url.ts";
import { MISSING_INDEXES_QUERY } from "../sources/feed-schema.ts";
import { PostgresSource } from "../sources/postgres.ts";
import { inspectTables, type TableFinding, TABLES } from "../sources/schema.ts";
import type { Exclusion, SourceReading } from "../sources/source.ts";
import { type FilePolicies, NO_FILE } from "../table/policy.ts";
import { checkErrorPages } from "./check-error-pages.ts";
import { reportHosts } from "./check-hosts.ts";
import { checkRoutesFile, reportHidden } from "./check-routes-file.ts";
import { checkStateFolder } from "./check-state.ts";
import { ENV_FILE, environmentWith } from "./env-file.ts";
import { report } from "./finding.ts";
import { parseFlags } from "./flags.ts";
import { printError } from "./output.ts";

const PATIENCE_MS = 30_000;
const MOST_EXCLUSION_LINES = 20;
const EXCLUDED_AS: Readonly<Record<Exclusion["code"], string>> = {
  "bad_row": "bad row",
  conflict: "conflict",
  flapping: "flapping",
  "bad_policy": "bad policy",
};

/** The exit code: 0 fine, 1 the database is not as it should be, 2 wrong usage or configuration. */
export async function runCheck(argv: readonly string[], env: Environment): Promise<number> {
  const flags = parseFlags(argv, { ...ENV_FILE, config: { type: "string" } });
  if ("problem" in flags) return printError(`edgeproxy check: ${flags.problem}`, 2);
  const environment = await environmentWith(flags["env-file"], env);
  if (environment === null) return 2;
  if (flags.config !== undefined) return await checkRoutesFile(flags.config, regionOf(environment)) === null ? 2 : 0;
  const settings = checkConfiguration(environment);
  if (settings === null) return 2;
  const file = settings.configFile === "" ? NO_FILE : await checkRoutesFile(settings.configFile, settings.regionId);
  const pagesFine = await checkErrorPages(settings);
  await checkStateFolder(settings);
  const databaseFine = await checkDatabase(settings, file ?? NO_FILE);
  return !pagesFine || file === null ? 2 : databaseFine ? 0 : 1;
}

/** As far as it is set: a file can be looked at on any machine. */
function regionOf(env: Environment): string {
  const region = parseSetting("regionId", env);
  return "value" in region ? region.value : "";
}

function checkConfiguration(env: Environment): Settings | null {
  const parsed = parseSettings(env);
  for (const warning of parsed.warnings) report("warn", "configuration", warning);
  if ("settings" in parsed) {
    report("ok", "configuration", "every setting is valid");
    return parsed.settings;
  }
  for (const problem of parsed.problems) report("FAIL", "configuration", problem);
  return null;
}

async function checkDatabase(settings: Settings, file: FilePolicies): Promise<boolean> {
  if (settings.databaseUrl === "") {
    report("ok", "database", "none: every route comes from the routes file");
    return true;
  }
  try {
    const tablesFine = await checkTables(settings);
    return tablesFine && await checkRoutes(settings, file);
  } catch (error) {
    report("FAIL", "database", describeError(error));
    return false;
  }
}

async function checkTables(settings: Settings): Promise<boolean> {
  const target = parseDatabaseUrl(settings.databaseUrl);
  if ("problem" in target) throw new Error(`Cannot use the database URL: it ${target.problem}`);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const client = await openDatabase(target, signal).catch(async (error: unknown) => {
    await reportHosts(target, null, AbortSignal.timeout(PATIENCE_MS));
    throw error;
  });
  try {
    report("ok", "database", describeSession(client.session));
    await reportHosts(target, client.session.host, signal);
    const fine = await reportTables(client, signal);
    if (fine) await reportFeed(client, signal);
    return fine;
  } finally {
    await client.close();
  }
}

async function reportTables(client: DatabaseClient, signal: AbortSignal): Promise<boolean> {
  const troubles = (await inspectTables(client, signal)).map((finding) => {
    const trouble = troubleOf(finding);
    report(trouble === null ? "ok" : "FAIL", `table ${finding.table}`, trouble ?? `has ${TABLES[finding.table]?.join(", ")}`);
    return trouble;
  });
  return troubles.every((trouble) => trouble === null);
}

function troubleOf(finding: TableFinding): string | null {
  if (!finding.exists) return "does not exist on the search path, or in no schema that this user may use";
  if (finding.missingColumns.length > 0) return `has no column ${finding.missingColumns.join(", ")}`;
  if (finding.unreadableColumns.length > 0) return `needs SELECT for this user on ${finding.unreadableColumns.join(", ")}`;
  return null;
}

/** Never a failure: without the feed the tables are polled. */
async function reportFeed(client: DatabaseClient, signal: AbortSignal): Promise<void> {
  const feeds: FeedFinding[] = [];
  await client.query(FEED_QUERY, (row) => feeds.push(feedFinding(row)), signal);
  const [feed] = feeds;
  if (feed === undefined || !feed.present) {
    return report("ok", "feed", "none: the tables are polled (edgeproxy migrate puts it in)");
  }
  const trouble = feedTrouble(feed);
  if (trouble === null) {
    report(
      "ok",
      "feed",
      `version ${FEED_VERSION}, every trigger is enabled${feed.notifies ? "" : "; no notifications, the log is polled"}`,
    );
  } else report("warn", "feed", `${trouble}; the tables are polled meanwhile`);
  const missing: string[] = [];
  await client.query(MISSING_INDEXES_QUERY, (row) => missing.push(`${row["relation"]} (${row["name"]})`), signal);
  if (missing.length === 0) report("ok", "indexes", "every column that changes are looked up by has one");
  else report("warn", "indexes", `none on ${missing.join(", ")}: changes are slow to look up; edgeproxy migrate creates them`);
}

function feedTrouble({ readable, version, missingTriggers }: FeedFinding): string | null {
  if (version !== FEED_VERSION) return `version ${version}, but this edgeproxy knows version ${FEED_VERSION}`;
  if (missingTriggers.length > 0) return `absent or disabled: ${missingTriggers.join(", ")}; edgeproxy migrate repairs it`;
  return readable ? null : "needs SELECT for this user on edgeproxy_changes and edgeproxy_feed; edgeproxy migrate grants it";
}

async function checkRoutes(settings: Settings, file: FilePolicies): Promise<boolean> {
  const source = new PostgresSource({ url: settings.databaseUrl, here: { ...settings, ownPorts: ownPorts(settings) } });
  try {
    const reading = await source.read({ whole: true }, AbortSignal.timeout(PATIENCE_MS));
    reportRegion(settings, reading);
    reportRoutes(reading);
    reportHidden(file, reading.routes);
    return true;
  } finally {
    await source.close();
  }
}

/** Not a failure: the region may get its row, and its VMs, later. */
function reportRegion(settings: Settings, reading: SourceReading): void {
  const known = reading.regions.some((region) => region.id === settings.regionId);
  report(
    known ? "ok" : "warn",
    "region",
    known ? `${settings.regionId} is ours` : `${settings.regionId} is not in the table regions`,
  );
}

function reportRoutes(reading: SourceReading): void {
  const { routes, excluded, excludedCount, policyRows = new Map(), policyTable } = reading;
  let here = 0;
  for (const [, { endpoints }] of routes.entries()) if (endpoints.some(({ kind }) => kind === "vm")) here++;
  report(routes.size > 0 ? "ok" : "warn", "routes", `${routes.size}, of which ${here} have a VM in this region`);
  if (policyRows.size > 0) report("ok", "policies", `${policyRows.size} of domains, in route_policies`);
  if (policyTable !== undefined && policyTable.problem !== null) report("warn", "policies", policyTable.problem);
  for (const { domain, code, reason } of excluded.slice(0, MOST_EXCLUSION_LINES)) {
    report("warn", EXCLUDED_AS[code], `${domain}: ${reason}`);
  }
  if (excludedCount > MOST_EXCLUSION_LINES) report("warn", "left out", `and ${excludedCount - MOST_EXCLUSION_LINES} more`);
}

function describeSession(session: Session): string {
  const { host, port } = session.host;
  const place = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const manner = `${session.encrypted ? "with" : "without"} TLS${session.standby ? ", a hot standby" : ""}`;
  return `PostgreSQL ${session.serverVersion} at ${place}, database ${session.database} as ${session.user}, ${manner}`;
}
