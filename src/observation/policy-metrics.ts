/** The metrics of routes and services under policies: what their targets do, and what keeps requests away. What is 0 is mostly left out. */
import { CLASSES, ERROR_COLUMN, MS_COLUMN, timedOf } from "./host-figures.ts";
import type { HostSeries } from "./host-traffic.ts";
import { gauge, type Labels, type MetricRow, type Sample } from "./metric-row.ts";
import { DURATION_BUCKETS, QUEUE_ENDS } from "./metrics.ts";
import { isBreaker, type PolicedNow, type Trouble } from "./policed-figures.ts";
import { BLAMES } from "./proxy-error.ts";
import { OTHERS, REFUSAL_COLUMN, REFUSALS, RETRY_COLUMN, targetOf, WAIT_COLUMN, WAIT_MS_COLUMN } from "./target-figures.ts";
import { STATUS_CLASSES } from "./traffic-history.ts";

/** What policies do, over all workers. */
export interface PolicedFigures extends PolicedNow {
  /** By `targetKey`. */
  readonly targets: readonly HostSeries[];
  /** As the routes file wants them. */
  readonly shares: readonly { readonly route: string; readonly service: string; readonly share: number }[];
  readonly maintained: Readonly<Record<"route" | "service", number>>;
  readonly drained: Readonly<Record<"route" | "service", number>>;
  /** Of operators. */
  readonly orders: number;
  /** Since 1970; null: there is none. */
  readonly oldestOrderAtMs: number | null;
  /** Names of services that no endpoint can serve. */
  readonly unusable: readonly string[];
  readonly hidden: number;
}

/** Services that series tell apart; the others are one. */
const MOST_SERVICES = 100;
const BY_TARGET = "by route and by the service it led to: the busiest 1000, and (other)";

