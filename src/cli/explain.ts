/*  `edgeproxy explain URL [-H 'Name: value']... [-X METHOD] [--json]`: which route, endpoint and region a request would get, and why.
 *
 *      the running proxy of this region is asked ---- its answer ----------------------------------------> printed
 *            |                                   '--- it has no verdict on a VM yet: probed from here, asked again with that
 *            '--- none answers at EDGEPROXY_ADMIN_ADDR: the database is read, its VMs are probed from here
 */
import { parseArgs } from "node:util";
import { EXPLANATION, type ExplanationView, explanationView } from "../admin/explain-api.ts";
import { type RequestWords, writtenRequest } from "../admin/written-request.ts";
import { pseudonym } from "../decision/loop.ts";
import { trustedProxies } from "../downstream/client-address.ts";
import { forwardingIdentity } from "../forwarding/request-fields.ts";
import { explain } from "../lifecycle/explaining.ts";
import { parseSettings, type Settings } from "../lifecycle/settings.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import { PostgresSource } from "../sources/postgres.ts";
import type { EndpointRecord } from "../table/record.ts";
import { RoutingTable } from "../table/routing-table.ts";
import { httpProbe, type ProbeResult } from "../upstream/probe.ts";
import { normaliseHost } from "../wire/host.ts";
import { explanationLines } from "./explanation-text.ts";
import { print, printError } from "./output.ts";
import { adminPlace, askRunningProxy } from "./running-proxy.ts";

interface Question {
  readonly words: RequestWords;
  readonly client: string;
  readonly json: boolean;
}

/** An explanation, and lines that say where it comes from. */
interface Answer {
  readonly lines: readonly string[];
  readonly view: ExplanationView;
}

type Probed = ReadonlyMap<string, ProbeResult>;

/** Nobody else asks from here. */
const CLIENT = "127.0.0.1";

/** The exit code: 0 explained, 1 the database cannot be read, 2 wrong usage or configuration. */
export async function runExplain(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const question = parseQuestion(argv);
  if (typeof question === "string") return printError(question, 2);
  const parsed = parseSettings(env);
  if ("problems" in parsed) return printError(parsed.problems.join("\n"), 2);
  const { settings } = parsed;
  const running = await askRunning(question, settings);
  const answer = typeof running === "string" ? await askDatabase(question, settings, running) : running;
  if (typeof answer === "string") return printError(answer, 1);
  if (question.json) print(JSON.stringify(answer.view, null, 2));
  else for (const line of [...answer.lines, ...explanationLines(answer.view)]) print(line);
  return 0;
}

function parseQuestion(argv: readonly string[]): Question | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        header: { type: "string", short: "H", multiple: true, default: [] },
        method: { type: "string", short: "X", default: "GET" },
        client: { type: "string", default: CLIENT },
        json: { type: "boolean", default: false },
      },
    });
    const [url, ...more] = positionals;
    if (url === undefined || more.length > 0) {
      return "Usage: edgeproxy explain URL [-H 'Name: value']... [-X METHOD] [--client ADDRESS] [--json]";
    }
    const fields = values.header.map(fieldOf);
    const unsplit = fields.findIndex((field) => field === null);
    if (unsplit >= 0) return `edgeproxy explain: not a header, a colon is missing: "${values.header[unsplit]}"`;
    const words = { url, method: values.method, fields: fields.filter((field) => field !== null) };
    if (writtenRequest(words) === null) return `edgeproxy explain: not a URL: "${url}"`;
    return { words, client: values.client, json: values.json };
  } catch (error) {
    return `edgeproxy explain: ${(error as Error).message}`;
  }
}

