/** What a worker does when an exchange has ended: counts it, logs it, tells operators of it. The one place; on the hot path. */
import type { Exchange, ExchangeRecord } from "../downstream/exchange.ts";
import type { AccessLog } from "../observation/access-log.ts";
import type { EndedBy, ExchangeReport } from "../observation/exchange-report.ts";
import type { HostCounts } from "../observation/host-counts.ts";
import type { Log } from "../observation/log.ts";
import type { Metrics } from "../observation/metrics.ts";
import { type AnswerCode, type Blame, blameOf, BLAMES, CODES, type ErrorCode } from "../observation/proxy-error.ts";
import type { TargetCounts } from "../observation/target-counts.ts";
import { spanCount, type Tracing } from "../observation/tracing.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Outbox } from "./outbox.ts";

export interface ExchangeObserverParts {
  /** The worker's number. */
  readonly worker: number;
  readonly metrics: Metrics;
  readonly hosts: HostCounts;
  /** Of routes under policies. */
  readonly targets: TargetCounts;
  readonly log: Log;
  readonly accessLog: AccessLog;
  /** null: nothing is traced. */
  readonly tracing: Tracing | null;
  readonly outbox: Outbox;
  /** The host or wildcard of the table that a normalised host matches; empty for none. */
  routeOf(host: string): string;
}

export class ExchangeObserver {
  readonly #parts: ExchangeObserverParts;

  constructor(parts: ExchangeObserverParts) {
    this.#parts = parts;
  }

  /** A fault of ours in here must not keep the client's connection from going on. */
  ended(exchange: Exchange): void {
    try {
      this.#tell(exchange);
    } catch (error) {
      this.#parts.log.error("cannot tell of an exchange", { code: "internal", blame: "edge", error });
    }
  }

  #tell(exchange: Exchange): void {
    const { metrics, hosts, targets, accessLog, tracing, outbox } = this.#parts;
    const { record } = exchange;
    const { code } = record;
    const endedAtMs = nowMs();
    const totalMs = endedAtMs - record.startedAtMs;
    if (record.queueSinceMs !== 0) endQueueWait(record, endedAtMs);
    const bucket = metrics.recordExchange(record.outcome, record.status, totalMs / 1000);
    const blame = code === null ? null : blameOf(code, record.upstreamKind);
    if (code !== null && blame !== null) this.#endedBadly(exchange, code, blame);
    const whose = blame === null ? -1 : BLAMES.indexOf(blame);
    hosts.count(exchange.host, record, whose, totalMs, bucket);
    if (record.target !== null) targets.count(record.target, record, whose, totalMs, bucket);
    const share = accessLog.shareFor(record.status, code !== null);
    const shown = blame !== null && outbox.wantsError(blame);
    const spans = tracing?.records === true ? exchange.spans : null;
    const traced = spans !== null && outbox.wantsTraced(spanCount(record));
    if (share === 0 && !shown && !traced) return;
    const report = this.#reportOf(exchange, blame, endedAtMs);
    if (share > 0) accessLog.record(report, share);
    if (shown) outbox.error(report);
    if (traced) outbox.traced({ report, spans });
  }

  #endedBadly(exchange: Exchange, code: ErrorCode, blame: Blame): void {
    const { metrics, log } = this.#parts;
    const { host, record } = exchange;
    metrics.recordBadEnd(code, blame);
    const refused = record.outcome === "refused";
    if (refused) metrics.recordError(code as AnswerCode); // only those are answered with
    const { level } = CODES[code];
    if (!log.enabled(level)) return;
    const { upstream, problem } = record;
    log[level](endText(code, refused), {
      host,
      code,
      blame,
      upstream,
      "request_id": exchange.requestId,
      ...(problem !== "" && { problem }),
    });
  }

  #reportOf(exchange: Exchange, blame: Blame | null, endedAtMs: number): ExchangeReport {
    const { record, head, host } = exchange;
    const { code, answeredAtMs } = record;
    return {
      atMs: Date.now(),
      worker: this.#parts.worker,
      requestId: exchange.requestId,
      traceId: exchange.traceId,
      client: exchange.peer.address,
      method: head.method,
      host,
      route: host === "" ? "" : this.#parts.routeOf(host),
      policy: record.policy,
      service: record.service,
      decidedBy: record.decidedBy,
      target: withoutUserInfo(head.target),
      protocol: head.minor === 1 ? "HTTP/1.1" : "HTTP/1.0",
      status: record.status,
      outcome: record.outcome,
      code,
      blame,
      problem: record.problem,
      bytesIn: record.bodyBytesIn,
      bytesOut: record.bodyBytesOut,
      endedBy: endedBy(record, blame),
      upstream: record.upstream,
      upstreamKind: record.upstreamKind,
      region: record.region,
      attempts: record.attempts,
      retry: record.retry,
      reused: record.reused,
      headWaitMs: record.headAtMs - record.startedAtMs,
      probeWaitMs: record.probeWaitMs + sinceThen(record.probeSinceMs, endedAtMs),
      queueWaitMs: record.queueWaitMs,
      connectMs: record.connectMs + sinceThen(record.connectSinceMs, endedAtMs),
      firstByteMs: answeredAtMs === 0 ? null : answeredAtMs - record.headAtMs,
      totalMs: endedAtMs - record.startedAtMs,
    };
  }
}

/** The sentence of the application log. */
function endText(code: ErrorCode, refused: boolean): string {
  if (code === "no_route") return "request without a route";
  if (CODES[code].level === "error") return "proxy error";
  return refused ? "request refused" : "exchange broken off";
}

function endedBy({ outcome, code, upstreamKind, clientEndedFirst }: ExchangeRecord, blame: Blame | null): EndedBy {
  if (code === "client_gone") return "client";
  if (code !== null) {
    const brokeOff = code === "upstream_reset" && outcome !== "refused";
    return brokeOff && (blame === "vm" || blame === "region") ? blame : "edge";
  }
  if (outcome === "tunnelled" && clientEndedFirst) return "client";
  return outcome === "refused" ? "edge" : upstreamKind ?? "edge";
}

/** Its client has left while it waited. */
function endQueueWait(record: ExchangeRecord, endedAtMs: number): void {
  record.queueWaitMs += endedAtMs - record.queueSinceMs;
  record.queueSinceMs = 0;
}

function sinceThen(sinceMs: number, nowMs: number): number {
  return sinceMs === 0 ? 0 : nowMs - sinceMs;
}

/** A target that is no path may name a user, and with it a password, which is nobody's business, also where it is malformed otherwise. */
function withoutUserInfo(target: string): string {
  if (target.charCodeAt(0) === 0x2f) return target;
  return target.replace(/^([a-z][a-z0-9+.-]*:\/+)?[^/?#]*@/i, "$1***@");
}
