/*  The typed messages between the planes, plain JSON each. In one process they are delivered at once; over IPC they are sent as
 *  they are, so there is one code path.
 *
 *  control  -- settings, listen, in-charge, routes, policies, health, heard, collect, standing, ask, drain -------------------------->  worker
 *  control  <-- listening, failed-to-start, taken, policies-taken, resync, judged, stats, failed, wanted, contradicted, seen, answer,
 *               leaving, drained --
 *
 *  A delta of routes may come in many batches; each is answered by `taken`, and only a few are on the way at a time, so that
 *  neither a slow worker nor a large table fills memory. A worker answers the batches of a large delta in later turns of its event
 *  loop, so in one process, too, a large table is handed over slice by slice. A delta names the revision that it applies to; a
 *  worker that has another says `resync` and is sent the whole table. Verdicts (`health`, answered by `judged`) have a credit of their
 *  own, so that they never wait for routes. Policies go before the routes of the same moment: no request is to find a route that its
 *  policy has not reached.
 */
import type { ExplainQuestion, Explanation } from "../observation/explanation.ts";
import type { ExchangeReport } from "../observation/exchange-report.ts";
import type { HostReport } from "../observation/host-figures.ts";
import type { EndpointTurn } from "../observation/event-log.ts";
import type { ConnectionList, ConnectionWish } from "../observation/client-connection.ts";
import type { Cordon } from "../observation/cordon.ts";
import type { LogLevel } from "../observation/log.ts";
import type { MetricsSnapshot } from "../observation/metrics.ts";
import type { PolicedReport } from "../observation/policed-figures.ts";
import type { TracedExchange } from "../observation/tracing.ts";
import type { BlameCounts } from "../observation/proxy-error.ts";
import type { WorkerFigures } from "../observation/worker-status.ts";
import type { BreakerView } from "../upstream/breaker-view.ts";
import type { PolicyOrder } from "../table/policy-order.ts";
import type { EndpointUse } from "../upstream/endpoint-state.ts";
import type { Verdict } from "../upstream/endpoint-findings.ts";
import type { ErrorPageFiles } from "./error-page-folder.ts";
import type { PolicyBatch } from "./policy-transfer.ts";
import type { RouteBatch } from "./route-batch.ts";
import type { Settings } from "./settings.ts";

/** What a worker needs to know; the database, the routes file and the admin address are none of its business. `secret` is never empty. */
export type WorkerSettings = Omit<Settings, "databaseUrl" | "configFile" | "adminAddr" | "adminToken" | CollectorSetting> & {
  /** Absent: no. */
  readonly exportsSpans?: boolean;
};
/** Where spans go, and with what secrets. */
type CollectorSetting = "otlpEndpoint" | "otlpTracesEndpoint" | "otlpHeaders";

/** What operators have decided and every worker obeys, besides the settings. */
export interface StandingOrders {
  /** null: as the settings say. */
  readonly logLevel: LogLevel | null;
  /** Endpoints that get no new requests, each until a moment since 1970. */
  readonly cordoned: readonly Pick<Cordon, "key" | "untilAtMs">[];
  /** Of routes and services. */
  readonly policies: readonly PolicyOrder[];
  /** `revision` counts the readings of their folder; 0 = only our own. */
  readonly errorPages: { readonly revision: number; readonly files: ErrorPageFiles };
}

export const NO_ORDERS: StandingOrders = { logLevel: null, cordoned: [], policies: [], errorPages: { revision: 0, files: {} } };

/** Exchanges that ended badly, and those that are traced. */
export interface Seen {
  readonly errors: readonly ExchangeReport[];
  readonly traced: readonly TracedExchange[];
  /** What did not fit. */
  readonly errorsLost: Readonly<BlameCounts>;
  readonly spansLost: number;
}

/** What an operator wants to know of a worker; each kind has its answer. */
export type Question =
  /** Whether it has heard all that it was told before. */
  | { readonly kind: "nothing" }
  | { readonly kind: "explain"; readonly question: ExplainQuestion }
  /** null: those with attempts under way. */
  | { readonly kind: "endpoints"; readonly keys: readonly string[] | null }
  | { readonly kind: "breakers" }
  | { readonly kind: "reset-breaker"; readonly name: string }
  | { readonly kind: "connections"; readonly wish: ConnectionWish };
export type Answer =
  | { readonly kind: "nothing" }
  | { readonly kind: "explain"; readonly explanation: Explanation }
  | { readonly kind: "endpoints"; readonly uses: readonly EndpointUse[] }
  | { readonly kind: "breakers"; readonly breakers: readonly BreakerView[] }
  | { readonly kind: "reset-breaker"; readonly found: boolean }
  | { readonly kind: "connections"; readonly list: ConnectionList };

