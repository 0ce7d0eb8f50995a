/*  A PostgreSQL URL as libpq understands it:
 *
 *    postgres://user:password@host:5432,[::1]:5433,other/database?sslmode=verify-full&sslrootcert=/etc/ca.pem
 *
 *  Parsed by ourselves because no URL parser knows several hosts, and because postgres.js sends every parameter it does not
 *  know as a startup parameter, which servers refuse. What libpq alone knows is dropped in silence: it does not change what we
 *  do. What nobody knows (a `schema` or `connection_limit` of an ORM) is dropped too, and listed so that it can be warned about.
 */

/** `host` is a name, an IP literal without brackets, or the folder of a Unix socket (begins with a slash). */
export interface DatabaseHost {
  readonly host: string;
  readonly port: number;
}

/** `db1:5432`, `[::1]:5432`, as people write it. */
export function nameOf(host: DatabaseHost): string {
  return `${host.host.includes(":") ? `[${host.host}]` : host.host}:${host.port}`;
}

export const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
export type SslMode = (typeof SSL_MODES)[number];

export const SESSION_KINDS = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] as const;
export type SessionKind = (typeof SESSION_KINDS)[number];

export interface DatabaseTarget {
  /** Tried in order; never empty. */
  readonly hosts: readonly DatabaseHost[];
  /** null: the environment's (`PGUSER`, `PGPASSWORD`, `PGDATABASE`), else the user's own name, none, the user's name. */
  readonly user: string | null;
  readonly password: string | null;
  readonly database: string | null;
  readonly sslMode: SslMode;
  /** Paths of PEM files. */
  readonly sslRootCert: string | null;
  readonly sslCert: string | null;
  readonly sslKey: string | null;
  readonly connectTimeoutMs: number;
  /** Which of several hosts will do. */
  readonly session: SessionKind;
  /** Sent to the server when a session starts. */
  readonly startup: Readonly<Record<string, string>>;
  /** Names of parameters nobody knows. */
  readonly ignored: readonly string[];
}

export type DatabaseUrl = DatabaseTarget | { readonly problem: string };

const DEFAULT_PORT = 5432;
const DEFAULT_CONNECT_TIMEOUT_MS = 5000;
const MASK = "***";

/** Startup parameters worth passing on; `options` carries any other server setting (`-c name=value`). */
const STARTUP = ["application_name", "options", "search_path"];
/** libpq's own: they steer a client that we are not. */
const LIBPQ_ONLY = [
  "channel_binding",
  "client_encoding",
  "fallback_application_name",
  "gssdelegation",
  "gssencmode",
  "gsslib",
  "hostaddr",
  "keepalives",
  "keepalives_count",
  "keepalives_idle",
  "keepalives_interval",
  "krbsrvname",
  "load_balance_hosts",
  "passfile",
  "replication",
  "require_auth",
  "requirepeer",
  "requiressl",
  "service",
  "ssl_max_protocol_version",
  "ssl_min_protocol_version",
  "sslcertmode",
  "sslcompression",
  "sslcrl",
  "sslcrldir",
  "sslnegotiation",
  "sslpassword",
  "sslsni",
  "tcp_user_timeout",
];
const UNDERSTOOD = [
  "connect_timeout",
  "dbname",
  "host",
  "password",
  "port",
  "sslcert",
  "sslkey",
  "sslmode",
  "sslrootcert",
  "target_session_attrs",
  "user",
];

export function parseDatabaseUrl(text: string): DatabaseUrl {
  const parts = split(text);
  if (parts === null) return { problem: "must be a URL such as postgres://user:password@host:5432/database" };
  const problems: string[] = [];
  const target = parse(parts, problems);
  return problems[0] === undefined ? target : { problem: problems[0] };
}

/** The URL with its password replaced; of a text that is no URL nothing but the scheme is left. */
export function maskDatabaseUrl(text: string): string {
  const parts = split(text);
  if (parts === null || "problem" in parseDatabaseUrl(text)) {
    const scheme = /^[a-z]{1,20}:\/\//i.exec(text)?.[0] ?? "";
    return `${scheme}${MASK}`;
  }
  const user = parts.userInfo === null ? "" : `${parts.userInfo.replace(/:.*$/s, `:${MASK}`)}@`;
  const query = parts.query === "" ? "" : `?${parts.query.replace(/((?:^|&)(?:password|sslpassword)=)[^&]*/g, `$1${MASK}`)}`;
  return `${parts.scheme}://${user}${parts.hosts}${parts.path}${query}`;
}

interface UrlParts {
  readonly scheme: string;
  readonly userInfo: string | null;
  readonly hosts: string;
  /** Empty or with its slash. */
  readonly path: string;
  readonly query: string;
}

function split(text: string): UrlParts | null {
  const match = /^(postgres(?:ql)?):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(text);
  if (match === null) return null;
  const authority = match[2] ?? "";
  // The last one: an @ that somebody left unescaped belongs to the password, host names have none.
  const at = authority.lastIndexOf("@");
  return {
    scheme: match[1] ?? "",
    userInfo: at < 0 ? null : authority.slice(0, at),
    hosts: authority.slice(at + 1),
    path: match[3] ?? "",
    query: match[4] ?? "",
  };
}

