/** What the admin API answers, as far as the page shows it. */

export interface Page {
  readonly total: number;
  /** `after` of the next page. */
  readonly next: string | number | null;
}

export interface Alert {
  readonly severity: "critical" | "warning" | "info";
  /** Of the alert rule, and of its section in the runbook. */
  readonly name: string | null;
  readonly what: string;
  readonly since: string | null;
}

export interface Pin {
  readonly revision: number;
  readonly since: string;
  readonly until: string;
}

export interface Drain {
  readonly phase: string;
  readonly reason: string;
  readonly since: string;
  readonly deadline: string;
  readonly exchanges?: number;
  readonly tunnels?: number;
  readonly connections?: number;
}

export interface RecentTraffic {
  readonly "requests_per_second": number | null;
  readonly "errors_per_second": number | null;
  readonly "by_blame": Readonly<Record<string, number>>;
  readonly "p50_ms": number | null;
  readonly "p95_ms": number | null;
  readonly "p99_ms": number | null;
}

/** What policies do now. */
export interface PoliciesAtWork {
  readonly "breakers_open": number;
  readonly "breakers_half_open": number;
  readonly ejected: number;
  readonly queued: number;
  readonly maintained: number;
  readonly draining: number;
  readonly unusable: readonly string[];
  readonly "hidden_routes": number;
}

export interface Overview {
  readonly version: string;
  readonly region: string;
  readonly since: string;
  readonly routes: number;
  readonly revision: number;
  readonly "table_age_s": number | null;
  readonly database: {
    readonly state: "ok" | "away" | "unread" | "none";
    readonly problem: string | null;
    readonly following: string;
    readonly server: string | null;
  };
  readonly workers: { readonly up: number; readonly total: number };
  readonly endpoints: Readonly<Record<string, number>>;
  readonly cordons: number;
  readonly policies: PoliciesAtWork;
  readonly traffic: RecentTraffic;
  readonly connections: number;
  readonly tunnels: number;
  readonly drain: Drain | null;
  readonly pinned: Pin | null;
  readonly alerts: readonly Alert[];
}

export interface TrafficPoint {
  readonly time: string;
  readonly requests: number;
  readonly "by_class": Readonly<Record<string, number>>;
  readonly errors: number;
  readonly "by_blame": Readonly<Record<string, number>>;
  readonly "p50_ms": number | null;
  readonly "p95_ms": number | null;
  readonly "p99_ms": number | null;
  readonly "bytes_in": number;
  readonly "bytes_out": number;
  readonly connections: number;
  readonly tunnels: number;
}

export interface Traffic {
  readonly "step_ms": number;
  readonly points: readonly TrafficPoint[];
}

export interface RouteEndpoint {
  readonly kind: "vm" | "region";
  readonly address: string;
  readonly port: number;
  readonly region: string;
  readonly key?: string;
}

export interface Route {
  readonly host: string;
  readonly endpoints: readonly RouteEndpoint[];
}

export interface RoutesPage extends Page {
  readonly revision: number;
  readonly routes: readonly Route[];
}

export interface Exclusion {
  readonly domain: string;
  readonly host: string | null;
  readonly code: string;
  readonly reason: string;
}

export interface ExcludedPage extends Page {
  readonly counts: Readonly<Record<string, number>>;
  readonly excluded: readonly Exclusion[];
}

export interface HostTraffic {
  readonly host: string;
  readonly requests: number;
  readonly errors: number;
  readonly "requests_per_second": number;
  readonly "errors_per_second": number;
  readonly "mean_ms": number | null;
  readonly "p95_ms": number | null;
  readonly "bytes_in": number;
  readonly "bytes_out": number;
}

export interface HostsPage extends Page {
  readonly hosts: readonly HostTraffic[];
}

export interface Worker {
  readonly worker: number;
  readonly pid: number | null;
  readonly state: string;
  readonly since: string;
  readonly restarts: number;
  readonly connections: number | null;
  readonly exchanges: number | null;
  readonly tunnels: number | null;
  readonly requests: number | null;
  readonly "memory_bytes": number | null;
  readonly "stall_ms": number | null;
  readonly revision: number | null;
  readonly "revisions_behind": number | null;
}

export interface Region {
  readonly id: string;
  readonly "public_ipv4": string | null;
  readonly here: boolean;
}

export interface Revision {
  readonly revision: number;
  readonly time: string;
  readonly reason: string;
  readonly source: string;
  readonly routes: number;
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
  readonly current: boolean;
  readonly restorable: boolean;
}

export interface RevisionsPage extends Page {
  readonly revision: number;
  readonly pinned: Pin | null;
  readonly revisions: readonly Revision[];
}

export interface RouteChange {
  readonly host: string;
  readonly change: "added" | "removed" | "changed";
  readonly before: readonly RouteEndpoint[] | null;
  readonly after: readonly RouteEndpoint[] | null;
}

export interface RevisionDetails extends Revision {
  readonly changes: readonly RouteChange[] | null;
  readonly next: string | null;
}

export interface Cordon {
  readonly since: string;
  readonly until: string;
  readonly reason: string;
  readonly by: string;
}

