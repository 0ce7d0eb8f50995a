/** A page of hosts in order, out of many in no order. */
import { inSlices, piecesInSlices } from "../runtime/in-slices.ts";
import { type RoutesFound, type RouteWish, searchRoutes } from "../table/route-search.ts";
import type { Routes } from "../table/routes.ts";

export interface PageWish {
  readonly count: number;
  /** The last host of the page before. */
  readonly after: string;
  /** Part of a host. */
  readonly part?: string;
}

export interface HostPage {
  readonly hosts: readonly string[];
  /** The `after` of the next page; null: there is none. */
  readonly next: string | null;
}

/** The values are seen once, in slices, and never more than twice the page is kept and sorted. */
export async function pageOf<T>(values: Iterable<T>, hostOf: (value: T) => string, wish: PageWish): Promise<HostPage> {
  const { count, after, part = "" } = wish;
  let kept: string[] = [];
  let bound: string | null = null;
  await inSlices(values, (value) => {
    const host = hostOf(value);
    if (host <= after || (bound !== null && host >= bound) || !host.includes(part)) return;
    if (kept.push(host) < 2 * (count + 1)) return;
    kept = kept.sort().slice(0, count + 1);
    bound = kept.at(-1) ?? null;
  });
  const hosts = kept.sort().slice(0, count);
  return { hosts, next: kept.length > count ? hosts.at(-1) ?? null : null };
}

/** A page of a table, in slices. */
export function findRoutes(routes: Routes, wish: RouteWish): Promise<RoutesFound> {
  return piecesInSlices(searchRoutes(routes, wish));
}
