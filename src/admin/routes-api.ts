/** The routing table for people: page by page, or one host. */
import { z } from "zod";
import { findRoutes } from "../sources/host-page.ts";
import { normaliseDomain } from "../table/host-name.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { Service } from "../table/services.ts";
import type { AdminDeps } from "./deps.ts";
import { flag } from "./fields.ts";
import { listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { problem } from "./problem.ts";

const KIND = z.enum(["vm", "region"]);
const QUERY = listQuery(["host"], "host", {
  region: z.string().optional().describe("Id of a region that has an endpoint of the route"),
  kind: KIND.optional().describe("Routes with such an endpoint"),
  wildcard: flag().describe("Only wildcards, or none"),
});
export const ROUTE_ENDPOINT = z.object({ kind: KIND, address: z.string(), port: z.int(), region: z.string() });
const ROUTE = z.object({ host: z.string(), endpoints: z.array(ROUTE_ENDPOINT) });

export const LIST_ROUTES = adminPath({
  method: "GET",
  path: "/api/routes",
  tag: "table",
  summary: "Routes that are served, by host",
  query: QUERY,
  answers: {
    200: { meaning: "A page of them", schema: z.object({ revision: z.int(), total: TOTAL, routes: z.array(ROUTE), next: NEXT }) },
  },
  answer: listRoutes,
});

export const SHOW_ROUTE = adminPath({
  method: "GET",
  path: "/api/routes/:host",
  tag: "table",
  summary: "The route of exactly this host; a wildcard's host is written `*.example.com`",
  params: z.object({ host: z.string() }),
  answers: { 200: { meaning: "The route", schema: ROUTE }, 404: { meaning: "The table has no such host" } },
  answer: (c, deps, { params: { host: asked } }) => {
    const host = normaliseDomain(asked);
    const service = host === null ? undefined : deps.routes().get(host);
    if (host === null || service === undefined) {
      return problem(c, 404, "no_route", `The routing table has no host ${JSON.stringify(asked)}${whatInstead(host, deps)}`);
    }
    return c.json(routeView(host, service));
  },
});

function whatInstead(host: string | null, deps: AdminDeps): string {
  const excluded = deps.excluded().find((each) => each.host !== null && each.host === host);
  if (excluded !== undefined) return `: ${excluded.code}, ${excluded.reason}`;
  if (host === null || !deps.policies().policies.mayConcern(host)) return "";
  return ". Policies have routes that may fit it: /api/policies/routes lists them";
}

async function listRoutes(
  c: AdminContext,
  deps: AdminDeps,
  { query: { limit, after, q, sort, region, kind, wildcard } }: Given<unknown, z.output<typeof QUERY>, unknown>,
): Promise<Response> {
  const table = deps.routes();
  const { revision } = deps.refreshStatus();
  const isWanted = (endpoint: EndpointRecord): boolean =>
    (region === undefined || endpoint.region === region.toLowerCase()) && (kind === undefined || endpoint.kind === kind);
  const { total, hosts, more } = await findRoutes(table, {
    count: limit,
    after,
    descending: sort === "-host",
    part: q.toLowerCase(),
    wildcard: wildcard ?? null,
    suits: region === undefined && kind === undefined ? null : ({ endpoints }) => endpoints.some(isWanted),
  });
  return c.json({
    revision,
    total,
    routes: hosts.map((host) => routeView(host, table.get(host)!)),
    next: more ? hosts.at(-1) : null,
  });
}

function routeView(host: string, service: Service): z.output<typeof ROUTE> {
  return { host, endpoints: endpointsView(service) };
}

export function endpointsView({ endpoints }: Service): z.output<typeof ROUTE_ENDPOINT>[] {
  return endpoints.map(({ kind, address, port, region }) => ({ kind, address, port, region }));
}
