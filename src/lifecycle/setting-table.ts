/** The one table of settings (contract, section 3): parsing, `--help`, the README and tests are derived from it. */
import { availableParallelism } from "node:os";
import { type SamplerName, SAMPLERS } from "../observation/tracing.ts";
import { attributes, collectorUrl, fraction, milliseconds, secretFields, switchedOn } from "./otel-values.ts";
import {
  accessSampling,
  adminAddress,
  anyText,
  databaseUrl,
  duration,
  file,
  folder,
  integer,
  listenAddress,
  networks,
  oneOf,
  requestPath,
  size,
  token,
  uuid,
  type ValueKind,
} from "./setting-values.ts";
import type { Settings } from "./settings.ts";

export interface SettingRow<Value> {
  readonly variable: string;
  /** What it means, for people. */
  readonly meaning: string;
  readonly kind: ValueKind<Value>;
  readonly required?: true;
  /** It is not required where this other variable is set. */
  readonly unless?: string;
  /** Parsed like a set value; absent: none, and the setting is an empty text. */
  readonly default?: string;
  /** What stands for the default where it depends on the machine. */
  readonly defaultMeaning?: string;
  /** A value that makes sense, where the default shows none. */
  readonly example?: string;
}

/** What those who only print need of a row; `format` would tie it to the type of one setting. */
export type PrintableRow = Omit<SettingRow<unknown>, "kind"> & { readonly kind: { readonly accepts: string } };

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const KIB = 2 ** 10;
const MIB = 2 ** 20;

