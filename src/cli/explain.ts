/*  `edgeproxy explain URL [-H 'Name: value']... [-X METHOD] [--json] [--env-file FILE]`: which route, endpoint and region a request would get, and why.
 *
 *      the running proxy of this region is asked ---- its answer ----------------------------------------> printed
 *            |                                   '--- it has no verdict on a VM yet: probed from here, asked again with that
 *            '--- none answers at EDGEPROXY_ADMIN_ADDR: the database is read, its VMs are probed from here
 *
 *  Without the database's URL or a region the running proxy is all that can be asked, whichever region it is of.
 */
import { parseArgs } from "node:util";
import { EXPLANATION, type ExplanationView, explanationView } from "../admin/explain-api.ts";
import { type RequestWords, writtenRequest } from "../admin/written-request.ts";
import { pseudonym } from "../decision/loop.ts";
import { NO_HOOKS } from "../decision/policy-hooks.ts";
import { trustedProxies } from "../downstream/client-address.ts";
import { forwardingIdentity } from "../forwarding/request-fields.ts";
import { Balancing } from "../lifecycle/balancing.ts";
import { explain } from "../lifecycle/explaining.ts";
import { settingRows } from "../lifecycle/setting-table.ts";
import { type Environment, ownPorts, parseSetting, parseSettings, type Settings } from "../lifecycle/settings.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import { NoSource } from "../sources/no-source.ts";
import { readConfigFile } from "../sources/file-reading.ts";
import { PostgresSource } from "../sources/postgres.ts";
import type { EndpointRecord } from "../table/record.ts";
import { partsOfKey, Policies } from "../table/policies.ts";
import { RoutingTable } from "../table/routing-table.ts";
import { CellTable } from "../upstream/cell-table.ts";
import { Endpoints } from "../upstream/endpoint-state.ts";
import { httpProbe, type ProbeResult } from "../upstream/probe.ts";
import { ENV_FILE, environmentWith } from "./env-file.ts";
import { explanationLines } from "./explanation-text.ts";
import { print, printError } from "./output.ts";
import { type AdminAccess, adminPlace, askRunningProxy } from "./running-proxy.ts";
import { COMMANDS, synopsis } from "./usage.ts";

interface Question {
  readonly words: RequestWords;
  readonly client: string;
  readonly json: boolean;
  readonly envFile: string | undefined;
}

/** `regionId`: null where any will do. */
type Asked = AdminAccess & { readonly regionId: string | null };

/** An explanation, and lines that say where it comes from. */
interface Answer {
  readonly lines: readonly string[];
  readonly view: ExplanationView;
}

type Probed = ReadonlyMap<string, ProbeResult>;

/** Nobody else asks from here. */
const CLIENT = "127.0.0.1";

/** The exit code: 0 explained, 1 the database cannot be read, 2 wrong usage or configuration. */
export async function runExplain(argv: readonly string[], env: Environment): Promise<number> {
  const question = parseQuestion(argv);
  if (typeof question === "string") return printError(question, 2);
  const environment = await environmentWith(question.envFile, env);
  if (environment === null) return 2;
  const parsed = parseSettings(environment);
  if ("problems" in parsed) return await explainWithout(parsed.problems, question, environment);
  const { settings } = parsed;
  const running = await askRunning(question, settings, settings);
  const answer = typeof running === "string" ? await askDatabase(question, settings, running) : running;
  return typeof answer === "string" ? printError(answer, 1) : show(answer, question);
}

/** What is missing is needed only when no running proxy answers; what is wrong must be put right first. */
async function explainWithout(problems: readonly string[], question: Question, env: Environment): Promise<number> {
  const missing = settingRows().filter(({ required, variable }) => required && (env[variable]?.trim() ?? "") === "");
  const [adminAddr, adminToken, regionId] = [
    parseSetting("adminAddr", env),
    parseSetting("adminToken", env),
    parseSetting("regionId", env),
  ];
  if (problems.length > missing.length || "problem" in adminAddr || "problem" in adminToken) {
    return printError(problems.join("\n"), 2);
  }
  const asked = {
    adminAddr: adminAddr.value,
    adminToken: adminToken.value,
    regionId: "problem" in regionId ? null : regionId.value,
  };
  const answer = await askRunning(question, asked, null);
  if (typeof answer !== "string") return show(answer, question);
  const tried = asked.adminAddr === null ? "" : ` at ${adminPlace(asked)}`;
  return printError(
    [
      `edgeproxy explain: the running proxy does not say${tried} (${answer}), and the database cannot be asked:`,
      ...problems,
      "The proxy's address is EDGEPROXY_ADMIN_ADDR, its token EDGEPROXY_ADMIN_TOKEN; a file that sets them all is named by --env-file,",
      "such as sudo edgeproxy explain --env-file /etc/edgeproxy/edgeproxy.env URL",
    ].join("\n"),
    2,
  );
}

