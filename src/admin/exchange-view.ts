/** An exchange that ended badly, in the names of the access log. */
import { z } from "zod";
import type { ExchangeReport } from "../observation/exchange-report.ts";
import { OUTCOMES } from "../observation/metrics.ts";
import { BLAMES } from "../observation/proxy-error.ts";
import { TIME } from "./fields.ts";
import { timeText } from "./time-text.ts";

export const EXCHANGE = z.object({
  time: TIME.describe("When it ended"),
  request_id: z.string(),
  trace_id: z.string(),
  error: z.string().nullable().describe("A code of docs/errors.md"),
  blame: z.enum(BLAMES).nullable(),
  problem: z.string().describe("Why it went wrong, for people"),
  status: z.int().describe("0: no head was sent"),
  outcome: z.enum(OUTCOMES),
  ended_by: z.enum(["client", "vm", "region", "edge"]),
  client: z.string(),
  protocol: z.string(),
  method: z.string(),
  host: z.string(),
  route: z.string().describe("The host or wildcard of the table"),
  target: z.string(),
  upstream: z.string(),
  upstream_kind: z.enum(["vm", "region"]).nullable(),
  region: z.string(),
  attempts: z.int(),
  reused: z.boolean(),
  bytes_in: z.int(),
  bytes_out: z.int(),
  head_wait_ms: z.number(),
  probe_wait_ms: z.number(),
  connect_ms: z.number(),
  first_byte_ms: z.number().nullable(),
  duration_ms: z.number(),
  worker: z.int(),
});

export function exchangeView(report: ExchangeReport): z.output<typeof EXCHANGE> {
  return {
    time: timeText(report.atMs),
    request_id: report.requestId,
    trace_id: report.traceId,
    error: report.code,
    blame: report.blame,
    problem: report.problem,
    status: report.status,
    outcome: report.outcome,
    ended_by: report.endedBy,
    client: report.client,
    protocol: report.protocol,
    method: report.method,
    host: report.host,
    route: report.route,
    target: report.target,
    upstream: report.upstream,
    upstream_kind: report.upstreamKind,
    region: report.region,
    attempts: report.attempts,
    reused: report.reused,
    bytes_in: report.bytesIn,
    bytes_out: report.bytesOut,
    head_wait_ms: rounded(report.headWaitMs),
    probe_wait_ms: rounded(report.probeWaitMs),
    connect_ms: rounded(report.connectMs),
    first_byte_ms: report.firstByteMs === null ? null : rounded(report.firstByteMs),
    duration_ms: rounded(report.totalMs),
    worker: report.worker,
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
