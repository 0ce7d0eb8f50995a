/*  What routes and services can say beyond a host and its VMs, as records: validated, every default filled in, plain JSON, so that they
 *  can cross processes. They come from the routes file (contract, section 12) and from the table `route_policies`; the parsing of both
 *  is in `sources/`. The names here are those of the file; durations are in ms, sizes in bytes.
 *
 *  One set of policies holds the file's services and routes, and of each domain with a policy of its own one `DomainPolicy`.
 */
import type { EndpointRecord } from "./record.ts";

// ---- what is compared

/** How a value of a request is compared. */
export type Matcher =
  | { readonly kind: "equal"; readonly value: string }
  | { readonly kind: "prefix"; readonly value: string }
  /** A pattern in RE2's syntax, which takes linear time; it may match anywhere unless it is anchored. */
  | { readonly kind: "pattern"; readonly pattern: string }
  | { readonly kind: "present" };

/** `name`: of a field lower-case, of a cookie or query parameter as it is spelled. */
export interface NamedMatcher {
  readonly name: string;
  readonly matcher: Matcher;
}

/** `prefix` ends where a segment ends: `/api` matches `/api` and `/api/x`, not `/apix`. `/` matches everything. Never ends in `/` otherwise. */
export interface PathMatch {
  readonly kind: "prefix" | "exact";
  readonly value: string;
}

export interface RouteMatch {
  readonly path: PathMatch;
  /** Empty: any. */
  readonly methods: readonly string[];
  readonly headers: readonly NamedMatcher[];
  readonly cookies: readonly NamedMatcher[];
  readonly query: readonly NamedMatcher[];
  /** Sandbox routing: only requests that carry this key, as far as it is believed. */
  readonly routeKey: string | null;
  /** Instead: of keys like that. */
  readonly routeKeyLike?: Matcher;
}

/** Whether it is for requests with a route key only. */
export function wantsRouteKey({ routeKey, routeKeyLike }: RouteMatch): boolean {
  return routeKey !== null || routeKeyLike !== undefined;
}

/** What of a request is hashed, counted by, or stuck to. `client-ip`: an IPv6 address counts with its /64. */
export type KeySource =
  | { readonly kind: "client-ip" | "path" | "route-key" }
  /** `header`: lower-case. */
  | { readonly kind: "header" | "cookie"; readonly name: string };

// ---- services

export type BalanceKind = "round-robin" | "weighted" | "least-connections" | "ip-hash" | "consistent-hash" | "p2c";

export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

/** Active checks. `type` `none`: always available. */
export interface HealthPolicy {
  readonly type: "http" | "tcp" | "none";
  readonly path: string;
  readonly method: string;
  /** Statuses that are healthy. */
  readonly status: readonly StatusRange[];
  /** As written, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Results in a row until it counts. */
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
  /** After a recovery the share of requests grows from little to all over so long; 0 = at once. */
  readonly slowStartMs: number;
}

/** Passive ejection: `errors` within `windowMs` put an endpoint out for `timeMs`, doubled each time it happens again. */
export interface EjectionPolicy {
  readonly errors: number;
  readonly windowMs: number;
  readonly timeMs: number;
  /** 0 to 1: never more than this share of the endpoints. */
  readonly maxShare: number;
}

export type RetryCause = "connect" | "reset" | "timeout";

export interface RetryPolicy {
  /** All together, the first included; 1 = no retry. */
  readonly attempts: number;
  readonly on: readonly RetryCause[];
  /** Answers that are worth another attempt. */
  readonly statuses: readonly StatusRange[];
  /** Of a service: retries as a share of its requests, 0 to 1. */
  readonly budget: number;
  /** Before the second attempt; doubles, with jitter. */
  readonly backoffMs: number;
  /** Of bodies that are kept to be sent again. */
  readonly maxBodyBytes: number;
  /** For all attempts together; 0 = no limit but the timeouts. */
  readonly totalMs: number;
}