function show(answer: Answer, question: Question): number {
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
        ...ENV_FILE,
      },
    });
    const [url, ...more] = positionals;
    if (url === undefined || more.length > 0) return usage();
    const fields = values.header.map(fieldOf);
    const unsplit = fields.findIndex((field) => field === null);
    if (unsplit >= 0) return `edgeproxy explain: not a header, a colon is missing: "${values.header[unsplit]}"`;
    const words = { url, method: values.method, fields: fields.filter((field) => field !== null) };
    if (writtenRequest(words) === null) return `edgeproxy explain: not a URL such as http://app.example.com/path: "${url}"`;
    return { words, client: values.client, json: values.json, envFile: values["env-file"] };
  } catch (error) {
    return `edgeproxy explain: ${(error as Error).message}`;
  }
}

function usage(): string {
  return COMMANDS.filter(({ name }) => name === "explain").map((command) => `Usage: edgeproxy ${synopsis(command)}`).join();
}

function fieldOf(text: string): [name: string, value: string] | null {
  const colon = text.indexOf(":");
  return colon < 1 ? null : [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

/** A text: why the running proxy does not say. `settings`: to probe with what is not probed yet; null: they are not known. */
async function askRunning(question: Question, asked: Asked, settings: Settings | null): Promise<Answer | string> {
  const first = await askOnce(question, asked, {});
  if (typeof first === "string") return first;
  const source =
    `asked the running proxy at ${adminPlace(asked)}: worker ${first.worker}, routing table revision ${first.revision}` +
    (first.revision === first.current_revision ? "" : `, while the newest is ${first.current_revision}`);
  if (first.conclusion.kind !== "probe-first") return { lines: [source], view: first };
  const { awaited } = first.conclusion;
  if (settings === null) {
    return {
      lines: [source, "a verdict is missing; with the settings of the service (--env-file) it is probed from here"],
      view: first,
    };
  }
  const file = await configuredPolicies(settings);
  const probed = await probeAll(awaited.map(endpointOf), settings, typeof file === "string" ? Policies.none : file);
  const suppose = Object.fromEntries([...probed].map(([key, { healthy }]) => [key, healthy ? "healthy" : "unhealthy"]));
  const second = await askOnce(question, asked, suppose);
  const waits = `it has no verdict on ${awaited.join(", ")} yet: a request waits for the first probe, done from here now`;
  return typeof second === "string" ? second : { lines: [source, waits, ...probeLines(probed)], view: second };
}

async function askOnce(
  { words, client }: Question,
  asked: Asked,
  suppose: Record<string, string>,
): Promise<ExplanationView | string> {
  const body = { url: words.url, method: words.method, headers: words.fields, client, suppose };
  const answer = await askRunningProxy(asked, "/api/explain", body);
  if (typeof answer === "string") return answer;
  if (answer.status !== 200) {
    return `it answers ${answer.status}: ${String((answer.body as { message?: unknown } | null)?.message ?? "")}`;
  }
  const view = EXPLANATION.safeParse(answer.body);
  if (!view.success) return "it is another version";
  return asked.regionId === null || view.data.region === asked.regionId ? view.data : `it is that of region ${view.data.region}`;
}

/** As in `vm/10.0.0.5:8080`, and behind it `@` and the service under whose policy it is. */
function endpointOf(key: string): EndpointRecord {
  const { bare } = partsOfKey(key);
  const { hostname, port } = new URL(`http://${bare.slice(bare.indexOf("/") + 1)}`);
  return { key, kind: "vm", address: hostname.replaceAll(/[[\]]/g, ""), port: Number(port || 80), region: "" };
}

/** Decides with the function of the running proxy, twice: to see which VMs are concerned, and once they have been probed. */
async function askDatabase({ words, client }: Question, settings: Settings, why: string): Promise<Answer | string> {
  const table = await readTable(settings);
  if (typeof table === "string") return table;
  const identity = forwardingIdentity(pseudonym(settings.regionId), trustedProxies(settings.trustedProxies), settings.secret);
  const chance = Math.random(); // the same service both times
  const endpoints = new Endpoints({ wanted: () => {}, failed: () => {} });
  const balancing = new Balancing({
    table,
    endpoints,
    cells: new CellTable(),
    placesOf: () => 0,
    secret: settings.secret,
    random: () => chance,
    nowMs: () => 0,
  });
  const explainedWith = (probed: Probed) =>
    explain({ head: writtenRequest(words)!, client, suppose: {} }, {
      limits: settings,
      tracing: null,
      identity,
      surroundings: {
        table,
        previous: () => [], // known to the running proxy alone
        pseudonym: identity.pseudonym,
        availability: ({ kind, key }) => kind === "region" || probed.get(key)?.healthy === true ? "available" : "unhealthy",
        load: () => 0,
        random: () => chance,
        secret: settings.secret,
        hooks: { ...NO_HOOKS, ...balancing.onlookers },
      },
    });
  const concerned = explainedWith(new Map()).candidates.filter(({ kind }) => kind === "vm").map(({ key }) => endpointOf(key));
  const probed = await probeAll(concerned, settings, table.policies);
  const explanation = explainedWith(probed);
  const place = settings.adminAddr === null ? "" : ` at ${adminPlace(settings)}`;
  const source = `no running proxy of this region is asked${place} (${why}): ${sourcesOf(settings)}, probes from here`;
  const view = explanationView(explanation, {
    region: settings.regionId,
    worker: null,
    currentRevision: 1,
    health: () => undefined,
  });
  return { lines: [source, ...probeLines(probed)], view };
}

function sourcesOf({ databaseUrl, configFile }: Settings): string {
  if (databaseUrl === "") return "routes from the routes file";
  return `routes from the database${configFile === "" ? "" : " and the routes file"}`;
}

async function readTable(settings: Settings): Promise<RoutingTable | string> {
  const { databaseUrl } = settings;
  const source = databaseUrl === ""
    ? new NoSource()
    : new PostgresSource({ url: databaseUrl, here: { ...settings, ownPorts: ownPorts(settings) } });
  try {
    const reading = await source.read({ whole: true }, AbortSignal.timeout(30_000));
    const table = new RoutingTable();
    table.commit(reading.routes, 1, 0);
    const file = await configuredPolicies(settings);
    if (typeof file === "string") return file;
    table.policies = new Policies(file.file, reading.policies ?? new Map());
    return table;
  } catch (error) {
    return `Cannot read routes: ${(error as Error).message}`;
  } finally {
    await source.close();
  }
}

/** What the routes file says; a text: why it cannot be read. */
async function configuredPolicies({ configFile, regionId }: Settings): Promise<Policies | string> {
  if (configFile === "") return Policies.none;
  const read = await readConfigFile(configFile, { regionId });
  return "problems" in read ? read.problems.join("\n") : new Policies(read.policies, new Map());
}

/** As their services want it. */
async function probeAll(endpoints: readonly EndpointRecord[], settings: Settings, policies: Policies): Promise<Probed> {
  const healthOf = (key: string) => policies.service(partsOfKey(key).service ?? "")?.policy.health ?? null;
  const { healthPath: path, healthTimeoutMs: timeoutMs } = settings;
  const probe = httpProbe({ path, timeoutMs, version: VERSION }, systemTimers, healthOf);
  const one = (endpoint: EndpointRecord): Promise<[string, ProbeResult]> =>
    new Promise((resolve) => void probe(endpoint, (result) => resolve([endpoint.key, result])));
  return new Map(await Promise.all(endpoints.map(one)));
}

function probeLines(probed: Probed): string[] {
  return [...probed].map(([key, { healthy, reason, latencyMs }]) => {
    return `probe ${key}: ${healthy ? "healthy" : "unhealthy"}, ${reason}, ${latencyMs.toFixed(1)} ms`;
  });
}
