/*  The interchangeable endpoints that a route leads to. Each distinct list exists once, however many of a million domains lead there,
 *  so that two routes lead to the same place exactly if they hold the same object. It is kept as long as anybody else holds it.
 */
import type { EndpointRecord } from "./record.ts";

/** Frozen, and its endpoints with it. */
export interface Service {
  /** In a fixed order; never empty. */
  readonly endpoints: readonly EndpointRecord[];
}

/** Makes services of lists of endpoints. */
export class Services {
  readonly #services: Interned<Service> = new Interned();
  readonly #endpoints: Interned<EndpointRecord> = new Interned();

  /** How many are remembered: those in use, and others for a while. */
  get size(): number {
    return this.#services.size;
  }

  /** The endpoints in any order, possibly some of them twice. */
  of(endpoints: readonly EndpointRecord[]): Service {
    const ordered = endpoints.length === 1 ? endpoints : inOrder(endpoints);
    return this.#services.of(ordered.map(identity).join(" "), () => ({
      endpoints: Object.freeze(ordered.map((endpoint) => this.#endpoints.of(identity(endpoint), () => ({ ...endpoint })))),
    }));
  }
}

/** One frozen object per key, as long as anybody holds it. */
class Interned<Value extends object> {
  readonly #values: Map<string, WeakRef<Value>> = new Map();
  readonly #collected: FinalizationRegistry<string> = new FinalizationRegistry((key) => this.#forget(key));

  get size(): number {
    return this.#values.size;
  }

  of(key: string, make: () => Value): Value {
    const known = this.#values.get(key)?.deref();
    if (known !== undefined) return known;
    const value = Object.freeze(make());
    this.#values.set(key, new WeakRef(value));
    this.#collected.register(value, key);
    return value;
  }

  /** Unless it has been made anew meanwhile. */
  #forget(key: string): void {
    if (this.#values.get(key)?.deref() === undefined) this.#values.delete(key);
  }
}

function inOrder(endpoints: readonly EndpointRecord[]): EndpointRecord[] {
  return [...new Map(endpoints.map((endpoint) => [identity(endpoint), endpoint])).values()].sort(inFixedOrder);
}

function identity({ key, region }: EndpointRecord): string {
  return `${key}@${region}`;
}

/** By region, then address and port; plain comparison, the same on every machine. */
function inFixedOrder(a: EndpointRecord, b: EndpointRecord): number {
  if (a.region !== b.region) return a.region < b.region ? -1 : 1;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