export interface BreakerPolicy {
  /** In a row; 0 = not by this. */
  readonly failures: number;
  /** 0 to 1, of at least `minRequests` within `windowMs`; 0 = not by this. */
  readonly failureRate: number;
  readonly minRequests: number;
  readonly windowMs: number;
  readonly openForMs: number;
  /** Trials that may be under way at a time while it is half-open; that many successes close it. */
  readonly halfOpenRequests: number;
  /** `endpoint`: each has its own. `service`: one for all. */
  readonly scope: "endpoint" | "service";
  /** While it is open: refuse, try another endpoint, or answer with `fallback`. */
  readonly strategy: "fail-fast" | "retry-elsewhere" | "fallback";
  readonly fallback: FixedResponse | null;
}

/** Requests under way per endpoint. 0 = no limit. */
export interface ConcurrencyPolicy {
  /** Above it, others are preferred. */
  readonly soft: number;
  /** Never more. */
  readonly hard: number;
  /** Requests that may wait for a place. */
  readonly queue: number;
  readonly queueTimeoutMs: number;
}

/** null: as the settings say. */
export interface TimeoutPolicy {
  readonly connectMs: number | null;
  readonly responseMs: number | null;
  readonly idleMs: number | null;
}

export interface TlsPolicy {
  readonly verify: boolean;
  /** null: the endpoint's host, see `tlsPeer`. */
  readonly serverName: string | null;
  /** Contents, PEM; null: the system's. */
  readonly ca: string | null;
}

/** Out of use by and by: from `startAtMs` (since 1970) on, the share of requests falls from all to none over `overMs`. */
export interface DrainPolicy {
  readonly startAtMs: number;
  readonly overMs: number;
}

/** null: that part is not asked for, or (health) as the settings say. */
export interface ServicePolicy {
  readonly balance: BalanceKind;
  readonly hashKey: KeySource;
  readonly sticky: { readonly cookie: string; readonly ttlMs: number } | null;
  readonly health: HealthPolicy | null;
  readonly ejection: EjectionPolicy | null;
  readonly retry: RetryPolicy | null;
  readonly breaker: BreakerPolicy | null;
  readonly limits: ConcurrencyPolicy | null;
  readonly timeouts: TimeoutPolicy;
  readonly tls: TlsPolicy | null;
  readonly maintenance: MaintenancePolicy | null;
  readonly drain: DrainPolicy | null;
}

/** Whom TLS has to find at an endpoint; null: no TLS. */
export function tlsPeer({ name }: EndpointRecord, policy: ServicePolicy | null): TlsPolicy | null {
  const tls = policy?.tls ?? null;
  return tls === null || tls.serverName !== null || name === undefined ? tls : { ...tls, serverName: name };
}

/** An endpoint under a policy: its own identity, `vm/10.0.0.5:8080@users`, so its own health, pool and breaker. */
export interface ServiceEndpoint extends EndpointRecord {
  /** Name of its service. */
  readonly service: string;
  /** 0 = no new requests; shares count by it. */
  readonly weight: number;
}

/** `endpoints` null: the VMs of the requested host, as the routing table says. */
export interface ServiceRecord {
  /** Of the file: as it is spelled there. Of a domain's policy: the domain, for its own VMs, or `domain/name`. */
  readonly name: string;
  readonly endpoints: readonly ServiceEndpoint[] | null;
  readonly policy: ServicePolicy;
}

// ---- routes

