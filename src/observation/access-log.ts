/*  The access log: one JSON line per exchange, when it is on (contract, section 11).
 *
 *  Not through LogTape: at 50,000 lines a second a general logger costs a seventh to a quarter of a core. A line is one template, whose
 *  fields a test holds against ACCESS_FIELDS: 0.9 us with its way to the buffer, in place of 2.6 when it was put together field by field
 *  from that table (access-log.bench). Lines leave with the buffer: every 64 KiB or 100 ms.
 */
import { ACCESS_SCHEMA } from "./access-fields.ts";
import type { ExchangeReport } from "./exchange-report.ts";
import { jsonInner } from "./json-text.ts";
import { type LineWriter, standardOutput } from "./line-writer.ts";

/** Which exchanges are written. */
export interface AccessSampling {
  /** Share of all, by lot. */
  readonly share: number;
  /** All that ended badly, and all answers of 500 and above. */
  readonly errors: boolean;
}

export const NO_ACCESS_LOG: AccessSampling = { share: 0, errors: false };

export interface AccessLogOptions {
  readonly sampling: AccessSampling;
  readonly writer?: LineWriter;
  readonly random?: () => number;
}

export class AccessLog {
  readonly #sampling: AccessSampling;
  readonly #writer: LineWriter;
  readonly #random: () => number;

  constructor(options: AccessLogOptions) {
    this.#sampling = options.sampling;
    this.#writer = options.writer ?? standardOutput;
    this.#random = options.random ?? Math.random;
  }

  /** Of exchanges like this one the share that is written, if this one is; 0 if it is not. To be asked before a report is made. */
  shareFor(status: number, endedBadly: boolean): number {
    const { share, errors } = this.#sampling;
    if (share === 1 || (errors && (endedBadly || status >= 500))) return 1;
    return share > 0 && this.#random() < share ? share : 0;
  }

  record(report: ExchangeReport, share: number): void {
    this.#writer.write(accessLine(report, share));
  }

  /** Gives what is buffered to the kernel, waiting a moment for a slow reader. */
  close(): void {
    this.#writer.close();
  }
}

/** What needs no escape: our own words, and addresses, ids and numbers that were checked when they were read. The rest does. */
export function accessLine(report: ExchangeReport, share: number): string {
  const { firstByteMs } = report;
  const host = jsonInner(report.host);
  const target = jsonInner(report.target);
  const query = target.indexOf("?");
  return `{"time":"${timeText(report.atMs)}","level":"info","msg":"access","schema":${ACCESS_SCHEMA},"method":"${
    jsonInner(report.method)
  }","host":"${host}","path":"${
    query < 0 ? target : target.slice(0, query)
  }","status":${report.status},"bytes_in":${report.bytesIn},"bytes_out":${report.bytesOut},"duration_ms":${
    msText(report.totalMs)
  },"upstream":"${report.upstream}","region":"${report.region}","request_id":"${report.requestId}","error":"${
    report.code ?? ""
  }","trace_id":"${report.traceId}","client":"${report.client}","protocol":"${report.protocol}","target":"${target}","route":"${
    report.route === report.host ? host : jsonInner(report.route)
  }","policy":"${report.policy === "" ? "" : jsonInner(report.policy)}","service":"${
    report.service === "" ? "" : jsonInner(report.service)
  }","decided_by":"${report.decidedBy === "" ? "" : jsonInner(report.decidedBy)}","outcome":"${report.outcome}","blame":"${
    report.blame ?? ""
  }","problem":"${jsonInner(report.problem)}","ended_by":"${report.endedBy}","head_wait_ms":${
    msText(report.headWaitMs)
  },"probe_wait_ms":${msText(report.probeWaitMs)},"queue_wait_ms":${msText(report.queueWaitMs)},"connect_ms":${
    msText(report.connectMs)
  },"first_byte_ms":${
    firstByteMs === null ? "null" : msText(firstByteMs)
  },"attempts":${report.attempts},"retry":"${report.retry}","reused":${
    report.reused ? "true" : "false"
  },"worker":${report.worker},"sample":${share}}`;
}

/** `.000` to `.999` */
const FRACTIONS: readonly string[] = Array.from({ length: 1000 }, (_, n) => `.${String(n).padStart(3, "0")}`);

/** To the microsecond. The usual way to write a fraction takes three times as long. */
function msText(ms: number): string {
  if (ms === 0) return "0";
  const us = Math.max(0, Math.round(ms * 1000));
  const whole = Math.floor(us / 1000);
  return whole + FRACTIONS[us - whole * 1000]!;
}

let timeMs = Number.NaN;
let time = "";

/** Busy logs write many lines per millisecond, and a date is dear to write. */
function timeText(atMs: number): string {
  if (atMs !== timeMs) {
    timeMs = atMs;
    time = new Date(atMs).toISOString();
  }
  return time;
}