export const POLICY_METRICS: readonly MetricRow[] = [
  {
    type: "counter",
    name: "edgeproxy_route_requests_total",
    help:
      `Finished exchanges under a policy ${BY_TARGET}. A domain's route is DOMAIN/ID; the service is empty where a route answers by itself.`,
    labels: ["route", "service", "status_class"],
    samples: ({ policed }) => byTarget(policed, 0, CLASSES, (column) => ({ "status_class": STATUS_CLASSES[column]! })),
  },
  {
    type: "gauge",
    name: "edgeproxy_route_share",
    help: "What a route of the routes file wants to send to each service of its split, 0 to 1.",
    labels: ["route", "service"],
    samples: ({ policed }) => policed.shares.map(({ route, service, share }): Sample => [{ route, service }, share]),
  },
  {
    type: "counter",
    name: "edgeproxy_route_errors_total",
    help: `Exchanges under a policy that ended badly, by whose doing it was and ${BY_TARGET}.`,
    labels: ["route", "service", "blame"],
    samples: ({ policed }) => byTarget(policed, ERROR_COLUMN, BLAMES.length, (column) => ({ blame: BLAMES[column]! })),
  },
  {
    type: "counter",
    name: "edgeproxy_route_refusals_total",
    help:
      `Exchanges that a policy has refused (rate limit, breaker, queue, maintenance, nobody there), by error code and ${BY_TARGET}.`,
    labels: ["route", "service", "code"],
    samples: ({ policed }) => byTarget(policed, REFUSAL_COLUMN, REFUSALS.length, (column) => ({ code: REFUSALS[column]! })),
  },
  {
    type: "counter",
    name: "edgeproxy_route_retries_total",
    help: `Attempts beyond the first of exchanges under a policy, ${BY_TARGET}.`,
    labels: ["route", "service"],
    samples: ({ policed }) => byTarget(policed, RETRY_COLUMN, 1, () => ({})),
  },
  {
    type: "summary",
    name: "edgeproxy_route_request_duration_seconds",
    help: `Time from the first byte of a request under a policy to the last byte of its response, ${BY_TARGET}; without tunnels.`,
    labels: ["route", "service"],
    sums: ({ policed: { targets } }) =>
      targets.map(({ host, counts }) => [{ ...targetOf(host) }, counts[MS_COLUMN]! / 1000, timedOf(counts)]),
  },
  {
    type: "summary",
    name: "edgeproxy_route_queue_wait_seconds",
    help: `Time that exchanges have waited for a place at an endpoint, ${BY_TARGET}; of those that did.`,
    labels: ["route", "service"],
    sums: ({ policed: { targets } }) =>
      targets.filter(({ counts }) => counts[WAIT_COLUMN]! > 0)
        .map(({ host, counts }) => [{ ...targetOf(host) }, counts[WAIT_MS_COLUMN]! / 1000, counts[WAIT_COLUMN]!]),
  },
  {
    type: "counter",
    name: "edgeproxy_queue_waits_total",
    help:
      "Waits for a place at an endpoint by their end: served (it got one), timeout, left (the client did), full (as many waited as may).",
    labels: ["end"],
    samples: ({ data }) => QUEUE_ENDS.map((end, index): Sample => [{ end }, data.queueEnds[index] ?? 0]),
  },
  {
    type: "histogram",
    name: "edgeproxy_queue_wait_seconds",
    help: "How long exchanges have waited for a place at an endpoint, however it ended.",
    labels: [],
    upperBounds: DURATION_BUCKETS,
    counts: ({ data }) => data.queueWaitBuckets,
    sum: ({ data }) => data.queueWaitSumSeconds,
  },
  {
    type: "gauge",
    name: "edgeproxy_service_queued",
    help: "Exchanges that wait for a place by service, where any do: up to 100 services, and (other).",
    labels: ["service"],
    samples: ({ policed: { queues } }) => byService(queues.map(({ service, waiting }) => [{ service }, waiting])),
  },
  {
    type: "gauge",
    name: "edgeproxy_service_queue_places",
    help: "How many exchanges may wait for a place at a service, where any do.",
    labels: ["service"],
    samples: ({ policed: { queues } }) => byService(queues.map(({ service, places }) => [{ service }, places])),
  },
  gauge(
    "edgeproxy_breakers",
    "Breakers that are open (nobody is let in now) or half-open (on trial, or the next request is), of endpoints and of services.",
    "state",
    ({ policed: { troubles } }) => ({
      "open": troubles.filter(({ kind }) => kind === "breaker_open").length,
      "half-open": troubles.filter(({ kind }) => kind === "breaker_half_open").length,
    }),
  ),
  gauge(
    "edgeproxy_endpoints_ejected",
    "Endpoints that live traffic has put out for a time, as far as requests have met them since.",
    ({ policed: { troubles } }) => troubles.filter((trouble) => !isBreaker(trouble)).length,
  ),
  {
    type: "gauge",
    name: "edgeproxy_service_troubles",
    help:
      "What keeps requests away by service: breaker_open, breaker_half_open, ejected, trial (how many), no_endpoint (1: none can take any). Only what is there; up to 100 services, and (other).",
    labels: ["service", "trouble"],
    samples: ({ policed }) => byService([...troublesOf(policed.troubles), ...unusableOf(policed.unusable)]),
  },
  gauge(
    "edgeproxy_maintenance",
    "Routes and services in maintenance, by order or policy.",
    "kind",
    ({ policed: { maintained } }) => maintained,
  ),
  gauge(
    "edgeproxy_draining",
    "Routes and services that drain, or are drained, by order or policy.",
    "kind",
    ({ policed: { drained } }) => drained,
  ),
  gauge(
    "edgeproxy_policy_orders",
    "What operators have ordered of routes and services (maintenance, drain) and not taken back.",
    ({ policed: { orders } }) => orders,
  ),
  {
    type: "gauge",
    name: "edgeproxy_policy_order_oldest_timestamp_seconds",
    help: "When the oldest of these orders was given, since 1970; absent where there is none.",
    labels: [],
    samples: ({ policed: { oldestOrderAtMs } }) => oldestOrderAtMs === null ? [] : [[{}, oldestOrderAtMs / 1000]],
  },
  gauge(
    "edgeproxy_routes_hidden",
    "Routes of the routes file that never apply to a host, since the database's route of it goes before: up to 100; /api/policies lists them.",
    ({ policed: { hidden } }) => hidden,
  ),
];

function byTarget({ targets }: PolicedFigures, first: number, count: number, labelsOf: (column: number) => Labels): Sample[] {
  const samples: Sample[] = [];
  for (const { host, counts } of targets) {
    for (let column = 0; column < count; column++) {
      const value = counts[first + column]!;
      if (value !== 0) samples.push([{ ...targetOf(host), ...labelsOf(column) }, value]);
    }
  }
  return samples;
}

function troublesOf(troubles: readonly Trouble[]): Sample[] {
  return troubles.map(({ service, kind }): Sample => [{ service, trouble: kind }, 1]);
}

function unusableOf(names: readonly string[]): Sample[] {
  return names.map((service): Sample => [{ service, trouble: "no_endpoint" }, 1]);
}

/** Sums of equal labels. Services beyond the first are one. */
function byService(samples: readonly Sample[]): Sample[] {
  const services = new Set<string>();
  const sums = new Map<string, Sample>();
  for (const [labels, value] of samples) {
    const { service = "" } = labels;
    if (services.size < MOST_SERVICES) services.add(service);
    const told = services.has(service) ? labels : { ...labels, service: OTHERS };
    const name = Object.values(told).join(" ");
    sums.set(name, [told, value + (sums.get(name)?.[1] ?? 0)]);
  }
  return [...sums.values()];
}
