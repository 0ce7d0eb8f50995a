/** `edgeproxy explain URL [-H 'Name: value']...`: which route, endpoint and region a request would get, and why. */
import { parseArgs } from "node:util";
import { decide, type Surroundings } from "../decision/decide.ts";
import type { Decision } from "../decision/decision.ts";
import { pseudonym } from "../decision/loop.ts";
import { parseSettings, type Settings } from "../lifecycle/settings.ts";
import { type AnswerCode, CODES } from "../observation/proxy-error.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import { PostgresSource } from "../sources/postgres.ts";
import type { EndpointRecord } from "../table/record.ts";
import { RoutingTable } from "../table/routing-table.ts";
import type { Availability } from "../upstream/availability.ts";
import { httpProbe, type ProbeResult } from "../upstream/probe.ts";
import { normaliseHost } from "../wire/host.ts";
import { print, printError } from "./output.ts";

interface Question {
  readonly authority: string;
  readonly via: string | null;
}

/** The exit code: 0 explained, 1 the database cannot be read, 2 wrong usage or configuration. */
export async function runExplain(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const question = parseQuestion(argv);
  if (typeof question === "string") return printError(question, 2);
  const parsed = parseSettings(env);
  if ("problems" in parsed) return printError(parsed.problems.join("\n"), 2);
  const host = normaliseHost(question.authority);
  if (host === null) {
    print(`host "${question.authority}" is malformed\n=> 400 Bad Request (bad_request)`);
    return 0;
  }
  print(`host ${host}${host === question.authority ? "" : ` (from "${question.authority}")`}`);
  const table = await readTable(parsed.settings);
  if (typeof table === "string") return printError(table, 1);
  await explain(host, question.via, table, parsed.settings);
  return 0;
}

function parseQuestion(argv: readonly string[]): Question | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { header: { type: "string", short: "H", multiple: true, default: [] } },
    });
    const [url, ...more] = positionals;
    if (url === undefined || more.length > 0) return "Usage: edgeproxy explain URL [-H 'Name: value']...";
    return ask(url, values.header);
  } catch (error) {
    return `edgeproxy explain: ${(error as Error).message}`;
  }
}

function ask(url: string, headers: readonly string[]): Question | string {
  const parsed = URL.parse(url.includes("://") ? url : `http://${url}`);
  if (parsed === null) return `edgeproxy explain: not a URL: "${url}"`;
  const hosts: string[] = [];
  const via: string[] = [];
  for (const header of headers) {
    const colon = header.indexOf(":");
    if (colon < 1) return `edgeproxy explain: not a header, a colon is missing: "${header}"`;
    const name = header.slice(0, colon).trim().toLowerCase();
    const value = header.slice(colon + 1).trim();
    if (name === "host") hosts.push(value);
    if (name === "via") via.push(value);
  }
  // Two Host fields make a list, which is as malformed for a proxy as it is here
  return { authority: hosts.length === 0 ? parsed.host : hosts.join(", "), via: via.length === 0 ? null : via.join(", ") };
}

async function readTable(settings: Settings): Promise<RoutingTable | string> {
  const source = new PostgresSource({ url: settings.databaseUrl, here: settings });
  try {
    const reading = await source.read({ whole: true }, AbortSignal.timeout(30_000));
    const table = new RoutingTable();
    table.commit(reading.routes, 1, 0);
    return table;
  } catch (error) {
    return `Cannot read routes: ${(error as Error).message}`;
  } finally {
    await source.close();
  }
}

/** Probes the VMs concerned as the running proxy would, then lets its function decide and say why. */
async function explain(host: string, via: string | null, table: RoutingTable, settings: Settings): Promise<void> {
  const results = await probeAll((table.find(host)?.endpoints ?? []).filter((endpoint) => endpoint.kind === "vm"), settings);
  for (const [key, { healthy, reason, latencyMs }] of results) {
    print(`probe ${key}: ${healthy ? "healthy" : "unhealthy"}, ${reason}, ${latencyMs.toFixed(1)} ms`);
  }
  const surroundings: Surroundings = {
    table,
    previous: () => [], // known to the running proxy alone
    pseudonym: pseudonym(settings.regionId),
    availability: (endpoint) => availability(endpoint, results),
    load: () => 0,
    random: Math.random,
  };
  print(conclusion(decide({ host, via, tried: null }, surroundings, print)));
}

function availability(endpoint: EndpointRecord, results: ReadonlyMap<string, ProbeResult>): Availability {
  if (endpoint.kind === "region") return "available";
  return results.get(endpoint.key)?.healthy === true ? "available" : "unhealthy";
}

async function probeAll(endpoints: readonly EndpointRecord[], settings: Settings): Promise<Map<string, ProbeResult>> {
  const probe = httpProbe({ path: settings.healthPath, timeoutMs: settings.healthTimeoutMs, version: VERSION }, systemTimers);
  const one = (endpoint: EndpointRecord): Promise<[string, ProbeResult]> =>
    new Promise((resolve) => void probe(endpoint, (result) => resolve([endpoint.key, result])));
  return new Map(await Promise.all(endpoints.map(one)));
}

function conclusion(decision: Decision): string {
  switch (decision.kind) {
    case "forward":
    case "fall-back": {
      const { kind, address, port, region } = decision.endpoint;
      const where = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
      return kind === "vm" ? `=> VM at http://${where}` : `=> region ${region} at http://${where}`;
    }
    case "probe-first":
      return `=> waits for the first probe of ${decision.endpoints.map((endpoint) => endpoint.key).join(", ")}`;
    case "table-first":
      return refusal("loop"); // what the running proxy says if its table does not change within a moment
    case "refuse":
      return refusal(decision.code);
  }
}

function refusal(code: AnswerCode): string {
  const { status, text, meaning } = CODES[code];
  return `=> ${status} ${text} (${code}): ${meaning}`;
}
