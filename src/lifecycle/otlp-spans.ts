/** An exchange as OpenTelemetry's spans, by its semantic conventions for HTTP: what the client saw, and what was sent to an endpoint. */
import { type Attributes, type HrTime, type SpanContext, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { ExchangeReport } from "../observation/exchange-report.ts";
import type { TracedExchange } from "../observation/tracing.ts";

/** Any other is `_OTHER`: clients must not make up names of spans. */
const METHODS: ReadonlySet<string> = new Set("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split(" "));

/** `version`: ours. */
export function spansOf({ report, spans }: TracedExchange, resource: Resource, version: string): ReadableSpan[] {
  const endMs = report.atMs;
  const startMs = endMs - report.totalMs;
  const common = { resource, version, traceId: report.traceId };
  const server = span({
    ...common,
    kind: SpanKind.SERVER,
    id: spans.server,
    parent: spans.parent,
    remoteParent: true,
    name: nameOf(report),
    startMs,
    endMs,
    attributes: serverAttributes(report),
    problem: isServerError(report) ? report.problem || errorType(report) : null,
  });
  if (report.upstream === "") return [server];
  const client = span({
    ...common,
    kind: SpanKind.CLIENT,
    id: spans.client,
    parent: spans.server,
    remoteParent: false,
    name: nameOf(report),
    startMs: Math.min(endMs, startMs + report.headWaitMs + report.probeWaitMs),
    endMs,
    attributes: clientAttributes(report),
    problem: isClientError(report) ? report.problem || errorType(report) : null,
  });
  return [server, client];
}

interface Parts {
  readonly traceId: string;
  readonly id: string;
  /** Empty for none. */
  readonly parent: string;
  readonly remoteParent: boolean;
  readonly kind: SpanKind;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  /** null: none. */
  readonly problem: string | null;
  readonly resource: Resource;
  readonly version: string;
}

function span(parts: Parts): ReadableSpan {
  const { traceId, parent, startMs, endMs, problem } = parts;
  const context = (spanId: string, isRemote: boolean): SpanContext => ({
    traceId,
    spanId,
    isRemote,
    traceFlags: TraceFlags.SAMPLED,
  });
  return {
    name: parts.name,
    kind: parts.kind,
    spanContext: () => context(parts.id, false),
    ...parent !== "" && { parentSpanContext: context(parent, parts.remoteParent) },
    startTime: hrTime(startMs),
    endTime: hrTime(endMs),
    duration: hrTime(endMs - startMs),
    status: problem === null ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: problem },
    attributes: parts.attributes,
    links: [],
    events: [],
    ended: true,
    resource: parts.resource,
    instrumentationScope: { name: "edgeproxy", version: parts.version },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

/** Ours are routes of hosts, not paths: the name is the method alone, as the conventions want it then. */
function nameOf({ method }: ExchangeReport): string {
  return METHODS.has(method) ? method : "HTTP";
}

/** Without the query, which may hold secrets. */
function serverAttributes(report: ExchangeReport): Attributes {
  return {
    ...methodAttributes(report),
    ...errorAttributes(report, isServerError(report)),
    ...ownAttributes(report),
    "url.scheme": "http",
    "url.path": report.target.split("?", 1)[0]!,
    "server.address": report.host,
    "client.address": report.client,
    "network.protocol.version": report.protocol.slice("HTTP/".length),
    "http.request.body.size": report.bytesIn,
    "http.response.body.size": report.bytesOut,
    ...report.status > 0 && { "http.response.status_code": report.status },
  };
}

function clientAttributes(report: ExchangeReport): Attributes {
  const colon = report.upstream.lastIndexOf(":");
  const address = report.upstream.slice(0, colon).replaceAll(/[[\]]/g, "");
  const port = Number(report.upstream.slice(colon + 1));
  const answered = report.outcome !== "refused" && report.status > 0;
  return {
    ...methodAttributes(report),
    ...errorAttributes(report, isClientError(report)),
    "server.address": address,
    "server.port": port,
    "network.peer.address": address,
    "network.peer.port": port,
    "edgeproxy.endpoint.kind": report.upstreamKind ?? "vm",
    "edgeproxy.endpoint.region": report.region,
    "edgeproxy.connection.reused": report.reused,
    ...report.attempts > 1 && { "http.request.resend_count": report.attempts - 1 },
    ...answered && { "http.response.status_code": report.status },
  };
}

function methodAttributes({ method }: ExchangeReport): Attributes {
  if (METHODS.has(method)) return { "http.request.method": method };
  return { "http.request.method": "_OTHER", "http.request.method_original": method };
}

function ownAttributes({ requestId, route, outcome, attempts, worker, code, blame }: ExchangeReport): Attributes {
  return {
    "edgeproxy.request_id": requestId,
    "edgeproxy.outcome": outcome,
    "edgeproxy.attempts": attempts,
    "edgeproxy.worker": worker,
    ...route !== "" && { "edgeproxy.route": route },
    ...code !== null && { "edgeproxy.error": code },
    ...blame !== null && { "edgeproxy.blame": blame },
  };
}

function errorAttributes(report: ExchangeReport, isError: boolean): Attributes {
  return isError ? { "error.type": errorType(report) } : {};
}

function errorType({ code, status }: ExchangeReport): string {
  return code ?? String(status);
}

/** What the client did wrong is no error of a server. */
function isServerError({ status, blame }: ExchangeReport): boolean {
  return status >= 500 || (blame !== null && blame !== "client");
}

function isClientError({ status, blame, outcome }: ExchangeReport): boolean {
  return blame === "vm" || blame === "region" || (outcome !== "refused" && status >= 400);
}
