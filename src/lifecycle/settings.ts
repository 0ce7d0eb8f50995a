/** What the process is started with: environment in, one frozen value or every problem at once out. */
import type { AccessSampling } from "../observation/access-log.ts";
import type { SettingDescription } from "../admin/deps.ts";
import type { SamplerName } from "../observation/tracing.ts";
import { parseDatabaseUrl } from "../sources/database-url.ts";
import { nearest } from "../sources/nearest-name.ts";
import { LATER_VARIABLES, type SettingRow, SETTINGS } from "./setting-table.ts";
import { isLoopback, type ValueKind } from "./setting-values.ts";

/** Where to listen. `host` is an IP literal or empty for all addresses (dual stack where the machine has it). */
export interface ListenAddress {
  readonly host: string;
  /** 0 to 65535; 0 lets the kernel choose. */
  readonly port: number;
}

/** A socket in the file system. */
export interface UnixAddress {
  /** Absolute. */
  readonly path: string;
}

/** The settings of contract section 3, parsed. Durations in ms, sizes in bytes. */
export interface Settings {
  readonly httpAddr: ListenAddress;
  /** Empty: routes come from the file alone. */
  readonly databaseUrl: string;
  /** Empty: none. */
  readonly configFile: string;
  readonly regionId: string;
  readonly regionPort: number;
  readonly updateIntervalMs: number;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** null when `off`. */
  readonly adminAddr: ListenAddress | UnixAddress | null;
  readonly adminToken: string;
  /** Empty: each start makes one of its own. */
  readonly secret: string;
  readonly workers: number;
  readonly stateDir: string;
  /** A folder; empty: only our own. */
  readonly errorPages: string;
  readonly healthPath: string;
  readonly healthTimeoutMs: number;
  readonly healthIntervalMs: number;
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly headerTimeoutMs: number;
  readonly streamTimeoutMs: number;
  readonly minBodyRate: number;
  readonly shutdownTimeoutMs: number;
  readonly drainDelayMs: number;
  readonly orphanTimeoutMs: number;
  readonly handOverTimeoutMs: number;
  readonly maxHeaderBytes: number;
  /** 0 = no limit. */
  readonly maxBodyBytes: number;
  /** 0 = as the file limit allows. */
  readonly maxConnections: number;
  /** CIDR blocks or single addresses. */
  readonly trustedProxies: readonly string[];
  readonly accessLog: AccessSampling;
  /** Of a collector; empty: nothing is exported. */
  readonly otlpEndpoint: string;
  /** As it is, where spans do not go to `v1/traces` of that. */
  readonly otlpTracesEndpoint: string;
  readonly otlpProtocol: "http/protobuf";
  /** Fields of every export; secret. */
  readonly otlpHeaders: Readonly<Record<string, string>>;
  readonly otlpTimeoutMs: number;
  /** Empty: as the resource says, else edgeproxy. */
  readonly otelServiceName: string;
  readonly otelResource: Readonly<Record<string, string>>;
  /** Empty: none is named. */
  readonly tracesSampler: SamplerName | "";
  readonly tracesSamplerArg: number;
  readonly otelDisabled: boolean;
}

/** Warnings never stop the start. */
export type ParsedSettings =
  | { readonly settings: Settings; readonly warnings: readonly string[] }
  | { readonly problems: readonly string[]; readonly warnings: readonly string[] };

export type Environment = Readonly<Record<string, string | undefined>>;

const SHORT_TOKEN = 16;

/** Every problem at once, one line each; an empty value counts as not set. */
export function parseSettings(env: Environment): ParsedSettings {
  const problems: string[] = [];
  const ignored: string[] = [];
  const values: Partial<Record<keyof Settings, unknown>> = {};
  const exports = exportsSpans(env);
  for (const name of settingNames()) {
    const row: ReadableRow = SETTINGS[name];
    const outcome = parseOne(row, env, row.unless === undefined ? "" : `, unless ${row.unless} has the routes`);
    if ("value" in outcome) values[name] = outcome.value;
    else if (exports || !row.variable.startsWith(OPEN_TELEMETRY)) problems.push(outcome.problem);
    else {
      ignored.push(`${outcome.problem}; ignored, since no spans are exported`);
      values[name] = defaultOf(row);
    }
  }
  for (const variable of LATER_VARIABLES) {
    if (given(env, variable) !== "") problems.push(`${variable}: not supported by this version`);
  }
  // Complete unless there is a problem: one value per name of the table.
  const settings = Object.freeze(values as Settings);
  problems.push(...adminProblems(settings, problems));
  const warnings = [...unknownVariables(env), ...urlWarnings(env), ...tokenWarnings(env), ...ignored];
  return problems.length > 0 ? { problems, warnings } : { settings, warnings };
}

/** One of them, for a command that needs no others. */
export function parseSetting<Name extends keyof Settings>(
  name: Name,
  env: Environment,
): { readonly value: Settings[Name] } | { readonly problem: string } {
  const outcome = parseOne(SETTINGS[name], env);
  return "problem" in outcome ? outcome : { value: outcome.value as Settings[Name] };
}

