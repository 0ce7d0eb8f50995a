/** Counters of one data-plane process: plain numbers in typed arrays, so that a request costs a few additions. */
import { type Blame, BLAMES, ERROR_CODES, type ErrorCode } from "./proxy-error.ts";

/** Upper bounds of the duration histogram, in seconds; the last bucket is +Inf. */
export const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/**
 * How an exchange ended: `forwarded` (the endpoint's answer reached the client whole), `refused` (own answer),
 * `aborted` (the client went away, or was cut off), `truncated` (the endpoint's answer broke off), `tunnelled` (an upgrade, ended).
 */
export const OUTCOMES = ["forwarded", "refused", "aborted", "truncated", "tunnelled"] as const;
export type OutcomeKind = (typeof OUTCOMES)[number];

/**
 * Why a request was sent again, or was to be: the pooled connection turned out dead; a fresh probe of a VM that refused a connection
 * passed; without the endpoint that could not be reached; by the retry policy of its service, with the cause.
 */
export const RETRY_REASONS = [
  "stale_connection",
  "probe_passed",
  "other_endpoint",
  "connect",
  "reset",
  "timeout",
  "status",
] as const;
export type RetryReason = (typeof RETRY_REASONS)[number];

/** Why a retry policy did not have a request sent again; worst news for the client first. */
export const NO_RETRY_REASONS = ["answered", "cause", "unsafe", "body", "attempts", "time", "budget"] as const;
export type NoRetryReason = (typeof NO_RETRY_REASONS)[number];

/** How waiting for a place at an endpoint has ended: there was one; it took too long; the client left. `full`: too many waited already. */
export const QUEUE_ENDS = ["served", "timeout", "left", "full"] as const;
export type QueueEnd = (typeof QUEUE_ENDS)[number];

/** Plain JSON; counters only grow, gauges are as of now. Adds up over workers. */
export interface MetricsSnapshot {
  /** requests[outcome index * 6 + status class (0 = none, 1..5)] */
  readonly requests: readonly number[];
  /** Own answers by code, in the order of ERROR_CODES. */
  readonly errors: readonly number[];
  /** badEnds[code index * number of blames + blame index]; whether an own answer told of it or not. */
  readonly badEnds: readonly number[];
  /** Without tunnels. Per bucket (not cumulative), one more than DURATION_BUCKETS. */
  readonly durationBuckets: readonly number[];
  readonly durationSumSeconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly connectionsAccepted: number;
  readonly connectionsShed: number;
  readonly connectionsOpen: number;
  readonly upstreamConnects: number;
  readonly upstreamConnectFailures: number;
  readonly upstreamReuses: number;
  /** In the order of RETRY_REASONS. */
  readonly upstreamRetries: readonly number[];
  /** In the order of NO_RETRY_REASONS. */
  readonly retriesRefused: readonly number[];
  readonly ejections: number;
  readonly breakersOpened: number;
  /** In the order of QUEUE_ENDS. */
  readonly queueEnds: readonly number[];
  /** As durationBuckets, of those that have waited. */
  readonly queueWaitBuckets: readonly number[];
  readonly queueWaitSumSeconds: number;
  /** Exchanges that wait for a place at an endpoint. */
  readonly exchangesQueued: number;
  readonly upstreamOpen: number;
  readonly upstreamIdle: number;
  /** Being opened: an exchange waits for each. */
  readonly upstreamConnecting: number;
  readonly upstreamLimit: number;
  readonly connectionsLimit: number;
  readonly exchangesActive: number;
  readonly tunnelsActive: number;
  /** For the verdict of a probe, or for another table. */
  readonly exchangesWaiting: number;
  /** Of the process's log, since nobody read it in time. */
  readonly logLinesDropped: number;
  readonly revision: number;
  readonly routes: number;
}

/** The live counters; one instance per worker, written by the data plane. */
export class Metrics {
  readonly requests: Float64Array = new Float64Array(OUTCOMES.length * 6);
  readonly errors: Float64Array = new Float64Array(ERROR_CODES.length);
  readonly badEnds: Float64Array = new Float64Array(ERROR_CODES.length * BLAMES.length);
  readonly durationBuckets: Float64Array = new Float64Array(DURATION_BUCKETS.length + 1);
  durationSumSeconds = 0;
  bytesIn = 0;
  bytesOut = 0;
  connectionsAccepted = 0;
  connectionsShed = 0;
  connectionsOpen = 0;
  upstreamConnects = 0;
  upstreamConnectFailures = 0;
  upstreamReuses = 0;
  readonly upstreamRetries: Float64Array = new Float64Array(RETRY_REASONS.length);
  readonly retriesRefused: Float64Array = new Float64Array(NO_RETRY_REASONS.length);
  ejections = 0;
  breakersOpened = 0;
  readonly queueEnds: Float64Array = new Float64Array(QUEUE_ENDS.length);
  readonly queueWaitBuckets: Float64Array = new Float64Array(DURATION_BUCKETS.length + 1);
  queueWaitSumSeconds = 0;
  exchangesQueued = 0;
  upstreamOpen = 0;
  upstreamIdle = 0;
  upstreamConnecting = 0;
  upstreamLimit = 0;
  connectionsLimit = 0;
  exchangesActive = 0;
  tunnelsActive = 0;
  exchangesWaiting = 0;
  logLinesDropped = 0;
  revision = 0;
  routes = 0;