/** Adds to `problems` what is wrong; the target is of use only if there is nothing. */
function parse(parts: UrlParts, problems: string[]): DatabaseTarget {
  const [user, password] = parseUser(parts.userInfo ?? "", problems);
  const query = parseQuery(parts.query, problems);
  const sslRootCert = query.get("sslrootcert") ?? null;
  return {
    hosts: query.has("host") ? hostsOfQuery(query, problems) : hostsOfAuthority(parts.hosts, query.get("port") ?? "", problems),
    user: query.get("user") ?? user,
    password: query.get("password") ?? password,
    database: query.get("dbname") ?? (decode(parts.path.slice(1), problems) || null),
    sslMode: sslMode(query.get("sslmode"), sslRootCert, problems),
    sslRootCert,
    sslCert: query.get("sslcert") ?? null,
    sslKey: query.get("sslkey") ?? null,
    connectTimeoutMs: connectTimeout(query.get("connect_timeout"), problems),
    session: word("target_session_attrs", query.get("target_session_attrs"), SESSION_KINDS, "any", problems),
    startup: Object.fromEntries([["application_name", "edgeproxy"], ...[...query].filter(([name]) => STARTUP.includes(name))]),
    ignored: [...query.keys()].filter((name) => ![...STARTUP, ...LIBPQ_ONLY, ...UNDERSTOOD].includes(name)),
  };
}

function parseUser(userInfo: string, problems: string[]): [user: string | null, password: string | null] {
  const colon = userInfo.indexOf(":");
  if (colon < 0) return [decode(userInfo, problems) || null, null];
  return [decode(userInfo.slice(0, colon), problems) || null, decode(userInfo.slice(colon + 1), problems) || null];
}

/** Empty values count as absent, as in libpq. */
function parseQuery(query: string, problems: string[]): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split("&")) {
    const equals = pair.indexOf("=");
    if (equals < 1 || equals === pair.length - 1) continue;
    parameters.set(decode(pair.slice(0, equals), problems), decode(pair.slice(equals + 1), problems));
  }
  return parameters;
}

function hostsOfAuthority(hosts: string, fallbackPort: string, problems: string[]): DatabaseHost[] {
  return hosts.split(",").map((text) => {
    const match = /^(\[[0-9a-f:.]+\]|[^:[\]]*)(?::(\d*))?$/i.exec(text);
    if (match === null) problems.push("must name its hosts as host:port, with IPv6 addresses in brackets");
    const host = match?.[1] ?? "";
    const name = host.startsWith("[") ? host.slice(1, -1) : decode(host, problems);
    return databaseHost(name, (match?.[2] ?? "") || fallbackPort, problems);
  });
}

/** `host=a,b&port=1,2`, or one port for all; the way to name a Unix socket. */
function hostsOfQuery(query: ReadonlyMap<string, string>, problems: string[]): DatabaseHost[] {
  const hosts = (query.get("host") ?? "").split(",");
  const ports = (query.get("port") ?? "").split(",");
  return hosts.map((host, index) => databaseHost(host, (ports.length === 1 ? ports[0] : ports[index]) ?? "", problems));
}

function databaseHost(host: string, port: string, problems: string[]): DatabaseHost {
  const number = port === "" ? DEFAULT_PORT : Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) problems.push("must have ports from 1 to 65535");
  return { host: host === "" ? "localhost" : host, port: number };
}

/** A given root certificate is there to be checked against, as in libpq. */
function sslMode(text: string | undefined, sslRootCert: string | null, problems: string[]): SslMode {
  const mode = word("sslmode", text, SSL_MODES, "prefer", problems);
  if (sslRootCert === "system") return "verify-full";
  return mode === "require" && sslRootCert !== null ? "verify-ca" : mode;
}

/** Seconds; 0 and absent mean our default, because a refresh must not hang. */
function connectTimeout(text: string | undefined, problems: string[]): number {
  if (text === undefined) return DEFAULT_CONNECT_TIMEOUT_MS;
  if (!/^\d{1,4}$/.test(text)) problems.push("must have a connect_timeout in whole seconds");
  return Number(text) * 1000 || DEFAULT_CONNECT_TIMEOUT_MS;
}

function word<Word extends string>(
  name: string,
  text: string | undefined,
  words: readonly Word[],
  fallback: Word,
  problems: string[],
): Word {
  const known = text === undefined ? fallback : words.find((candidate) => candidate === text);
  if (known === undefined) problems.push(`must have a ${name} of ${words.join(", ")}`);
  return known ?? fallback;
}

function decode(text: string, problems: string[]): string {
  try {
    return decodeURIComponent(text);
  } catch {
    problems.push("must have its special characters percent-encoded, a percent sign as %25");
    return text;
  }
}
