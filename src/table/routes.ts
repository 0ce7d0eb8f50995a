/** Which service each host leads to: one revision of the routing table, immutable, sharing with others what did not change. */
import type { Service } from "./services.ts";

/** What a host led to, and what it leads to; absent on one side: the route is new, or gone. */
export interface RouteChange {
  readonly host: string;
  readonly before: Service | undefined;
  readonly after: Service | undefined;
}

export class Routes {
  static readonly none: Routes = new Routes(new Map());
  readonly #services: ReadonlyMap<string, Service>;
  /** How many of the hosts are wildcards. */
  readonly wildcards: number;

  /** Made by `RoutesDraft.finish`. */
  constructor(services: ReadonlyMap<string, Service>) {
    this.#services = services;
    let wildcards = 0;
    for (const host of services.keys()) if (host.startsWith("*.")) wildcards++;
    this.wildcards = wildcards;
  }

  get size(): number {
    return this.#services.size;
  }

  /** Exactly this host, normalised; a wildcard's is `*.example.com`. */
  get(host: string): Service | undefined {
    return this.#services.get(host);
  }

  /** In no particular order. */
  entries(): IterableIterator<[host: string, service: Service]> {
    return this.#services.entries() as IterableIterator<[string, Service]>;
  }

  /** The next revision, to begin with the same. */
  draft(): RoutesDraft {
    return new RoutesDraft(this);
  }
}

/** A revision that is being made. Given up by dropping it. */
export class RoutesDraft {
  readonly #services: Map<string, Service>;

  constructor(base: Routes = Routes.none) {
    this.#services = new Map(base.entries());
  }

  get size(): number {
    return this.#services.size;
  }

  get(host: string): Service | undefined {
    return this.#services.get(host);
  }

  put(host: string, service: Service): void {
    this.#services.set(host, service);
  }

  /** Whether it was there. */
  remove(host: string): boolean {
    return this.#services.delete(host);
  }

  /** Ends the draft. `like`: another revision, with which equal pieces are to be shared wherever the draft came from. */
  finish(like?: Routes): Routes {
    return like !== undefined && like.size === this.size && changes(like, new Routes(this.#services)).next().done === true
      ? like
      : new Routes(this.#services);
  }
}

/** What differs, host by host, in no particular order. */
export function* changes(before: Routes, after: Routes): IterableIterator<RouteChange> {
  if (before === after) return;
  for (const [host, service] of after.entries()) {
    const known = before.get(host);
    if (known !== service) yield { host, before: known, after: service };
  }
  for (const [host, service] of before.entries()) {
    if (after.get(host) === undefined) yield { host, before: service, after: undefined };
  }
}