function fieldOf(text: string): [name: string, value: string] | null {
  const colon = text.indexOf(":");
  return colon < 1 ? null : [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function urlOf({ url }: RequestWords): string {
  return url.includes("://") ? url : `http://${url}`;
}

/** A text: why the running proxy does not say. */
async function askRunning(question: Question, settings: Settings): Promise<Answer | string> {
  const first = await askOnce(question, settings, {});
  if (typeof first === "string") return first;
  const source =
    `asked the running proxy at ${adminPlace(settings)}: worker ${first.worker}, routing table revision ${first.revision}` +
    (first.revision === first.current_revision ? "" : `, while the newest is ${first.current_revision}`);
  if (first.conclusion.kind !== "probe-first") return { lines: [source], view: first };
  const { awaited } = first.conclusion;
  const probed = await probeAll(awaited.map(endpointOf), settings);
  const suppose = Object.fromEntries([...probed].map(([key, { healthy }]) => [key, healthy ? "healthy" : "unhealthy"]));
  const second = await askOnce(question, settings, suppose);
  const waits = `it has no verdict on ${awaited.join(", ")} yet: a request waits for the first probe, done from here now`;
  return typeof second === "string" ? second : { lines: [source, waits, ...probeLines(probed)], view: second };
}

async function askOnce(
  { words, client }: Question,
  settings: Settings,
  suppose: Record<string, string>,
): Promise<ExplanationView | string> {
  const body = { url: words.url, method: words.method, headers: words.fields, client, suppose };
  const answer = await askRunningProxy(settings, "/api/explain", body);
  if (typeof answer === "string") return answer;
  if (answer.status !== 200) {
    return `it answers ${answer.status}: ${String((answer.body as { message?: unknown } | null)?.message ?? "")}`;
  }
  const view = EXPLANATION.safeParse(answer.body);
  if (!view.success) return "it is another version";
  return view.data.region === settings.regionId ? view.data : `it is that of region ${view.data.region}`;
}

/** As in `vm/10.0.0.5:8080`. */
function endpointOf(key: string): EndpointRecord {
  const { hostname, port } = new URL(`http://${key.slice(key.indexOf("/") + 1)}`);
  return { key, kind: "vm", address: hostname.replaceAll(/[[\]]/g, ""), port: Number(port || 80), region: "" };
}

/** Probes the VMs concerned as the running proxy would, then decides with its function. */
async function askDatabase({ words, client }: Question, settings: Settings, why: string): Promise<Answer | string> {
  const table = await readTable(settings);
  if (typeof table === "string") return table;
  const host = hostOf(words);
  const endpoints = (host === null ? undefined : table.find(host))?.endpoints ?? [];
  const probed = await probeAll(endpoints.filter(({ kind }) => kind === "vm"), settings);
  const identity = forwardingIdentity(pseudonym(settings.regionId), trustedProxies(settings.trustedProxies));
  const explanation = explain({ head: writtenRequest(words)!, client, suppose: {} }, {
    limits: settings,
    tracing: null,
    identity,
    surroundings: {
      table,
      previous: () => [], // known to the running proxy alone
      pseudonym: identity.pseudonym,
      availability: ({ kind, key }) => kind === "region" || probed.get(key)?.healthy === true ? "available" : "unhealthy",
      load: () => 0,
      random: Math.random,
    },
  });
  const place = settings.adminAddr === null ? "" : ` at ${adminPlace(settings)}`;
  const source = `no running proxy of this region is asked${place} (${why}): routes from the database, probes from here`;
  const view = explanationView(explanation, {
    region: settings.regionId,
    worker: null,
    currentRevision: 1,
    health: () => undefined,
  });
  return { lines: [source, ...probeLines(probed)], view };
}

/** null: malformed, or several. */
function hostOf({ url, fields }: RequestWords): string | null {
  const hosts = fields.filter(([name]) => name.toLowerCase() === "host").map(([, value]) => value);
  return hosts.length > 1 ? null : normaliseHost(hosts[0] ?? new URL(urlOf({ url, method: "", fields })).host);
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

async function probeAll(endpoints: readonly EndpointRecord[], settings: Settings): Promise<Probed> {
  const probe = httpProbe({ path: settings.healthPath, timeoutMs: settings.healthTimeoutMs, version: VERSION }, systemTimers);
  const one = (endpoint: EndpointRecord): Promise<[string, ProbeResult]> =>
    new Promise((resolve) => void probe(endpoint, (result) => resolve([endpoint.key, result])));
  return new Map(await Promise.all(endpoints.map(one)));
}

function probeLines(probed: Probed): string[] {
  return [...probed].map(([key, { healthy, reason, latencyMs }]) => {
    return `probe ${key}: ${healthy ? "healthy" : "unhealthy"}, ${reason}, ${latencyMs.toFixed(1)} ms`;
  });
}
