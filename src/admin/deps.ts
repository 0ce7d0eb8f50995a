/** What the admin app is given: plain functions, so that it knows nothing of processes or workers. */
import type { ConnectionList, ConnectionWish } from "../observation/client-connection.ts";
import type { DrainStatus, WorkLeft } from "../observation/drain-status.ts";
import type { ExplainQuestion, Explanation } from "../observation/explanation.ts";
import type { EventLog } from "../observation/event-log.ts";
import type { Figures } from "../observation/exposition.ts";
import type { HostTraffic } from "../observation/host-traffic.ts";
import type { Log, LogLevel } from "../observation/log.ts";
import type { TrafficHistory } from "../observation/traffic-history.ts";
import type { WorkerStatus } from "../observation/worker-status.ts";
import type { LastGoodFigures } from "../sources/last-good.ts";
import type { RefreshStatus } from "../sources/refresh-status.ts";
import type { RevisionHistory } from "../sources/revision-history.ts";
import type { PinAnswer } from "../sources/served-table.ts";
import type { Exclusion } from "../sources/source.ts";
import type { PolicyFindings } from "../table/policy-findings.ts";
import type { Routes } from "../table/routes.ts";
import type { EndpointHealth } from "../upstream/endpoint-findings.ts";
import type { PolicyStatus } from "../sources/policy-status.ts";
import type { BreakerDeps, CordonDeps, EndpointDeps, PolicyOrderDeps } from "./endpoint-deps.ts";

/** A generation that has handed over to this one and still drains. */
export interface Predecessor {
  readonly pid: number;
  readonly version: string;
  /** When it handed over. */
  readonly sinceAtMs: number;
  /** As it last reported; null: it has not. */
  readonly left: WorkLeft | null;
}

/** A setting as operators see it. */
export interface SettingDescription {
  readonly variable: string;
  /** As one would write it; secrets masked. */
  readonly value: string;
  /** Empty: there is none. */
  readonly default: string;
  readonly meaning: string;
  readonly masked: boolean;
}

export interface LogLevelStatus {
  readonly level: LogLevel;
  readonly configured: LogLevel;
  /** When it is as configured again; null while it is. */
  readonly untilAtMs: number | null;
}

export interface AdminDeps {
  /** Bearer token; empty when none is configured (then the address is loopback). */
  readonly token: string;
  readonly version: string;
  /** UUID of this region. */
  readonly regionId: string;
  /** How often the table is refreshed. */
  readonly updateIntervalMs: number;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly events: EventLog;
  /** Aborted when the admin address closes: whoever waits for something is to wait no longer. */
  readonly closing: AbortSignal;
  readonly settings: () => readonly SettingDescription[];
  readonly logLevel: () => LogLevelStatus;
  /** Of all processes. */
  readonly setLogLevel: (level: LogLevel, forMs: number) => void;
  readonly resetLogLevel: () => void;
  /** Begins the end of this generation, as SIGTERM does. */
  readonly beginDrain: (reason: string) => void;
  /** Asks every worker for its figures as of now; resolves when they are here, or when it is not worth waiting any longer. */
  readonly collect: () => Promise<unknown>;
  /** How far the shutdown is; null while none is under way. */
  readonly drain: () => DrainStatus | null;
  readonly predecessors: () => readonly Predecessor[];
  /** All there are, also those that drain and those that are being replaced. */
  readonly workers: () => readonly WorkerStatus[];
  readonly refreshStatus: () => RefreshStatus;
  /** Of the table on disk; null where none is kept. */
  readonly lastGood: () => LastGoodFigures | null;
  /** Of the routes file and the domains; those in force. */
  readonly policies: () => PolicyStatus;
  /** What of them an operator should know. */
  readonly policyFindings: () => PolicyFindings;
  /** Of targets of routes, as of hosts; see target-figures. */
  readonly targets: Pick<HostTraffic, "list" | "lastMinuteSeconds">;
  /** Runs one refresh that begins after this call; resolves when it has ended, well or not. */
  readonly refreshNow: (reason: string) => Promise<void>;
  /** What stays of a table of policies that cannot be read goes with the next refresh. */
  readonly letPoliciesGo: () => void;
  /** Served now. */
  readonly routes: () => Routes;
  /** What the routes leave out; the first of them. */
  readonly excluded: () => readonly Exclusion[];
  readonly history: () => Pick<RevisionHistory, "list" | "find" | "changedHosts">;
  /** Both resolve when what they have changed is in force. */
  readonly pin: (revision: number, forMs: number) => Promise<PinAnswer>;
  readonly unpin: () => Promise<unknown>;
  /** The watched endpoints. */
  readonly endpointHealth: () => readonly EndpointHealth[];
  /** How many of them have which, without a list of them. */
  readonly verdicts: () => Readonly<Record<EndpointHealth["verdict"], number>>;
  readonly endpoints: EndpointDeps;
  readonly breakers: BreakerDeps;
  readonly cordons: CordonDeps;
  /** Of routes and services. */
  readonly policyOrders: PolicyOrderDeps;
  /** What each worker lists of its clients' connections. */
  readonly connections: (wish: ConnectionWish) => Promise<readonly { readonly worker: number; readonly list: ConnectionList }[]>;
  /** Of the busiest hosts. */
  readonly hosts: Pick<HostTraffic, "list" | "find" | "lastMinuteSeconds">;
  readonly traffic: Pick<TrafficHistory, "points" | "latest">;
  /** Keys of endpoints that an operator has cordoned. */
  readonly cordoned: () => readonly string[];
  /** What a worker says of a request: this one, or the first that serves; null: there is none, or it does not answer. */
  readonly explain: (
    question: ExplainQuestion,
    worker: number | undefined,
  ) => Promise<{ readonly worker: number; readonly explanation: Explanation } | null>;
  /** Everything a scrape shows. */
  readonly figures: () => Promise<Figures>;
}
