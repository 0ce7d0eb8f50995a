/** The domains that are not served, or not as their rows say, with the reasons. */
import { z } from "zod";
import type { Exclusion } from "../sources/source.ts";
import type { AdminDeps } from "./deps.ts";
import { AFTER, LIMIT, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";

const CODE = z.enum(["bad_row", "conflict", "flapping"]);
const QUERY = z.strictObject({
  limit: LIMIT,
  after: AFTER,
  q: z.string().default("").describe("Part of a domain or host"),
  code: CODE.optional(),
});
const EXCLUSION = z.object({ domain: z.string(), host: z.string().nullable(), code: CODE, reason: z.string() });
const PAGE = z.object({
  total: TOTAL,
  counts: z.object({ bad_row: z.int(), conflict: z.int(), flapping: z.int() }).describe(
    "All of them; a source lists only its first",
  ),
  excluded: z.array(EXCLUSION),
  next: NEXT,
});

export const LIST_EXCLUDED = adminPath({
  method: "GET",
  path: "/api/excluded",
  tag: "table",
  summary: "Domains that are not served, or not as their rows say, with the reasons, by domain",
  query: QUERY,
  answers: { 200: { meaning: "A page of them", schema: PAGE } },
  answer: listExcluded,
});

function listExcluded(
  c: AdminContext,
  deps: AdminDeps,
  { query: { limit, after, q, code } }: Given<unknown, z.output<typeof QUERY>, unknown>,
): Response {
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

function exclusionView({ domain, host, code, reason }: Exclusion): z.output<typeof EXCLUSION> {
  return { domain, host, code, reason };
}

function contains({ domain, host }: Exclusion, part: string): boolean {
  return domain.toLowerCase().includes(part) || host?.includes(part) === true;
}

function keyOf({ domain, code, reason }: Exclusion): string {
  return `${domain} ${code} ${reason}`;
}
