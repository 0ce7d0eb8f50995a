/** What changed from the table that is served to the routes a source gives now. */
import type { EndpointRecord, RouteDelta, RouteRecord } from "./record.ts";

export interface TableDiff {
  readonly delta: RouteDelta;
  /** The table after the delta; routes that did not change are the same objects as before, so the new copies can go. */
  readonly table: ReadonlyMap<string, RouteRecord>;
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
}

/** One pass over each side. */
export function diffTable(current: ReadonlyMap<string, RouteRecord>, routes: Iterable<RouteRecord>): TableDiff {
  const table = new Map<string, RouteRecord>();
  const upserts: RouteRecord[] = [];
  let added = 0;
  for (const route of routes) {
    const known = current.get(route.host);
    if (known !== undefined && sameEndpoints(known.endpoints, route.endpoints)) {
      table.set(route.host, known);
      continue;
    }
    if (known === undefined) added++;
    upserts.push(route);
    table.set(route.host, route);
  }
  const removals: string[] = [];
  for (const host of current.keys()) {
    if (!table.has(host)) removals.push(host);
  }
  return { delta: { upserts, removals }, table, added, removed: removals.length, changed: upserts.length - added };
}

/** A key holds kind, address and port. */
function sameEndpoints(a: readonly EndpointRecord[], b: readonly EndpointRecord[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i]!.key !== b[i]!.key || a[i]!.region !== b[i]!.region) return false;
  }
  return true;
}
