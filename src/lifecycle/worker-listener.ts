/** What clients of a worker meet: its listener, the app behind that, and connections to endpoints, within what files allow. */
import type { Surroundings } from "../decision/surroundings.ts";
import type { Exchange } from "../downstream/exchange.ts";
import { honoDispatch } from "../downstream/hono-request.ts";
import { DownstreamListener } from "../downstream/listener.ts";
import { createEdge } from "../edge.ts";
import type { ForwardingIdentity } from "../forwarding/request-fields.ts";
import type { Log } from "../observation/log.ts";
import type { Metrics } from "../observation/metrics.ts";
import type { TargetCounts } from "../observation/target-counts.ts";
import type { Tracing } from "../observation/tracing.ts";
import type { Sweep } from "../runtime/clock.ts";
import { fileLimit } from "../runtime/file-limit.ts";
import { ConnectionLimit } from "../upstream/connection-limit.ts";
import type { Endpoints } from "../upstream/endpoint-state.ts";
import type { PlaceQueues } from "../upstream/place-queue.ts";
import { Pool } from "../upstream/pool.ts";
import type { RetryBudgets } from "../upstream/retry-budget.ts";
import { MAX_FIELDS, MAX_TARGET_BYTES } from "../wire/h1/message-head.ts";
import type { Balancing } from "./balancing.ts";
import type { WorkerSettings } from "./worker-channel.ts";
import { shareFiles } from "./worker-resources.ts";

export interface WorkerListenerParts {
  readonly settings: WorkerSettings;
  readonly log: Log;
  readonly sweep: Sweep;
  readonly metrics: Metrics;
  readonly targets: TargetCounts;
  readonly tracing: Tracing | null;
  readonly identity: ForwardingIdentity;
  readonly surroundings: Surroundings;
  readonly endpoints: Endpoints;
  readonly queues: PlaceQueues;
  readonly budgets: RetryBudgets;
  readonly balancing: Pick<Balancing, "stickyField">;
  /** Our table contradicts another region's. */
  contradicted(): void;
  exchangeEnded(exchange: Exchange): void;
}

/** What a verdict may take besides its probe: the way to the control plane and back, and other probes before it. */
const VERDICT_DELAY_MS = 1000;

/** Sets in the metrics how many connections there may be. */
export function workerListener(parts: WorkerListenerParts): DownstreamListener {
  const { settings, log, sweep, metrics, tracing, identity, exchangeEnded } = parts;
  const files = shareFiles(fileLimit(), settings.maxConnections);
  metrics.connectionsLimit = files.downstream;
  metrics.upstreamLimit = files.upstream;
  const edge = edgeOf(parts, new ConnectionLimit(files.upstream));
  return new DownstreamListener({
    ...settings,
    host: settings.httpAddr.host,
    port: settings.httpAddr.port,
    reusePort: settings.workers > 0,
    maxConnections: files.downstream,
    isTrusted: identity.isTrusted,
    sweep,
    metrics,
    tracing,
    log,
    dispatch: honoDispatch(edge, (error) => log.error("handler failed", { code: "internal", blame: "edge", error })),
    exchangeEnded,
  });
}

function edgeOf(parts: WorkerListenerParts, connections: ConnectionLimit): ReturnType<typeof createEdge> {
  const { settings, log, sweep, metrics, targets, identity, surroundings, endpoints, queues, budgets } = parts;
  const { balancing, contradicted } = parts;
  const limits = { maxHeadBytes: settings.maxHeaderBytes, maxFields: MAX_FIELDS, maxTargetBytes: MAX_TARGET_BYTES };
  return createEdge({
    pool: new Pool({ limits, sweep, metrics, connections }, settings.connectTimeoutMs),
    sweep,
    metrics,
    targets,
    log,
    identity,
    responseTimeoutMs: settings.responseTimeoutMs,
    verdictTimeoutMs: settings.healthTimeoutMs + settings.connectTimeoutMs + VERDICT_DELAY_MS,
    stickyField: (matched, endpoint, secure) => balancing.stickyField(matched, endpoint, secure),
    contradicted,
    endpoints,
    queues,
    budgets,
    surroundings,
  });
}
