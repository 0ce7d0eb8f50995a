/*  The interchangeable endpoints that a route leads to. Each distinct list exists once, however many of a million domains lead there,
 *  so that two routes lead to the same place exactly if they hold the same object.
 */
import type { EndpointRecord } from "./record.ts";

/** Frozen, and its endpoints with it. */
export interface Service {
  /** In a fixed order; never empty. */
  readonly endpoints: readonly EndpointRecord[];
}

/** Makes services of lists of endpoints. */
export class Services {
  readonly #services: Map<string, Service> = new Map();
  readonly #endpoints: Map<string, EndpointRecord> = new Map();

  /** The endpoints in any order, possibly some of them twice. */
  of(endpoints: readonly EndpointRecord[]): Service {
    const sorted = [...new Map(endpoints.map((endpoint) => [identity(endpoint), endpoint])).values()].sort(inFixedOrder);
    const key = sorted.map(identity).join(" ");
    let service = this.#services.get(key);
    if (service === undefined) {
      service = Object.freeze({ endpoints: Object.freeze(sorted.map((endpoint) => this.#endpoint(endpoint))) });
      this.#services.set(key, service);
    }
    return service;
  }

  #endpoint(endpoint: EndpointRecord): EndpointRecord {
    const key = identity(endpoint);
    let known = this.#endpoints.get(key);
    if (known === undefined) {
      known = Object.freeze({ ...endpoint });
      this.#endpoints.set(key, known);
    }
    return known;
  }
}

function identity({ key, region }: EndpointRecord): string {
  return `${key}@${region}`;
}

/** By region, then address and port; plain comparison, the same on every machine. */
function inFixedOrder(a: EndpointRecord, b: EndpointRecord): number {
  if (a.region !== b.region) return a.region < b.region ? -1 : 1;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