/** By variable, as a user would write them, secrets masked: for the first log line and `check`. */
export function effectiveSettings(settings: Settings): Record<string, string> {
  return Object.fromEntries(settingNames().map((name) => effective(name, settings)));
}

/** What is in force and what would be, for people. */
export function describeSettings(settings: Settings): SettingDescription[] {
  return settingNames().map((name) => {
    const [variable, value] = effective(name, settings);
    const { meaning, kind, default: text, defaultMeaning } = SETTINGS[name];
    return { variable, value, default: defaultMeaning ?? text ?? "", meaning, masked: kind.mask !== undefined };
  });
}

function effective<Name extends keyof Settings>(name: Name, settings: Settings): [string, string] {
  const row = SETTINGS[name];
  return [row.variable, row.kind.format(settings[name])];
}

function settingNames(): readonly (keyof Settings)[] {
  return Object.keys(SETTINGS) as (keyof Settings)[];
}

function given(env: Environment, variable: string): string {
  return env[variable]?.trim() ?? "";
}

type Outcome = { readonly value: unknown } | { readonly problem: string };

/** What reading needs of a row; `format` would tie it to the type of one setting. */
type ReadableRow = Omit<SettingRow<unknown>, "kind"> & { readonly kind: Omit<ValueKind<unknown>, "format"> };

/** Other programs of the machine may share these variables, so that they are wrong for us need not matter. */
const OPEN_TELEMETRY = "OTEL_";

function exportsSpans(env: Environment): boolean {
  const { otlpEndpoint, otlpTracesEndpoint, otelDisabled } = SETTINGS;
  const somewhere = [otlpEndpoint, otlpTracesEndpoint].some(({ variable }) => given(env, variable) !== "");
  return somewhere && given(env, otelDisabled.variable).toLowerCase() !== "true";
}

/** Of a row that is not required. */
function defaultOf(row: ReadableRow): unknown {
  const outcome = parseOne(row, {});
  return "value" in outcome ? outcome.value : "";
}

/** `otherwise`: what would do as well as a value, said where one is missing. */
function parseOne(row: ReadableRow, env: Environment, otherwise = ""): Outcome {
  const text = given(env, row.variable);
  if (text === "" && row.required && (row.unless === undefined || given(env, row.unless) === "")) {
    return { problem: `${row.variable}: is required${otherwise}` };
  }
  if (text === "" && row.default === undefined) return { value: "" };
  const parsed = row.kind.parser.safeParse(text === "" ? row.default : text);
  if (parsed.success) return { value: parsed.data };
  const shown = row.kind.mask === undefined ? text : row.kind.mask(text);
  return { problem: `${row.variable}: ${parsed.error.issues[0]?.message ?? "is not valid"}, got "${shown}"` };
}

/** Anyone who can reach the admin address could read the table and drain the proxy; a unix socket has permissions. */
function adminProblems(settings: Partial<Settings>, others: readonly string[]): string[] {
  const { adminAddr, adminToken } = settings;
  const tokenVariable = SETTINGS.adminToken.variable;
  if (adminAddr === undefined || adminAddr === null || "path" in adminAddr || isLoopback(adminAddr) || adminToken !== "") return [];
  if (others.some((other) => other.startsWith(tokenVariable))) return [];
  const address = SETTINGS.adminAddr.kind.format(adminAddr);
  return [`${tokenVariable}: is required because ${SETTINGS.adminAddr.variable} is not a loopback address, got "${address}"`];
}

/** On which this proxy listens. */
export function ownPorts({ httpAddr, adminAddr }: Pick<Settings, "httpAddr" | "adminAddr">): number[] {
  return [httpAddr, adminAddr].flatMap((address) => address !== null && "port" in address ? [address.port] : []);
}

/** Guesses are counted per address, and an attacker may have many. */
function tokenWarnings(env: Environment): string[] {
  const short = [SETTINGS.adminToken, SETTINGS.secret].filter(({ variable }) => {
    const { length } = given(env, variable);
    return length > 0 && length < SHORT_TOKEN;
  });
  return short.map(({ variable }) => `${variable}: is so short that it can be guessed; ${SHORT_TOKEN} random characters cannot`);
}

function unknownVariables(env: Environment): string[] {
  const known = [...Object.values(SETTINGS).map((row) => row.variable), ...LATER_VARIABLES];
  return Object.keys(env)
    .filter((variable) => variable.startsWith("EDGEPROXY_") && env[variable] !== undefined && !known.includes(variable))
    .map((variable) => `${variable}: unknown variable, ignored; did you mean ${nearest(variable, known)}?`);
}

function urlWarnings(env: Environment): string[] {
  const { variable } = SETTINGS.databaseUrl;
  const target = parseDatabaseUrl(given(env, variable));
  if ("problem" in target) return [];
  return target.ignored.map((name) => `${variable}: parameter "${name}" is not known and ignored`);
}
