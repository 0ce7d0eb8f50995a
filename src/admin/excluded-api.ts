/** The domains that are not served, or not as their rows say, with the reasons. */
import { z } from "zod";
import type { Exclusion } from "../sources/source.ts";
import type { AdminDeps } from "./deps.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { badAfter } from "./problem.ts";

const CODE = z.enum(["bad_row", "conflict", "flapping", "bad_policy"]);
const QUERY = listQuery(["domain", "code"], "domain", { code: CODE.optional() });
const COLUMNS = { domain: (each: Exclusion) => each.domain, code: (each: Exclusion) => each.code };
const EXCLUSION = z.object({ domain: z.string(), host: z.string().nullable(), code: CODE, reason: z.string() });
const PAGE = z.object({
  total: TOTAL,
  counts: z.object({ bad_row: z.int(), conflict: z.int(), flapping: z.int(), bad_policy: z.int() }).describe(
    "All of them; a source lists only its first",
  ),
  excluded: z.array(EXCLUSION),
  next: NEXT,
});

export const LIST_EXCLUDED = adminPath({
  method: "GET",
  path: "/api/excluded",
  tag: "table",
  summary: "Domains that are not served, or not as their rows say, with the reasons",
  query: QUERY,
  answers: { 200: { meaning: "A page of them", schema: PAGE } },
  answer: listExcluded,
});

function listExcluded(c: AdminContext, deps: AdminDeps, { query }: Given<unknown, z.output<typeof QUERY>, unknown>): Response {
  const { code, q } = query;
  const suiting = deps.excluded().filter((each) => (code === undefined || each.code === code) && contains(each, q.toLowerCase()));
  const found = new Map(suiting.map((each) => [keyOf(each), each]));
  const list = listPage(found.values(), query, COLUMNS, keyOf);
  if (list === null) return badAfter(c);
  return c.json({
    total: list.total,
    counts: deps.refreshStatus().excluded,
    excluded: list.page.map(exclusionView),
    next: list.next,
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
