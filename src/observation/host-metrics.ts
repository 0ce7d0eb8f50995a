/** The metrics that tell hosts apart: the busiest 1,000 of those with a route, and all others together. What is 0 is left out. */
import { BYTES_IN_COLUMN, BYTES_OUT_COLUMN, CLASSES, ERROR_COLUMN, MS_COLUMN, timedOf } from "./host-figures.ts";
import type { HostSeries } from "./host-traffic.ts";
import type { Labels, MetricRow, Sample } from "./metric-row.ts";
import { BLAMES } from "./proxy-error.ts";
import { STATUS_CLASSES } from "./traffic-history.ts";

export const HOST_METRICS: readonly MetricRow[] = [
  {
    type: "counter",
    name: "edgeproxy_host_requests_total",
    help: "Finished exchanges by host or wildcard of the table and by status class: the busiest 1000 hosts, and other.",
    labels: ["host", "status_class"],
    samples: ({ hosts }) =>
      hosts.flatMap((series) => columns(series, 0, CLASSES, (column) => ({ "status_class": STATUS_CLASSES[column]! }))),
  },
  {
    type: "counter",
    name: "edgeproxy_host_errors_total",
    help: "Exchanges that ended badly by host or wildcard of the table and by whose doing it was.",
    labels: ["host", "blame"],
    samples: ({ hosts }) =>
      hosts.flatMap((series) => columns(series, ERROR_COLUMN, BLAMES.length, (column) => ({ blame: BLAMES[column]! }))),
  },
  {
    type: "summary",
    name: "edgeproxy_host_request_duration_seconds",
    help:
      "Time from the first byte of a request to the last byte of its response, by host or wildcard of the table; without tunnels.",
    labels: ["host"],
    sums: ({ hosts }) => hosts.map(({ host, counts }) => [{ host }, counts[MS_COLUMN]! / 1000, timedOf(counts)]),
  },
  {
    type: "counter",
    name: "edgeproxy_host_bytes_total",
    help: "Bytes of bodies by host or wildcard of the table: in from clients, out to clients.",
    labels: ["host", "direction"],
    samples: ({ hosts }) =>
      hosts.flatMap(({ host, counts }): Sample[] => [
        [{ host, direction: "in" }, counts[BYTES_IN_COLUMN]!],
        [{ host, direction: "out" }, counts[BYTES_OUT_COLUMN]!],
      ]),
  },
];

function columns({ host, counts }: HostSeries, first: number, count: number, labelsOf: (column: number) => Labels): Sample[] {
  const samples: Sample[] = [];
  for (let column = 0; column < count; column++) {
    const value = counts[first + column]!;
    if (value !== 0) samples.push([{ host, ...labelsOf(column) }, value]);
  }
  return samples;
}
