/** The state of the table as a whole: running a refresh, and the regions the last one saw. */
import type { Context } from "hono";
import type { AdminDeps } from "./deps.ts";

/** 200 when the source could be read, also when the result is held back; 502 when not: the table serves on as it was. */
export async function runRefresh(c: Context, deps: AdminDeps): Promise<Response> {
  const before = deps.refreshStatus();
  await deps.refreshNow("admin");
  const after = deps.refreshStatus();
  return c.json({
    ok: after.lastError === null,
    changed: after.revision !== before.revision,
    revision: after.revision,
    routes: after.routes,
    held_removals: after.held,
    bad_rows: after.badRows,
    duration_ms: Math.round(after.lastDurationMs * 10) / 10,
    error: after.lastError,
  }, after.lastError === null ? 200 : 502);
}

export function listRegions(c: Context, deps: AdminDeps): Response {
  const regions = deps.refreshStatus().regions.map(({ id, publicIpv4 }) => ({
    id,
    public_ipv4: publicIpv4,
    here: id.toLowerCase() === deps.regionId.toLowerCase(),
  }));
  return c.json({ regions });
}
