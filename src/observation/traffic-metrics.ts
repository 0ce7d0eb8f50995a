/** The metrics of traffic, summed over all workers: exchanges, errors, connections of both sides. */
import { counter, gauge, type MetricRow, type Sample } from "./metric-row.ts";
import { DURATION_BUCKETS, NO_RETRY_REASONS, OUTCOMES, RETRY_REASONS } from "./metrics.ts";
import { ANSWER_CODES, type Blame, BLAMES, CODES, ERROR_CODES, type ErrorCode } from "./proxy-error.ts";
import { STATUS_CLASSES } from "./traffic-history.ts";

export const TRAFFIC_METRICS: readonly MetricRow[] = [
  {
    type: "counter",
    name: "edgeproxy_requests_total",
    help:
      "Finished exchanges by outcome (forwarded, refused, aborted, truncated, tunnelled) and status class (none: no head was sent).",
    labels: ["outcome", "status_class"],
    samples: ({ data }) =>
      OUTCOMES.flatMap((outcome, row) =>
        STATUS_CLASSES.map((status_class, column): Sample => [{ outcome, status_class }, data.requests[row * 6 + column] ?? 0])
      ),
  },
  {
    type: "histogram",
    name: "edgeproxy_request_duration_seconds",
    help: "Time from the first byte of a request to the last byte of its response; tunnels are not among these.",
    labels: [],
    upperBounds: DURATION_BUCKETS,
    counts: ({ data }) => data.durationBuckets,
    sum: ({ data }) => data.durationSumSeconds,
  },
  {
    type: "counter",
    name: "edgeproxy_routing_errors_total",
    help: "Answers of the proxy itself by error code, as in X-Edgeproxy-Error.",
    labels: ["code"],
    samples: ({ data }) => ANSWER_CODES.map((code): Sample => [{ code }, data.errors[ERROR_CODES.indexOf(code)] ?? 0]),
  },
  {
    type: "counter",
    name: "edgeproxy_errors_total",
    help: "Exchanges that ended badly by error code and by whose doing it was, whether an own answer told of it or not.",
    labels: ["code", "blame"],
    samples: ({ data }) =>
      ERROR_CODES.flatMap((code, index) =>
        possibleBlames(code).map((blame): Sample => [
          { code, blame },
          data.badEnds[index * BLAMES.length + BLAMES.indexOf(blame)] ?? 0,
        ])
      ),
  },
  gauge("edgeproxy_exchanges_active", "Exchanges running now.", ({ data }) => data.exchangesActive),
  gauge(
    "edgeproxy_exchanges_waiting",
    "Exchanges that wait for the verdict of a probe, or for another table.",
    ({ data }) => data.exchangesWaiting,
  ),
  gauge(
    "edgeproxy_exchanges_queued",
    "Exchanges that wait for a place at an endpoint, since all of its service carry as many as they may.",
    ({ data }) => data.exchangesQueued,
  ),
  gauge("edgeproxy_tunnels_active", "Upgraded connections (WebSocket and others) open now.", ({ data }) => data.tunnelsActive),
  counter(
    "edgeproxy_bytes_total",
    "Bytes on client connections: in from clients, out to clients.",
    "direction",
    ({ data }) => ({ in: data.bytesIn, out: data.bytesOut }),
  ),
  gauge("edgeproxy_connections", "Client connections open now.", ({ data }) => data.connectionsOpen),
  counter("edgeproxy_connections_accepted_total", "Client connections accepted.", ({ data }) => data.connectionsAccepted),
  counter(
    "edgeproxy_connections_shed_total",
    "Client connections closed at once, above the limit.",
    ({ data }) => data.connectionsShed,
  ),
  gauge(
    "edgeproxy_upstream_connections",
    "Connections to endpoints by state: idle (pooled), busy (with an exchange), connecting.",
    "state",
    ({ data }) => ({
      idle: data.upstreamIdle,
      busy: Math.max(0, data.upstreamOpen - data.upstreamIdle),
      connecting: data.upstreamConnecting,
    }),
  ),
  counter(
    "edgeproxy_upstream_connects_total",
    "Connection attempts to endpoints by result: connected or failed.",
    "result",
    ({ data }) => ({
      connected: data.upstreamConnects,
      failed: data.upstreamConnectFailures,
    }),
  ),
  counter("edgeproxy_upstream_reuses_total", "Requests sent on a pooled connection.", ({ data }) => data.upstreamReuses),
  {
    type: "counter",
    name: "edgeproxy_upstream_retries_total",
    help:
      "Failed attempts that were not the end: the pooled connection was dead, a fresh probe of the VM passed, or without that endpoint; by a retry policy: connect, reset, timeout, status.",
    labels: ["reason"],
    samples: ({ data }) => RETRY_REASONS.map((reason, index): Sample => [{ reason }, data.upstreamRetries[index] ?? 0]),
  },
  {
    type: "counter",
    name: "edgeproxy_upstream_retries_refused_total",
    help:
      "Failed attempts after which a retry policy did not have the request sent again: unsafe to repeat, out of attempts, time or budget, its body not kept, no cause that the policy names, or its answer had begun.",
    labels: ["reason"],
    samples: ({ data }) => NO_RETRY_REASONS.map((reason, index): Sample => [{ reason }, data.retriesRefused[index] ?? 0]),
  },
  counter(
    "edgeproxy_ejections_total",
    "How often live traffic has put an endpoint out for a time, as the policy of its service says.",
    ({ data }) => data.ejections,
  ),
  counter(
    "edgeproxy_breakers_opened_total",
    "How often a breaker has opened, of an endpoint or of a service.",
    ({ data }) => data.breakersOpened,
  ),
];

function possibleBlames(code: ErrorCode): readonly Blame[] {
  const { cause } = CODES[code];
  return cause === "endpoint" ? ["vm", "region"] : [cause];
}