/** Control to worker. */
export type DownMessage =
  /**
   * First of all, to a worker process. `worker`: its number, from 1. `descriptors`: the listening sockets that it has inherited. `cells`:
   * the memory file, inherited as well. `beside`: another generation accepts from the sockets, too, until `in-charge`.
   */
  | {
    readonly type: "settings";
    readonly worker: number;
    readonly settings: WorkerSettings;
    readonly descriptors: readonly number[];
    readonly cells?: number | null;
    readonly beside: boolean;
  }
  /**
   * Accept from exactly these of the inherited sockets, by their place in `descriptors`; where there are none, from a socket of its own.
   * The first one is answered by `listening` or `failed-to-start`.
   */
  | { readonly type: "listen"; readonly sockets: readonly number[] }
  /** The generation before is told to drain. */
  | { readonly type: "in-charge" }
  /**
   * One batch of a delta. `base`: the revision that it applies to, 0 = replaces everything. `first` begins a delta anew, whatever
   * was under way; `last` puts `revision` into force.
   */
  | (RouteBatch & {
    readonly type: "routes";
    readonly revision: number;
    readonly base: number;
    readonly first: boolean;
    readonly last: boolean;
  })
  /** One batch of what changes in the policies; `base`, `first` and `last` as with routes. Answered by `policies-taken`. */
  | (PolicyBatch & {
    readonly type: "policies";
    readonly revision: number;
    readonly base: number;
    readonly first: boolean;
    readonly last: boolean;
  })
  /** Verdicts of probes by endpoint key; `unprobed` makes the worker forget and ask again at the next use. */
  | { readonly type: "health"; readonly verdicts: readonly Verdict[] }
  /** Answers `wanted` and `failed` at once: who probes is awake, a verdict will come. */
  | { readonly type: "heard"; readonly key: string }
  /** What operators have decided; whole each time, sent on every change and to every worker that starts. */
  | { readonly type: "standing"; readonly orders: StandingOrders }
  /** Answered by `answer` with the same serial. */
  | { readonly type: "ask"; readonly serial: number; readonly question: Question }
  /** Send `stats` now. */
  | { readonly type: "collect"; readonly serial: number }
  /** Begin nothing new, let work finish within `graceMs`. `succeeded`: others accept from the same sockets, leave their queues alone. */
  | { readonly type: "drain"; readonly graceMs: number; readonly succeeded: boolean };

/** Worker to control. */
export type UpMessage =
  | { readonly type: "listening"; readonly port: number; readonly sockets: string }
  /** The process ends after this. */
  | { readonly type: "failed-to-start"; readonly error: string }
  /** One `routes` message has been worked in; `revision` is the one in force now. */
  | { readonly type: "taken"; readonly revision: number }
  /** One `policies` message has been worked in; `revision` is the one in force now, null = it does not apply, a whole set is wanted. */
  | { readonly type: "policies-taken"; readonly revision: number | null }
  /** A delta does not apply to the `revision` in force. */
  | { readonly type: "resync"; readonly revision: number }
  /** One `health` message has been worked in. */
  | { readonly type: "judged" }
  /** Answers `collect`; comes by itself when a drain is over. `used`: keys of VM endpoints that had traffic since the last one. */
  | {
    readonly type: "stats";
    readonly serial: number;
    readonly metrics: MetricsSnapshot;
    readonly hosts: HostReport;
    readonly policed: PolicedReport;
    readonly process: WorkerFigures;
    readonly used: readonly string[];
  }
  /** What operators should see of the exchanges that have ended since the last one; soon, but never once per exchange. */
  | ({ readonly type: "seen" } & Seen)
  /** Answers `ask`. */
  | { readonly type: "answer"; readonly serial: number; readonly answer: Answer }
  /** Live traffic saw this endpoint refuse or break a connection: probe it now. */
  | { readonly type: "failed"; readonly key: string; readonly error: string }
  /** A request waits for the first verdict on this endpoint. */
  | { readonly type: "wanted"; readonly key: string }
  /** What live traffic has made of an endpoint under a policy. */
  | { readonly type: "turned"; readonly key: string; readonly turn: EndpointTurn; readonly reason: string }
  /** Another region's table says otherwise than ours: read the source, ours may be behind. */
  | { readonly type: "contradicted" }
  /** Somebody asked this worker to end (SIGTERM): replace it, then tell it to drain. */
  | { readonly type: "leaving"; readonly reason: string }
  /** The drain is over, the process ends after this. */
  | { readonly type: "drained"; readonly cut: number };

export type { WorkerFigures };

/** One end of the channel. */
export interface Channel<Out, In> {
  send(message: Out): void;
  /** Set once by the owner of this end, before the first message arrives. */
  onMessage: (message: In) => void;
}

/** Two ends in one process; messages are delivered at once, also those that answer one whose delivery is not over. */
export function inProcessChannel(): { control: Channel<DownMessage, UpMessage>; worker: Channel<UpMessage, DownMessage> } {
  const control: Channel<DownMessage, UpMessage> = {
    send: (message) => worker.onMessage(message),
    onMessage: () => {},
  };
  const worker: Channel<UpMessage, DownMessage> = {
    send: (message) => control.onMessage(message),
    onMessage: () => {},
  };
  return { control, worker };
}
