/** Each endpoint once, however many of a million domains live on it, and how many routes lead there. */
import type { EndpointRecord, RouteRecord } from "./record.ts";

interface Interned {
  readonly record: EndpointRecord;
  /** The list that most routes have: this endpoint and no other. */
  readonly alone: readonly EndpointRecord[];
  routes: number;
}

export class InternedEndpoints {
  readonly #interned: Map<string, Interned> = new Map();
  #vacated: Set<string> = new Set();

  has(key: string): boolean {
    return this.#interned.has(key);
  }

  keys(): Iterator<string> {
    return this.#interned.keys();
  }

  /** The same route, frozen, of interned endpoints, and counted. */
  enter(route: RouteRecord): RouteRecord {
    const { host, endpoints } = route;
    if (endpoints.length !== 1) {
      return Object.freeze({ host, endpoints: Object.freeze(endpoints.map((each) => this.#intern(each).record)) });
    }
    const { alone } = this.#intern(endpoints[0]!);
    return alone === endpoints && Object.isFrozen(route) ? route : Object.freeze({ host, endpoints: alone });
  }

  /** Likewise, but not counted; undefined when its endpoint is not known, or is not the only one. */
  borrow({ host, endpoints }: RouteRecord): RouteRecord | undefined {
    const [only] = endpoints;
    if (endpoints.length !== 1 || only === undefined) return undefined;
    const known = this.#find(only);
    return known === undefined ? undefined : Object.freeze({ host, endpoints: known.alone });
  }

  leave(route: RouteRecord): void {
    for (const { key } of route.endpoints) {
      const interned = this.#interned.get(key);
      if (interned === undefined || --interned.routes > 0) continue;
      this.#interned.delete(key);
      this.#vacated.add(key);
    }
  }

  /** The keys that were left by their last route since the last call; some may have been entered again. */
  takeVacated(): ReadonlySet<string> {
    const vacated = this.#vacated;
    if (vacated.size > 0) this.#vacated = new Set();
    return vacated;
  }

  #intern(endpoint: EndpointRecord): Interned {
    const known = this.#find(endpoint);
    if (known !== undefined) {
      known.routes++;
      return known;
    }
    const record = Object.isFrozen(endpoint) ? endpoint : Object.freeze({ ...endpoint });
    const routes = this.#interned.get(endpoint.key)?.routes ?? 0;
    const interned = { record, alone: Object.freeze([record]), routes: routes + 1 };
    this.#interned.set(endpoint.key, interned);
    return interned;
  }

  /** A key holds everything but the region. */
  #find(endpoint: EndpointRecord): Interned | undefined {
    const known = this.#interned.get(endpoint.key);
    return known?.record.region === endpoint.region ? known : undefined;
  }
}
