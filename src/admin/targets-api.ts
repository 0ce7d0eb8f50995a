/** What targets of routes do: how a split is really spread, and what policies made of requests there. */
import { z } from "zod";
import { BUCKET_COLUMN, CLASSES, errorsOf, MS_COLUMN, requestsOf, timedOf } from "../observation/host-figures.ts";
import type { HostTotals } from "../observation/host-traffic.ts";
import { quantileMs } from "../observation/quantile.ts";
import {
  REFUSAL_COLUMN,
  REFUSALS,
  refusedOf,
  RETRY_COLUMN,
  targetKey,
  targetOf,
  WAIT_COLUMN,
  WAIT_MS_COLUMN,
} from "../observation/target-figures.ts";
import { STATUS_CLASSES } from "../observation/traffic-history.ts";
import type { Policies } from "../table/policies.ts";
import type { PolicyRoute } from "../table/policy.ts";
import { orderNameOf } from "../table/policy-order.ts";
import { BY_CLASS, named, rounded, roundedOrNull } from "./hosts-api.ts";
import { type Columns, listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { adminPath } from "./path.ts";
import { badAfter } from "./problem.ts";

const MINUTE = "In the last minute";
const TARGET = z.object({
  route: z.string().describe("Id of a route of the file, `DOMAIN/ID` of a domain's policy; empty: the bare route of a domain"),
  service: z.string().describe("That its split has led to; `vms`: those of the domain; empty: the route answers by itself"),
  wanted: z.number().nullable().describe("Its share of the route's requests as the policy says, 0 to 1; null: there is no split"),
  share: z.number().nullable().describe(`${MINUTE}: its share of the route's requests; null: it has had none`),
  requests: z.int(),
  errors: z.int().describe("Exchanges that ended badly"),
  by_class: BY_CLASS,
  refused: z.record(z.enum(REFUSALS), z.int()).describe("By a policy, with which error code"),
  retries: z.int().describe("Attempts beyond the first"),
  waits: z.int().describe("Requests that have waited for a place at an endpoint"),
  requests_per_second: z.number().describe(MINUTE),
  errors_per_second: z.number().describe(MINUTE),
  refused_per_second: z.number().describe(MINUTE),
  retries_per_second: z.number().describe(MINUTE),
  waits_per_second: z.number().describe(MINUTE),
  mean_wait_ms: z.number().nullable().describe(`${MINUTE}, of those that have waited; null: none has`),
  mean_ms: z.number().nullable().describe(`${MINUTE}; null: no request has ended then`),
  p95_ms: z.number().nullable().describe(`${MINUTE}; null: no request has ended then`),
});
type TargetView = z.output<typeof TARGET>;

const COLUMNS: Columns<TargetView, "route" | "requests" | "errors" | "refused" | "waits" | "latency"> = {
  route: ({ route, service }) => `${route} ${service}`,
  requests: (view) => view.requests_per_second,
  errors: (view) => view.errors_per_second,
  refused: (view) => view.refused_per_second,
  waits: (view) => view.waits_per_second,
  latency: (view) => view.p95_ms,
};

export const LIST_TARGETS = adminPath({
  method: "GET",
  path: "/api/policies/traffic",
  tag: "policies",
  summary: "Routes under policies by the services they lead to: the busiest, by what they did in the last minute",
  query: listQuery(["route", "requests", "errors", "refused", "waits", "latency"], "-requests", {
    route: z.string().optional().describe("Only of this route"),
  }),
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, targets: z.array(TARGET), next: NEXT }) } },
  answer: async (c, deps, { query }) => {
    await deps.collect();
    const seconds = deps.targets.lastMinuteSeconds;
    const all = deps.targets.list();
    const ofRoutes = new Map<string, number>();
    for (const { host, lastMinute } of all) {
      const { route } = targetOf(host);
      ofRoutes.set(route, (ofRoutes.get(route) ?? 0) + requestsOf(lastMinute));
    }
    const splits = splitsOf(deps.policies().policies);
    const suiting = all.filter(({ host }) =>
      host.includes(query.q) && targetOf(host).route === (query.route ?? targetOf(host).route)
    );
    const views = suiting.map((totals) => {
      const { route } = targetOf(totals.host);
      return targetView(totals, seconds, ofRoutes.get(route) ?? 0, splits.get(route));
    });
    const list = listPage(views, query, COLUMNS, targetKey);
    return list === null ? badAfter(c) : c.json({ total: list.total, targets: list.page, next: list.next });
  },
});

function targetView(
  { host, total, lastMinute }: HostTotals,
  seconds: number,
  ofRoute: number,
  split: PolicyRoute["split"] | undefined,
): TargetView {
  const { route, service } = targetOf(host);
  const requests = requestsOf(lastMinute), timed = timedOf(lastMinute), waits = lastMinute[WAIT_COLUMN]!;
  return {
    route,
    service,
    wanted: wantedOf(split, service),
    share: ofRoute === 0 ? null : rounded(requests / ofRoute),
    requests: requestsOf(total),
    errors: errorsOf(total),
    by_class: named(STATUS_CLASSES, total, 0, CLASSES),
    refused: named(REFUSALS, total, REFUSAL_COLUMN, REFUSALS.length),
    retries: total[RETRY_COLUMN]!,
    waits: total[WAIT_COLUMN]!,
    requests_per_second: rounded(requests / seconds),
    errors_per_second: rounded(errorsOf(lastMinute) / seconds),
    refused_per_second: rounded(refusedOf(lastMinute) / seconds),
    retries_per_second: rounded(lastMinute[RETRY_COLUMN]! / seconds),
    waits_per_second: rounded(waits / seconds),
    mean_wait_ms: waits === 0 ? null : rounded(lastMinute[WAIT_MS_COLUMN]! / waits),
    mean_ms: timed === 0 ? null : rounded(lastMinute[MS_COLUMN]! / timed),
    p95_ms: roundedOrNull(quantileMs(lastMinute, 0.95, BUCKET_COLUMN)),
  };
}

/** Routes with a split, by the name under which they are counted. */
function splitsOf({ file, domains }: Policies): ReadonlyMap<string, PolicyRoute["split"]> {
  const routes = [file, ...domains.values()].flatMap((set) => set.routes.filter(({ split }) => split.length > 1));
  return new Map(routes.map((route) => [orderNameOf(route), route.split]));
}

function wantedOf(split: PolicyRoute["split"] | undefined, service: string): number | null {
  const target = split?.find((each) => each.service === service);
  if (split === undefined || target === undefined) return null;
  return rounded(target.share / Math.max(1, split.reduce((sum, { share }) => sum + share, 0)));
}
