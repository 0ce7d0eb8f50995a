/** `edgeproxy routes`: what the database says now, as the proxy understands it. */
import { type Environment, ownPorts } from "../lifecycle/settings.ts";
import { describeError } from "../sources/database-client.ts";
import { PostgresSource } from "../sources/postgres.ts";
import type { SourceReading } from "../sources/source.ts";
import { normaliseDomain } from "../table/host-name.ts";
import type { RouteRecord } from "../table/record.ts";
import type { Routes } from "../table/routes.ts";
import { requireSettings } from "./configuration.ts";
import { ENV_FILE, environmentWith } from "./env-file.ts";
import { parseFlags } from "./flags.ts";
import { alignColumns, print, printError } from "./output.ts";

const OPTIONS = { host: { type: "string" }, json: { type: "boolean" }, ...ENV_FILE } as const;
const PATIENCE_MS = 60_000;

/** The exit code: 0 fine, 1 the database cannot be read or has no such route, 2 wrong usage or configuration. */
export async function runRoutes(argv: readonly string[], env: Environment): Promise<number> {
  const flags = parseFlags(argv, OPTIONS);
  if ("problem" in flags) return printError(`edgeproxy routes: ${flags.problem}`, 2);
  const host = flags.host === undefined ? undefined : normaliseDomain(flags.host);
  if (host === null) return printError(`edgeproxy routes: --host must be a host name, got "${flags.host}"`, 2);
  const environment = await environmentWith(flags["env-file"], env);
  const settings = environment === null ? null : requireSettings(environment);
  if (settings === null) return 2;
  if (settings.databaseUrl === "") {
    return printError("edgeproxy routes: EDGEPROXY_DATABASE_URL is not set: there are no domains", 2);
  }
  const source = new PostgresSource({ url: settings.databaseUrl, here: { ...settings, ownPorts: ownPorts(settings) } });
  try {
    const reading = await source.read({ whole: true }, AbortSignal.timeout(PATIENCE_MS));
    return show(reading, host, flags.json === true);
  } catch (error) {
    return printError(`edgeproxy routes: ${describeError(error)}`, 1);
  } finally {
    await source.close();
  }
}

function show(reading: SourceReading, host: string | undefined, json: boolean): number {
  const routes = host === undefined ? recordsOf(reading.routes) : routesFor(host, reading.routes);
  if (json) print(JSON.stringify(routes, null, 2));
  else if (routes.length > 0) print(asTable(routes));
  if (reading.excludedCount > 0) printError(`Bad rows skipped: ${reading.excludedCount} (edgeproxy check names them)`, 0);
  return host !== undefined && routes.length === 0 ? printError(`No route for ${host}`, 1) : 0;
}

/** In the order of their names. */
function recordsOf(routes: Routes): readonly RouteRecord[] {
  return [...routes.entries()].map(([host, { endpoints }]) => ({ host, endpoints })).sort((a, b) => a.host < b.host ? -1 : 1);
}

/** As the proxy would find it: the exact name, else a wildcard; a wildcard itself is looked up by its own name. */
function routesFor(host: string, routes: Routes): readonly RouteRecord[] {
  const match = host.startsWith("*.") ? host : routes.match(host);
  const service = match === undefined ? undefined : routes.get(match);
  return match === undefined || service === undefined ? [] : [{ host: match, endpoints: service.endpoints }];
}

function asTable(routes: readonly RouteRecord[]): string {
  const lines = routes.flatMap((route) =>
    route.endpoints.map((endpoint) => [
      route.host,
      `http://${endpoint.address.includes(":") ? `[${endpoint.address}]` : endpoint.address}:${endpoint.port}`,
      endpoint.kind,
      endpoint.region,
    ])
  );
  return alignColumns([["HOST", "ENDPOINT", "KIND", "REGION"], ...lines]);
}
