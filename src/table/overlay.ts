/*  Changes on top of a set of routes: staged aside, seen by lookups once they are committed, then moved down entry by entry.
 *
 *      put, remove            committed by the table           shift until empty
 *   ------------------> staged ----------------> in front of the set ------------> dropped
 *                                                  ^    '-- put, remove: a small delta meanwhile
 *
 *  Its routes are counted among the users of their endpoints when they are moved down, so a draft that is given up leaves nothing
 *  behind.
 */
import { HostIndex } from "./host-index.ts";
import { InternedEndpoints } from "./interned-endpoints.ts";
import type { RouteRecord } from "./record.ts";
import { firstDot, isWildcard, type RouteSet, suffixOf } from "./route-set.ts";

/** null: the route is gone. */
type Change = RouteRecord | null;

export class Overlay {
  readonly exact: HostIndex<Change> = new HostIndex();
  readonly wildcards: HostIndex<Change> = new HostIndex();
  /** How many routes more there are than in the set below. */
  growth = 0;
  readonly #below: RouteSet;
  /** Those that the set below does not know yet. */
  readonly #fresh: InternedEndpoints = new InternedEndpoints();

  constructor(below: RouteSet) {
    this.#below = below;
  }

  put(route: RouteRecord): void {
    this.#set(route.host, this.#below.endpoints.borrow(route) ?? this.#fresh.enter(route));
  }

  remove(host: string): void {
    this.#set(host, null);
  }

  /** As `RouteSet.find`, through the changes. */
  find(host: string): RouteRecord | undefined {
    const change = this.exact.get(host);
    const exact = change === undefined ? this.#below.exact.get(host) : change;
    return exact ?? this.#findWildcard(host);
  }

  /** Moves up to `most` changes down; whether there may be more. */
  settle(most: number): boolean {
    for (let left = most; left > 0; left--) {
      const exact = this.exact.shift();
      if (exact !== undefined) this.#moveDown(exact[0], exact[1]);
      else {
        const wildcard = this.wildcards.shift();
        if (wildcard === undefined) return false;
        this.#moveDown(`*${wildcard[0]}`, wildcard[1]);
      }
    }
    return true;
  }

  *hosts(): Iterable<string> {
    for (const host of this.#below.hosts()) {
      const change = isWildcard(host) ? this.wildcards.get(suffixOf(host)) : this.exact.get(host);
      if (change === undefined) yield host;
    }
    for (const [host, change] of this.exact.entries()) if (change !== null) yield host;
    for (const [suffix, change] of this.wildcards.entries()) if (change !== null) yield `*${suffix}`;
  }

  #findWildcard(host: string): RouteRecord | undefined {
    for (let dot = firstDot(host); dot >= 0; dot = host.indexOf(".", dot + 1)) {
      const suffix = host.slice(dot);
      const change = this.wildcards.get(suffix);
      const route = change === undefined ? this.#below.wildcards.get(suffix) : change;
      if (route !== undefined && route !== null) return route;
    }
    return undefined;
  }

  #set(host: string, change: Change): void {
    const wildcard = isWildcard(host);
    const index = wildcard ? this.wildcards : this.exact;
    const key = wildcard ? suffixOf(host) : host;
    const before = index.get(key);
    const had = before === undefined ? this.#below.has(host) : before !== null;
    this.growth += Number(change !== null) - Number(had);
    index.set(key, change);
  }

  #moveDown(host: string, change: Change): void {
    const below = this.#below;
    const before = below.size;
    if (change === null) below.remove(host);
    else below.put(change);
    this.growth -= below.size - before;
  }
}