export interface Endpoint {
  readonly key: string;
  readonly kind: "vm" | "region";
  readonly address: string;
  readonly port: number;
  readonly region: string;
  /** null: it is not watched: a VM out of use, or another region's edge. */
  readonly verdict: string | null;
  readonly since: string | null;
  readonly reason: string;
  readonly "latency_ms": number | null;
  readonly routes: number;
  readonly "in_flight": number;
  readonly "last_failure": { readonly time: string; readonly reason: string } | null;
  /** What of its policy keeps requests away. */
  readonly hindrance: string | null;
  /** Of its weight. */
  readonly share: number;
  readonly cordon: Cordon | null;
}

export interface EndpointsPage extends Page {
  readonly endpoints: readonly Endpoint[];
}

export interface Probe {
  readonly time: string;
  readonly healthy: boolean;
  readonly "latency_ms": number | null;
  readonly reason: string;
}

export interface EndpointDetails extends Endpoint {
  readonly probes: readonly Probe[];
  readonly changes: readonly { readonly time: string; readonly verdict: string; readonly reason: string }[];
  readonly hosts: readonly string[];
}

export interface Connection {
  readonly worker: number;
  /** Within its worker. */
  readonly id: number;
  readonly client: string;
  readonly since: string;
  readonly state: string;
  readonly requests: number;
  readonly "bytes_in": number;
  readonly "bytes_out": number;
  /** This and the following are empty while there is no request. */
  readonly host: string;
  readonly method: string;
  readonly target: string;
  readonly upstream: string;
  readonly "exchange_ms": number | null;
}

export interface ConnectionsPage extends Page {
  readonly connections: readonly Connection[];
}

export interface Setting {
  readonly variable: string;
  readonly value: string;
  readonly default: string;
  readonly meaning: string;
  readonly masked: boolean;
}

export interface LogLevel {
  readonly level: string;
  readonly configured: string;
  readonly until: string | null;
}

export interface Maintenance {
  readonly enabled: boolean;
  readonly service: string | null;
  readonly status: number;
  readonly body: string;
}

/** Of an operator, for a route or a service. */
export interface PolicyOrder {
  readonly kind: "route" | "service";
  readonly name: string;
  readonly maintenance: Maintenance | null;
  readonly drain: { readonly started: string; readonly "over_seconds": number; readonly share: number } | null;
  readonly since: string;
  readonly until: string | null;
  readonly reason: string;
  readonly by: string;
}

export interface Service {
  readonly name: string;
  /** null: of the routes file. */
  readonly domain: string | null;
  readonly balance: string;
  readonly endpoints: number;
  readonly healthy: number;
  readonly cordoned: number;
  readonly ejected: number;
  readonly "in_flight": number;
  readonly breaker: string | null;
  readonly maintenance: Maintenance | null;
  /** Of its clients that it takes. */
  readonly share: number;
  readonly order: PolicyOrder | null;
}

export interface ServicesPage extends Page {
  readonly services: readonly Service[];
}

export interface ServiceMember {
  readonly key: string;
  readonly region: string;
  readonly weight: number;
  readonly verdict: string | null;
  readonly reason: string;
  readonly "in_flight": number;
  readonly hindrance: string | null;
  readonly breaker: string | null;
  readonly cordon: Cordon | null;
}

export interface ServiceDetails extends Service {
  readonly routes: readonly string[];
  readonly members: readonly ServiceMember[];
  readonly policy: Readonly<Record<string, unknown>>;
}

export interface PolicyState {
  readonly revision: number;
  /** null: none is configured. */
  readonly file: {
    readonly path: string;
    readonly ok: boolean;
    readonly problems: readonly string[];
    readonly warnings: readonly string[];
    readonly loaded: string;
    readonly read: string;
    readonly "bad_since": string | null;
  } | null;
  readonly services: number;
  readonly routes: number;
  readonly domains: number;
  readonly excluded: number;
  /** Of the file: the database's come before. */
  readonly "hidden_routes": readonly { readonly id: string; readonly origin: string; readonly host: string }[];
  readonly "unusable_services": readonly { readonly name: string; readonly why: string }[];
}

/** A route of a policy by one of the services that it leads to. */
export interface PolicyTarget {
  readonly route: string;
  readonly service: string;
  /** null: there is no split. */
  readonly wanted: number | null;
  readonly share: number | null;
  readonly refused: Readonly<Record<string, number>>;
  readonly "requests_per_second": number;
  readonly "errors_per_second": number;
  readonly "refused_per_second": number;
  readonly "retries_per_second": number;
  readonly "mean_wait_ms": number | null;
  readonly "p95_ms": number | null;
}

export interface PolicyTrafficPage extends Page {
  readonly targets: readonly PolicyTarget[];
}

export interface PolicyRouteRow {
  readonly id: string;
  readonly domain: string | null;
  readonly origin: string;
  readonly hosts: readonly string[];
  readonly path: string;
  readonly priority: number;
  readonly "leads_to": string;
}

export interface PolicyRoutesPage extends Page {
  readonly routes: readonly PolicyRouteRow[];
}
