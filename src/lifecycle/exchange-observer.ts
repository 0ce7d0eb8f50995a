/** What a worker does when an exchange has ended: counts it, logs it, tells operators of it. The one place; on the hot path. */
import type { Exchange } from "../downstream/exchange.ts";
import type { AccessLog } from "../observation/access-log.ts";
import type { ExchangeReport } from "../observation/exchange-report.ts";
import type { HostCounts } from "../observation/host-counts.ts";
import type { Metrics } from "../observation/metrics.ts";
import { blameOf, BLAMES } from "../observation/proxy-error.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Outbox } from "./outbox.ts";

export interface ExchangeObserverParts {
  /** The worker's number. */
  readonly worker: number;
  readonly metrics: Metrics;
  readonly hosts: HostCounts;
  readonly accessLog: AccessLog;
  readonly outbox: Outbox;
}

export class ExchangeObserver {
  readonly #parts: ExchangeObserverParts;

  constructor(parts: ExchangeObserverParts) {
    this.#parts = parts;
  }

  ended(exchange: Exchange): void {
    const { metrics, hosts, accessLog, outbox } = this.#parts;
    const { record } = exchange;
    const totalMs = nowMs() - record.startedAtMs;
    const bucket = metrics.recordExchange(record.outcome, record.status, totalMs / 1000);
    const blame = record.code === null ? null : blameOf(record.code, record.upstreamKind);
    if (record.code !== null && blame !== null) {
      if (record.outcome === "refused") metrics.recordError(record.code);
      metrics.recordBadEnd(record.code, blame);
    }
    hosts.count(exchange.host, record, blame === null ? -1 : BLAMES.indexOf(blame), totalMs, bucket);
    const logged = accessLog.enabled;
    const shown = record.code !== null && outbox.wantsError();
    if (!logged && !shown) return;
    const report = reportOf(exchange, this.#parts.worker, totalMs);
    if (logged) accessLog.record({ ...report, path: report.target, durationMs: totalMs, error: report.code ?? "" });
    if (shown) outbox.error(report);
  }
}

function reportOf(exchange: Exchange, worker: number, totalMs: number): ExchangeReport {
  const { record, head } = exchange;
  return {
    atMs: Date.now(),
    worker,
    requestId: exchange.requestId,
    traceId: exchange.traceId,
    client: exchange.peer.address,
    method: head.method,
    host: exchange.host,
    route: "",
    target: head.target,
    protocol: head.minor === 1 ? "HTTP/1.1" : "HTTP/1.0",
    status: record.status,
    outcome: record.outcome,
    code: record.code,
    blame: record.code === null ? null : blameOf(record.code, null),
    problem: record.problem,
    bytesIn: record.bodyBytesIn,
    bytesOut: record.bodyBytesOut,
    upstream: record.upstream,
    upstreamKind: null,
    region: record.region,
    attempts: 0,
    reused: false,
    headWaitMs: 0,
    probeWaitMs: 0,
    connectMs: 0,
    firstByteMs: null,
    totalMs,
  };
}
