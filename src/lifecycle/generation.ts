/** One generation of the proxy, as its admin address sees it: its workers, and what operators can have it do. */
import type { AdminDeps } from "../admin/deps.ts";
import { type MetricsSnapshot, sumSnapshots } from "../observation/metrics.ts";
import type { TrafficHistory } from "../observation/traffic-history.ts";
import type { Restarts } from "../observation/worker-status.ts";
import type { Whom, WorkerAnswer } from "./asking.ts";
import type { Cordons } from "./cordons.ts";
import type { LogLevelOrder } from "./log-level-order.ts";
import type { PolicyOrders } from "./policy-orders.ts";
import type { SpanFigures } from "./trace-exporter.ts";
import type { Question } from "./worker-channel.ts";

export interface Generation
  extends Pick<AdminDeps, "collect" | "workers" | "drain" | "predecessors" | "refreshNow" | "events" | "closing" | "beginDrain"> {
  restarts(): Restarts;
  /** Reads the routes now; resolves when what was read is in force. */
  refreshNow(reason: string): Promise<void>;
  readonly traffic: TrafficHistory;
  readonly cordons: Cordons;
  readonly policyOrders: PolicyOrders;
  /** What the workers that serve answer, or one of them. */
  ask<Kind extends Question["kind"]>(question: Extract<Question, { kind: Kind }>, whom?: Whom): Promise<WorkerAnswer<Kind>[]>;
  readonly logLevel: LogLevelOrder;
  /** null where none are exported. */
  spans(): SpanFigures | null;
  /** The counters of workers that are gone. */
  retired(): MetricsSnapshot;
}

/** Over the workers that there are and those that were. */
export function totalOf(generation: Pick<Generation, "workers" | "retired">): MetricsSnapshot {
  const snapshots = generation.workers().flatMap(({ metrics }) => metrics === null ? [] : [metrics]);
  return sumSnapshots([generation.retired(), ...snapshots]);
}
