/** The routing table for people: page by page, or one host. */
import type { Context } from "hono";
import { z } from "zod";
import { pageOf } from "../sources/host-page.ts";
import { normaliseDomain } from "../table/host-name.ts";
import type { Service } from "../table/services.ts";
import type { AdminDeps } from "./deps.ts";
import { badQuery, problem } from "./problem.ts";

const QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The last host of the page before. */
  after: z.string().default(""),
  /** Part of a host. */
  q: z.string().default(""),
});

/** `?limit=&after=&q=`: ordered by host; `next` is the `after` of the next page, or null. */
export async function listRoutes(c: Context, deps: AdminDeps): Promise<Response> {
  const query = QUERY.safeParse(c.req.query());
  if (!query.success) return badQuery(c, query.error);
  const { limit, after, q } = query.data;
  const table = deps.routes();
  const { revision } = deps.refreshStatus();
  const { hosts, next } = await pageOf(table.entries(), ([host]) => host, { count: limit, after, part: q.toLowerCase() });
  return c.json({
    revision,
    total: table.size,
    routes: hosts.map((host) => routeView(host, table.get(host)!)),
    next,
  });
}

/** The route of exactly this host; a wildcard's host is written `*.example.com`. */
export function showRoute(c: Context, deps: AdminDeps): Response {
  const asked = c.req.param("host") ?? "";
  const host = normaliseDomain(asked);
  const service = host === null ? undefined : deps.routes().get(host);
  if (host === null || service === undefined) {
    return problem(c, 404, "no_route", `The routing table has no host ${JSON.stringify(asked)}`);
  }
  return c.json(routeView(host, service));
}

function routeView(host: string, service: Service): unknown {
  return { host, endpoints: endpointsView(service) };
}

export function endpointsView({ endpoints }: Service): unknown {
  return endpoints.map(({ kind, address, port, region }) => ({ kind, address, port, region }));
}
