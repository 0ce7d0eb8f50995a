/** The busiest hosts: what the workers have counted of them, in the last minute and in total. */
import { z } from "zod";
import {
  BUCKET_COLUMN,
  BYTES_IN_COLUMN,
  BYTES_OUT_COLUMN,
  CLASSES,
  ERROR_COLUMN,
  errorsOf,
  MS_COLUMN,
  requestsOf,
  type Row,
  timedOf,
} from "../observation/host-figures.ts";
import type { HostTotals } from "../observation/host-traffic.ts";
import { BLAMES } from "../observation/proxy-error.ts";
import { quantileMs } from "../observation/quantile.ts";
import { STATUS_CLASSES } from "../observation/traffic-history.ts";
import { type Columns, listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { adminPath } from "./path.ts";
import { problem } from "./problem.ts";

export const BY_CLASS = z.record(z.enum(STATUS_CLASSES), z.int()).describe("By status class; none: no head was sent");
export const BY_BLAME = z.record(z.enum(BLAMES), z.int()).describe("Bad ends by whose doing they were");

const HOST = z.object({
  host: z.string().describe("A host of the table, or a wildcard for all that it has matched"),
  requests: z.int(),
  errors: z.int().describe("Exchanges that ended badly"),
  by_class: BY_CLASS,
  by_blame: BY_BLAME,
  requests_per_second: z.number().describe("In the last minute"),
  errors_per_second: z.number().describe("In the last minute"),
  mean_ms: z.number().nullable().describe("In the last minute; null: no request has ended then"),
  p95_ms: z.number().nullable().describe("In the last minute; null: no request has ended then"),
  bytes_in: z.number().describe("Of bodies"),
  bytes_out: z.number().describe("Of bodies"),
});
type HostView = z.output<typeof HOST>;

const COLUMNS: Columns<HostView, "host" | "requests" | "errors" | "latency" | "bytes"> = {
  host: ({ host }) => host,
  requests: (view) => view.requests_per_second,
  errors: (view) => view.errors_per_second,
  latency: (view) => view.p95_ms,
  bytes: (view) => view.bytes_in + view.bytes_out,
};

export const LIST_HOSTS = adminPath({
  method: "GET",
  path: "/api/hosts",
  tag: "traffic",
  summary: "The busiest hosts, by what they did in the last minute; totals count since a host has been watched",
  query: listQuery(["host", "requests", "errors", "latency", "bytes"], "-requests", {}),
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, hosts: z.array(HOST), next: NEXT }) } },
  answer: async (c, deps, { query }) => {
    await deps.collect();
    const seconds = deps.hosts.lastMinuteSeconds;
    const part = query.q.toLowerCase();
    const hosts = deps.hosts.list().filter(({ host }) => host.includes(part)).map((totals) => hostView(totals, seconds));
    const page = listPage(hosts, query, COLUMNS, ({ host }) => host);
    if (page === null) return problem(c, 400, "bad_query", "after: must be the next of another page");
    return c.json({ total: page.total, hosts: page.page, next: page.next });
  },
});

function hostView({ host, total, lastMinute }: HostTotals, seconds: number): HostView {
  const timed = timedOf(lastMinute);
  return {
    host,
    requests: requestsOf(total),
    errors: errorsOf(total),
    by_class: named(STATUS_CLASSES, total, 0, CLASSES),
    by_blame: named(BLAMES, total, ERROR_COLUMN, BLAMES.length),
    requests_per_second: rounded(requestsOf(lastMinute) / seconds),
    errors_per_second: rounded(errorsOf(lastMinute) / seconds),
    mean_ms: timed === 0 ? null : rounded(lastMinute[MS_COLUMN]! / timed),
    p95_ms: roundedOrNull(quantileMs(lastMinute, 0.95, BUCKET_COLUMN)),
    bytes_in: total[BYTES_IN_COLUMN]!,
    bytes_out: total[BYTES_OUT_COLUMN]!,
  };
}

/** Columns of a row by their names. */
export function named<Name extends string>(names: readonly Name[], row: Row, first: number, count: number): Record<Name, number> {
  return Object.fromEntries(names.slice(0, count).map((name, column) => [name, row[first + column]!])) as Record<Name, number>;
}

export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export function roundedOrNull(value: number | null): number | null {
  return value === null ? null : rounded(value);
}