export const SETTINGS: { readonly [Name in keyof Settings]: SettingRow<Settings[Name]> } = {
  httpAddr: { variable: "EDGEPROXY_HTTP_ADDR", default: ":8080", meaning: "listen address for HTTP", kind: listenAddress },
  databaseUrl: {
    variable: "EDGEPROXY_DATABASE_URL",
    required: true,
    unless: "EDGEPROXY_CONFIG_FILE",
    example: "postgres://edgeproxy:secret@db.internal:5432/platform?sslmode=verify-full",
    meaning: "PostgreSQL URL (several hosts allowed: tried in order); not required with a routes file",
    kind: databaseUrl,
  },
  regionId: {
    variable: "EDGEPROXY_REGION_ID",
    required: true,
    example: "6f1e9f0e-3c3c-4d68-9a51-6a6a8c5d2b11",
    meaning: "UUID of the region this proxy runs in",
    kind: uuid,
  },
  regionPort: {
    variable: "EDGEPROXY_REGION_PORT",
    default: "80",
    meaning: "port of the other regions' load balancers",
    kind: integer(1, 65_535),
  },
  updateIntervalMs: {
    variable: "EDGEPROXY_UPDATE_INTERVAL",
    default: "10s",
    meaning: "how often routes are refreshed",
    kind: duration(100, 24 * HOUR),
  },
  logLevel: {
    variable: "EDGEPROXY_LOG_LEVEL",
    default: "info",
    meaning: "`debug`, `info`, `warn`, `error`",
    kind: oneOf(["debug", "info", "warn", "error"]),
  },
  adminAddr: {
    variable: "EDGEPROXY_ADMIN_ADDR",
    default: "127.0.0.1:9090",
    meaning: "health, metrics, admin, dashboard; an address, a unix socket such as `unix:/run/edgeproxy/admin.sock`, or `off`",
    kind: adminAddress,
  },
  adminToken: {
    variable: "EDGEPROXY_ADMIN_TOKEN",
    example: "a-long-random-text",
    meaning: "bearer token; required as soon as the admin address is not loopback",
    kind: token,
  },
  workers: {
    variable: "EDGEPROXY_WORKERS",
    default: String(availableParallelism()),
    defaultMeaning: "number of CPUs",
    meaning: "data-plane processes; `0` = everything in one process",
    kind: integer(0, 256),
  },
  stateDir: {
    variable: "EDGEPROXY_STATE_DIR",
    example: "/var/lib/edgeproxy",
    meaning: "folder for the last good routing table; empty = none kept",
    kind: folder,
  },
  errorPages: {
    variable: "EDGEPROXY_ERROR_PAGES",
    example: "/etc/edgeproxy/pages",
    meaning: "folder with HTML pages for the proxy's own answers, such as `404.html`; empty = the built-in one",
    kind: folder,
  },
  healthPath: { variable: "EDGEPROXY_HEALTH_PATH", default: "/", meaning: "path probed on a VM", kind: requestPath },
  healthTimeoutMs: {
    variable: "EDGEPROXY_HEALTH_TIMEOUT",
    default: "2s",
    meaning: "until the answer to a probe has arrived",
    kind: duration(10, 5 * MINUTE),
  },
  healthIntervalMs: {
    variable: "EDGEPROXY_HEALTH_INTERVAL",
    default: "5s",
    meaning: "how often a VM in use is probed",
    kind: duration(10, HOUR),
  },
  connectTimeoutMs: {
    variable: "EDGEPROXY_CONNECT_TIMEOUT",
    default: "2s",
    meaning: "TCP connect to a VM or a region",
    kind: duration(10, 5 * MINUTE),
  },
  responseTimeoutMs: {
    variable: "EDGEPROXY_RESPONSE_TIMEOUT",
    default: "60s",
    meaning: "until the response head has arrived",
    kind: duration(10, 24 * HOUR),
  },
  idleTimeoutMs: {
    variable: "EDGEPROXY_IDLE_TIMEOUT",
    default: "75s",
    meaning: "idle keep-alive connection of a client",
    kind: duration(10, 24 * HOUR),
  },
  headerTimeoutMs: {
    variable: "EDGEPROXY_HEADER_TIMEOUT",
    default: "10s",
    meaning: "until a request head is complete",
    kind: duration(10, HOUR),
  },
  streamTimeoutMs: {
    variable: "EDGEPROXY_STREAM_TIMEOUT",
    default: "5m",
    meaning: "no byte in either direction on a running exchange or tunnel",
    kind: duration(10, 24 * HOUR),
  },
  minBodyRate: {
    variable: "EDGEPROXY_MIN_BODY_RATE",
    default: "240",
    meaning: "bytes per second that an unanswered request body must keep up, after 10s of grace; 0 = any",
    kind: size(0, MIB),
  },
  shutdownTimeoutMs: {
    variable: "EDGEPROXY_SHUTDOWN_TIMEOUT",
    default: "30s",
    meaning: "grace for running exchanges at shutdown",
    kind: duration(0, 24 * HOUR),
  },
  drainDelayMs: {
    variable: "EDGEPROXY_DRAIN_DELAY",
    default: "0s",
    meaning: "at shutdown, how long new connections are still accepted after readiness has turned false",
    kind: duration(0, HOUR),
  },
  orphanTimeoutMs: {
    variable: "EDGEPROXY_ORPHAN_TIMEOUT",
    default: "5m",
    meaning: "how long a data-plane process serves on when its supervisor is gone",
    kind: duration(0, 24 * HOUR),
  },
  handOverTimeoutMs: {
    variable: "EDGEPROXY_HANDOVER_TIMEOUT",
    default: "1m",
    meaning: "how long a new generation that takes over from a running one may need to become ready",
    kind: duration(100, HOUR),
  },
  maxHeaderBytes: {
    variable: "EDGEPROXY_MAX_HEADER_SIZE",
    default: "32KiB",
    meaning: "request and response head",
    kind: size(KIB, MIB),
  },
  maxBodyBytes: {
    variable: "EDGEPROXY_MAX_BODY_SIZE",
    default: "0",
    meaning: "request body, 0 = no limit",
    kind: size(0, Number.MAX_SAFE_INTEGER),
  },
  maxConnections: {
    variable: "EDGEPROXY_MAX_CONNECTIONS",
    default: "0",
    meaning: "downstream connections per worker, 0 = as the file limit allows",
    kind: integer(0, 10_000_000),
  },
  trustedProxies: {
    variable: "EDGEPROXY_TRUSTED_PROXIES",
    default: "",
    example: "203.0.113.0/24,2001:db8::1",
    meaning: "CIDR list whose `X-Forwarded-*` is believed",
    kind: networks,
  },
  accessLog: {
    variable: "EDGEPROXY_ACCESS_LOG",
    default: "off",
    example: "1%",
    meaning: "`off`, `on`, `errors`, or a share such as `1%`, by lot, besides all errors",
    kind: accessSampling,
  },
  configFile: {
    variable: "EDGEPROXY_CONFIG_FILE",
    example: "/etc/edgeproxy/routes.yaml",
    meaning: "YAML or JSON file with services, routes and policies, read again when it changes; beside or instead of a database",
    kind: file,
  },
  secret: {
    variable: "EDGEPROXY_SECRET",
    defaultMeaning: "random at each start",
    example: "another-long-random-text",
    meaning: "signs sticky cookies and route keys; the same on all edges, so that each believes what the others have signed",
    kind: token,
  },
  otlpEndpoint: {
    variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
    meaning: "collector that sampled spans are sent to, at `/v1/traces`; empty = none, and OpenTelemetry is not loaded",
    kind: collectorUrl,
  },
  otlpTracesEndpoint: {
    variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    meaning: "the same, with the whole path; wins over the other",
    kind: collectorUrl,
  },
  otlpProtocol: {
    variable: "OTEL_EXPORTER_OTLP_PROTOCOL",
    default: "http/protobuf",
    meaning: "no other is spoken",
    kind: oneOf(["http/protobuf"]),
  },
  otlpHeaders: {
    variable: "OTEL_EXPORTER_OTLP_HEADERS",
    default: "",
    meaning: "fields sent to the collector, `name=value,name=value`, percent-encoded; a secret",
    kind: secretFields,
  },
  otlpTimeoutMs: {
    variable: "OTEL_EXPORTER_OTLP_TIMEOUT",
    default: "10000",
    meaning: "what one export may take, retries included, in milliseconds",
    kind: milliseconds,
  },
  otelServiceName: {
    variable: "OTEL_SERVICE_NAME",
    defaultMeaning: "edgeproxy",
    meaning: "`service.name` of the spans",
    kind: anyText,
  },
  otelResource: {
    variable: "OTEL_RESOURCE_ATTRIBUTES",
    default: "",
    meaning: "further attributes of whoever sends the spans, `name=value,name=value`",
    kind: attributes,
  },
  tracesSampler: {
    variable: "OTEL_TRACES_SAMPLER",
    defaultMeaning: "`parentbased_traceidratio`",
    meaning: `which exchanges are recorded: ${SAMPLERS.map((name) => `\`${name}\``).join(", ")}`,
    kind: oneOf<SamplerName | "">(SAMPLERS),
  },
  tracesSamplerArg: {
    variable: "OTEL_TRACES_SAMPLER_ARG",
    default: "0.01",
    meaning: "share that the two `traceidratio` samplers record",
    kind: fraction,
  },
  otelDisabled: {
    variable: "OTEL_SDK_DISABLED",
    default: "false",
    meaning: "`true`: nothing is exported, whatever the others say",
    kind: switchedOn,
  },
};

/** Names that later versions will understand: to set one now is a problem, because it would be silently ignored. */
export const LATER_VARIABLES: readonly string[] = [
  "EDGEPROXY_HTTPS_ADDR",
  "EDGEPROXY_TLS_CERT_FILE",
  "EDGEPROXY_TLS_KEY_FILE",
  "EDGEPROXY_REGISTRY_ADDR",
];

/** The rows in the order of the contract, for those who only print them. */
export function settingRows(): readonly PrintableRow[] {
  return Object.values(SETTINGS);
}
