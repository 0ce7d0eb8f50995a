/*  The routing table of a worker: which route answers for a host.
 *
 *  Routes are frozen records; a change replaces a host's record and touches nothing else, so applying a delta costs what
 *  changed, and a request that has its route keeps it. A delta is applied within one turn of the event loop: no lookup sees
 *  half of one. Endpoints are interned by key, since a million domains live on a few thousand VMs.
 */
import type { EndpointRecord, RouteDelta, RouteRecord } from "./record.ts";

interface Shared {
  readonly record: EndpointRecord;
  routes: number;
}

export class RoutingTable {
  /** 0 until the first table is loaded. */
  revision = 0;
  readonly #exact: Map<string, RouteRecord> = new Map();
  /** By what follows the `*`, with its dot: `.example.com`. */
  readonly #wildcards: Map<string, RouteRecord> = new Map();
  readonly #endpoints: Map<string, Shared> = new Map();

  get loaded(): boolean {
    return this.revision > 0;
  }

  get size(): number {
    return this.#exact.size + this.#wildcards.size;
  }

  /** The route of a normalised host: its exact name, else the longest wildcard above it. */
  find(host: string): RouteRecord | undefined {
    const exact = this.#exact.get(host);
    if (exact !== undefined || this.#wildcards.size === 0) return exact;
    return this.#findWildcard(host);
  }

  /** Answers the keys of endpoints that no route leads to any more. */
  apply(delta: RouteDelta, revision: number): string[] {
    const orphans = new Set<string>();
    for (const host of delta.removals) this.#remove(host, orphans);
    for (const route of delta.upserts) this.#put(route, orphans);
    this.revision = revision;
    return [...orphans].filter((key) => !this.#endpoints.has(key));
  }

  /** Replaces everything; also answers the orphaned endpoint keys. */
  replace(routes: readonly RouteRecord[], revision: number): string[] {
    const keep = new Set(routes.map((route) => route.host));
    return this.apply({ upserts: routes, removals: [...this.hosts()].filter((host) => !keep.has(host)) }, revision);
  }

  *hosts(): Iterable<string> {
    yield* this.#exact.keys();
    for (const suffix of this.#wildcards.keys()) yield `*${suffix}`;
  }

  #findWildcard(host: string): RouteRecord | undefined {
    if (host.charCodeAt(0) === 0x5b) return undefined; // an IPv6 literal has no labels
    for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) {
      const route = this.#wildcards.get(host.slice(dot));
      if (route !== undefined) return route;
    }
    return undefined;
  }

  #put(route: RouteRecord, orphans: Set<string>): void {
    this.#remove(route.host, orphans);
    const endpoints = route.endpoints.map((endpoint) => this.#intern(endpoint));
    const interned = Object.freeze({ host: route.host, endpoints: Object.freeze(endpoints) });
    const [map, key] = this.#place(route.host);
    map.set(key, interned);
  }

  #remove(host: string, orphans: Set<string>): void {
    const [map, key] = this.#place(host);
    const route = map.get(key);
    if (route === undefined) return;
    map.delete(key);
    for (const endpoint of route.endpoints) this.#release(endpoint.key, orphans);
  }

  #place(host: string): [map: Map<string, RouteRecord>, key: string] {
    return host.startsWith("*.") ? [this.#wildcards, host.slice(1)] : [this.#exact, host];
  }

  #intern(endpoint: EndpointRecord): EndpointRecord {
    const known = this.#endpoints.get(endpoint.key);
    if (known !== undefined && known.record.region === endpoint.region) {
      known.routes++;
      return known.record;
    }
    const record = Object.freeze({ ...endpoint });
    this.#endpoints.set(endpoint.key, { record, routes: (known?.routes ?? 0) + 1 });
    return record;
  }

  #release(key: string, orphans: Set<string>): void {
    const known = this.#endpoints.get(key);
    if (known === undefined || --known.routes > 0) return;
    this.#endpoints.delete(key);
    orphans.add(key);
  }
}
