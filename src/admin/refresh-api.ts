/** The state of the table as a whole: running a refresh, and the regions the last one saw. */
import { z } from "zod";
import type { AdminDeps } from "./deps.ts";
import { flag } from "./fields.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath } from "./path.ts";
import { badAfter } from "./problem.ts";

const REFRESH = z.object({
  ok: z.boolean(),
  changed: z.boolean(),
  revision: z.int(),
  routes: z.int(),
  held_removals: z.int(),
  held_policies: z.int(),
  kept_policies: z.int().describe("They stay in force although route_policies cannot be read any more"),
  bad_rows: z.int(),
  duration_ms: z.number(),
  error: z.string().nullable(),
});
const REGION = z.object({ id: z.string(), public_ipv4: z.string().nullable(), here: z.boolean() });
type Region = z.output<typeof REGION>;

export const RUN_REFRESH = adminPath({
  method: "POST",
  path: "/api/refresh",
  action: "refresh",
  tag: "table",
  summary: "Read the source now; answers when what was read is in force",
  query: z.strictObject({
    let_go: z.enum(["policies"]).optional().describe("Of a table route_policies that cannot be read any more: take it for empty"),
  }),
  answers: {
    200: { meaning: "The source was read, also when the result is held back", schema: REFRESH },
    502: { meaning: "It could not be read: the table serves on as it was", schema: REFRESH },
  },
  answer: (c, deps, { query }) => runRefresh(c, deps, query.let_go !== undefined),
});

export const LIST_REGIONS = adminPath({
  method: "GET",
  path: "/api/regions",
  tag: "table",
  summary: "The regions that the last reading saw",
  query: listQuery(["id", "public_ipv4"], "id", { here: flag().describe("Only ours, or only others") }),
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, regions: z.array(REGION), next: NEXT }) } },
  answer: (c, deps, { query }) => {
    const regions = deps.refreshStatus().regions.map(({ id, publicIpv4 }) => ({
      id,
      public_ipv4: publicIpv4,
      here: id.toLowerCase() === deps.regionId.toLowerCase(),
    })).filter(({ id, public_ipv4: address, here }) =>
      (query.here === undefined || here === query.here) && `${id} ${address ?? ""}`.includes(query.q.toLowerCase())
    );
    const columns = { id: (each: Region) => each.id, "public_ipv4": (each: Region) => each.public_ipv4 };
    const list = listPage(regions, query, columns, ({ id }) => id);
    return list === null ? badAfter(c) : c.json({ total: list.total, regions: list.page, next: list.next });
  },
});

async function runRefresh(c: AdminContext, deps: AdminDeps, letGo: boolean): Promise<Response> {
  const before = deps.refreshStatus();
  if (letGo) deps.letPoliciesGo();
  await deps.refreshNow("admin");
  const after = deps.refreshStatus();
  return c.json({
    ok: after.lastError === null,
    changed: after.revision !== before.revision,
    revision: after.revision,
    routes: after.routes,
    held_removals: after.held,
    held_policies: after.heldPolicies,
    kept_policies: after.keptPolicies?.count ?? 0,
    bad_rows: after.badRows,
    duration_ms: Math.round(after.lastDurationMs * 10) / 10,
    error: after.lastError,
  }, after.lastError === null ? 200 : 502);
}
