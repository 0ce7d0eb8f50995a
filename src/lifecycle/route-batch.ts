/** Routes as messages carry them: an endpoint once per batch, however many domains of the batch live on it. */
import type { EndpointRecord, RouteRecord } from "../table/record.ts";

/** A host, and where its endpoints stand in the batch. */
export type CompactRoute = readonly [host: string, ...endpoints: readonly number[]];

/** Removals come before upserts. */
export interface RouteBatch {
  readonly endpoints: readonly EndpointRecord[];
  readonly upserts: readonly CompactRoute[];
  readonly removals: readonly string[];
}

export function compactBatch(upserts: Iterable<RouteRecord>, removals: readonly string[]): RouteBatch {
  const endpoints: EndpointRecord[] = [];
  const places = new Map<EndpointRecord, number>();
  const routes: CompactRoute[] = [];
  for (const route of upserts) routes.push([route.host, ...route.endpoints.map(placeOf)]);
  return { endpoints, upserts: routes, removals };

  function placeOf(endpoint: EndpointRecord): number {
    let place = places.get(endpoint);
    if (place === undefined) {
      place = endpoints.push(endpoint) - 1;
      places.set(endpoint, place);
    }
    return place;
  }
}

/** One route of a batch. */
export function expandRoute(route: CompactRoute, batch: RouteBatch): RouteRecord {
  const endpoints: EndpointRecord[] = [];
  for (let at = 1; at < route.length; at++) endpoints.push(batch.endpoints[route[at] as number]!);
  return { host: route[0], endpoints };
}