/** An answer of the proxy's own, as an operator has written it. Values may hold variables such as `{client_ip}`. */
export interface FixedResponse {
  readonly status: number;
  readonly body: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface SplitTarget {
  readonly service: string;
  /** In units of 0.01 %, of all targets together 10,000; 0 = nothing goes there. */
  readonly share: number;
}

export interface RewritePolicy {
  readonly stripPrefix: string | null;
  readonly addPrefix: string | null;
  /** With `stripPrefix`'s place taken by this. */
  readonly replacePrefix: string | null;
  /** RE2, on the path; `to` names groups as `$1`. */
  readonly pattern: string | null;
  readonly to: string | null;
  readonly query: {
    readonly set: readonly (readonly [name: string, value: string])[];
    readonly add: readonly (readonly [name: string, value: string])[];
    readonly remove: readonly string[];
  } | null;
}

/** `remove` lower-case; the others as written, in order. Values may hold variables. */
export interface FieldEdits {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export interface RedirectPolicy {
  /** Absolute URL or path, with variables; null: the requested URL with `scheme` and `host` replaced. */
  readonly to: string | null;
  readonly scheme: "http" | "https" | null;
  readonly host: string | null;
  readonly status: 301 | 302 | 307 | 308;
}

export interface RateLimitPolicy {
  readonly requests: number;
  readonly windowMs: number;
  /** Beyond `requests`, saved up from windows that were not used. */
  readonly burst: number;
  /** null: one count for the whole route. */
  readonly key: KeySource | null;
}

export interface MaintenancePolicy {
  readonly enabled: boolean;
  /** A service that answers instead; null: `answer`. */
  readonly service: string | null;
  readonly answer: FixedResponse;
}

/** What is answered instead of the proxy's own refusal with that code. */
export interface ErrorAnswer {
  /** Codes of `X-Edgeproxy-Error`. */
  readonly codes: readonly string[];
  /** null: the code's own. */
  readonly status: number | null;
  readonly json: string | null;
  readonly html: string | null;
  readonly text: string | null;
  /** A URL to redirect to (302 unless `status` says otherwise); null: none. */
  readonly redirect: string | null;
}

/** One route. What it leads to is one of `split` (one target = a plain service), `redirect` and `respond`. */
export interface PolicyRoute {
  /** Unique within its set. */
  readonly id: string;
  /** Where it was written, for people: `routes[2]`, `route_policies app.example.com`. */
  readonly origin: string;
  /** Normalised names and wildcards; empty: any host. */
  readonly hosts: readonly string[];
  readonly match: RouteMatch;
  readonly priority: number;
  readonly split: readonly SplitTarget[];
  readonly splitKey: KeySource | null;
  readonly redirect: RedirectPolicy | null;
  readonly respond: FixedResponse | null;
  readonly rewrite: RewritePolicy | null;
  readonly requestFields: FieldEdits;
  readonly responseFields: FieldEdits;
  readonly rateLimit: RateLimitPolicy | null;
  /** null: as the settings say. */
  readonly maxBodyBytes: number | null;
  readonly timeouts: TimeoutPolicy;
  readonly maintenance: MaintenancePolicy | null;
  readonly drain: DrainPolicy | null;
  readonly errors: readonly ErrorAnswer[];
}

export type RouteKeyCarrier = "header" | "baggage" | "tracestate" | "cookie" | "host";

export interface SandboxPolicy {
  /** Lower-case. */
  readonly routeKeyHeader: string;
  readonly carriers: readonly RouteKeyCarrier[];
  readonly trust: "trusted-proxies" | "anyone";
}

// ---- sets

/** What the routes file says, whole. */
export interface FilePolicies {
  readonly services: readonly ServiceRecord[];
  /** In the file's order. */
  readonly routes: readonly PolicyRoute[];
  readonly sandbox: SandboxPolicy;
}

/** What a row of `route_policies` says of one domain: its bare route, others below it, and services of their own. */
export interface DomainPolicy {
  /** Normalised. */
  readonly host: string;
  readonly services: readonly ServiceRecord[];
  /** `hosts` of each is `[host]`. */
  readonly routes: readonly PolicyRoute[];
}

/** The name by which routes lead to the VMs of their host. */
export const OWN_VMS = "vms";

export const DEFAULT_SANDBOX: SandboxPolicy = {
  routeKeyHeader: "x-route-key",
  carriers: ["header", "baggage", "tracestate", "cookie", "host"],
  trust: "trusted-proxies",
};
export const NO_FILE: FilePolicies = { services: [], routes: [], sandbox: DEFAULT_SANDBOX };

/** Nothing is asked for. */
export const PLAIN_SERVICE: ServicePolicy = {
  balance: "p2c",
  hashKey: { kind: "client-ip" },
  sticky: null,
  health: null,
  ejection: null,
  retry: null,
  breaker: null,
  limits: null,
  timeouts: { connectMs: null, responseMs: null, idleMs: null },
  tls: null,
  maintenance: null,
  drain: null,
};
