/** The routing table for people: page by page, or one host. */
import type { Context } from "hono";
import { z } from "zod";
import { normaliseDomain } from "../table/host-name.ts";
import type { Routes } from "../table/routes.ts";
import type { Service } from "../table/services.ts";
import type { AdminDeps } from "./deps.ts";
import { problem } from "./problem.ts";

const QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The last host of the page before. */
  after: z.string().default(""),
  /** Part of a host. */
  q: z.string().default(""),
});

/** `?limit=&after=&q=`: ordered by host; `next` is the `after` of the next page, or null. */
export function listRoutes(c: Context, deps: AdminDeps): Response {
  const query = QUERY.safeParse(c.req.query());
  if (!query.success) return problem(c, 400, "bad_query", query.error.issues.map(issueText).join("; "));
  const { limit, after, q } = query.data;
  const table = deps.routes();
  const hosts = firstHosts(hostsOf(table), limit + 1, after, q.toLowerCase());
  const page = hosts.slice(0, limit);
  return c.json({
    revision: deps.refreshStatus().revision,
    total: table.size,
    routes: page.map((host) => routeView(host, table.get(host)!)),
    next: hosts.length > limit ? page.at(-1) : null,
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

function* hostsOf(routes: Routes): Iterable<string> {
  for (const [host] of routes.entries()) yield host;
}

function routeView(host: string, { endpoints }: Service): unknown {
  return { host, endpoints: endpoints.map(({ kind, address, port, region }) => ({ kind, address, port, region })) };
}

/**
 * The first `count` hosts after a host, in order. The table is not ordered and may have a million hosts: they are seen once,
 * and never more than twice the page is kept and sorted.
 */
function firstHosts(hosts: Iterable<string>, count: number, after: string, part: string): string[] {
  let kept: string[] = [];
  let bound: string | null = null;
  for (const host of hosts) {
    if (host <= after || (bound !== null && host >= bound) || !host.includes(part)) continue;
    if (kept.push(host) < 2 * count) continue;
    kept = kept.sort().slice(0, count);
    bound = kept.at(-1) ?? null;
  }
  return kept.sort().slice(0, count);
}

function issueText({ path, message, code }: z.core.$ZodIssue): string {
  return code === "unrecognized_keys" ? message : `${path.join(".")}: ${message}`;
}