  /**
   * `status` 0 when no head was sent; endpoints may send up to 999, which count as 5xx (RFC 9110, 15). Answers the bucket of the duration;
   * -1 for a tunnel, which says nothing of anybody's speed.
   */
  recordExchange(outcome: OutcomeKind, status: number, durationSeconds: number): number {
    const row = OUTCOMES.indexOf(outcome) * 6 + Math.min(Math.floor(status / 100), 5);
    this.requests[row] = (this.requests[row] ?? 0) + 1;
    if (outcome === "tunnelled") return -1;
    const bucket = bucketOf(durationSeconds);
    this.durationBuckets[bucket] = (this.durationBuckets[bucket] ?? 0) + 1;
    this.durationSumSeconds += durationSeconds;
    return bucket;
  }

  recordRetry(reason: RetryReason): void {
    this.upstreamRetries[RETRY_REASONS.indexOf(reason)]!++;
  }

  recordNoRetry(reason: NoRetryReason): void {
    this.retriesRefused[NO_RETRY_REASONS.indexOf(reason)]!++;
  }

  recordQueueEnd(end: QueueEnd, waitedSeconds: number): void {
    this.queueEnds[QUEUE_ENDS.indexOf(end)]!++;
    if (end === "full") return;
    this.queueWaitBuckets[bucketOf(waitedSeconds)]!++;
    this.queueWaitSumSeconds += waitedSeconds;
  }

  recordBadEnd(code: ErrorCode, blame: Blame): void {
    const index = ERROR_CODES.indexOf(code) * BLAMES.length + BLAMES.indexOf(blame);
    this.badEnds[index] = (this.badEnds[index] ?? 0) + 1;
  }

  recordError(code: ErrorCode): void {
    const index = ERROR_CODES.indexOf(code);
    this.errors[index] = (this.errors[index] ?? 0) + 1;
  }

  snapshot(): MetricsSnapshot {
    return {
      ...this,
      requests: [...this.requests],
      errors: [...this.errors],
      badEnds: [...this.badEnds],
      durationBuckets: [...this.durationBuckets],
      upstreamRetries: [...this.upstreamRetries],
      retriesRefused: [...this.retriesRefused],
      queueEnds: [...this.queueEnds],
      queueWaitBuckets: [...this.queueWaitBuckets],
    };
  }
}

/** Known whole by every worker: of several the largest, instead of their sum. */
const SHARED = ["revision", "routes"] as const satisfies readonly (keyof MetricsSnapshot)[];
/** As of now: gone with the worker. */
const GAUGES = [
  "connectionsOpen",
  "connectionsLimit",
  "upstreamOpen",
  "upstreamIdle",
  "upstreamConnecting",
  "upstreamLimit",
  "exchangesActive",
  "tunnelsActive",
  "exchangesWaiting",
  "exchangesQueued",
  ...SHARED,
] as const;

/** Of several workers as if they were one. */
export function sumSnapshots(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  const total: Record<string, number | readonly number[]> = { ...new Metrics().snapshot() };
  for (const snapshot of snapshots) {
    for (const [name, value] of Object.entries(snapshot)) total[name] = added(total[name] ?? 0, value);
  }
  for (const name of SHARED) total[name] = Math.max(0, ...snapshots.map((snapshot) => snapshot[name]));
  return total as unknown as MetricsSnapshot; // each name of a snapshot, with the kind of value that it has there
}

/** What stays of a worker that is gone: its counters, so that no sum ever goes down. */
export function retire(snapshot: MetricsSnapshot): MetricsSnapshot {
  return { ...snapshot, ...Object.fromEntries(GAUGES.map((name) => [name, 0])) };
}

function added(one: number | readonly number[], other: number | readonly number[]): number | readonly number[] {
  if (typeof one === "number") return one + Number(other);
  return one.map((count, index) => count + ((other as readonly number[])[index] ?? 0));
}

export function bucketOf(seconds: number): number {
  let index = 0;
  while (index < DURATION_BUCKETS.length && seconds > DURATION_BUCKETS[index]!) index++;
  return index;
}
