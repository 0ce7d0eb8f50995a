/** The domains that are not served, or not as their rows say, with the reasons. */
import type { Context } from "hono";
import { z } from "zod";
import type { Exclusion } from "../sources/source.ts";
import type { AdminDeps } from "./deps.ts";
import { badQuery } from "./problem.ts";

const QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** `next` of the page before. */
  after: z.string().default(""),
  /** Part of a domain or host. */
  q: z.string().default(""),
  code: z.enum(["bad_row", "conflict", "flapping"]).optional(),
});

/**
 * `?limit=&after=&q=&code=`: ordered by domain; `next` is the `after` of the next page, or null. A source lists the first of its
 * exclusions; `counts` has all.
 */
export function listExcluded(c: Context, deps: AdminDeps): Response {
  const query = QUERY.safeParse(c.req.query());
  if (!query.success) return badQuery(c, query.error);
  const { limit, after, q, code } = query.data;
  const found = new Map(
    deps.excluded()
      .filter((each) => (code === undefined || each.code === code) && contains(each, q.toLowerCase()))
      .map((each) => [keyOf(each), each]),
  );
  const keys = [...found.keys()].filter((key) => key > after).sort();
  const page = keys.slice(0, limit);
  return c.json({
    total: found.size,
    counts: deps.refreshStatus().excluded,
    excluded: page.map((key) => exclusionView(found.get(key)!)),
    next: keys.length > limit ? page.at(-1) : null,
  });
}

function exclusionView({ domain, host, code, reason }: Exclusion): unknown {
  return { domain, host, code, reason };
}

function contains({ domain, host }: Exclusion, part: string): boolean {
  return domain.toLowerCase().includes(part) || host?.includes(part) === true;
}

function keyOf({ domain, code, reason }: Exclusion): string {
  return `${domain} ${code} ${reason}`;
}
