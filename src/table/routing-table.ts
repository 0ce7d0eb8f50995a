/*  The routing table of a worker: which service answers for a host, now and a moment ago.
 *
 *  A revision is made aside, by a draft of the routes or of nothing, and comes into force by one assignment; a request keeps the service
 *  that it has found. So no lookup sees half of a revision, and none waits for one.
 */
import { Policies } from "./policies.ts";
import { RecentRoutes } from "./recent-routes.ts";
import { Routes } from "./routes.ts";
import type { Service } from "./services.ts";

export class RoutingTable {
  /** 0 until the first table is loaded. */
  revision = 0;
  routes: Routes = Routes.none;
  /** What routes say beyond their VMs. Swapped whole, like the routes. */
  policies: Policies = Policies.none;
  readonly #recent: RecentRoutes = new RecentRoutes();

  get loaded(): boolean {
    return this.revision > 0;
  }

  get size(): number {
    return this.routes.size;
  }

  /** The service of a normalised host: of its exact name, else of the longest wildcard above it. */
  find(host: string): Service | undefined {
    return this.routes.find(host);
  }

  /** The name or wildcard under which it is found. */
  match(host: string): string | undefined {
    return this.routes.match(host);
  }

  /** What the host led to in the last ten seconds, other than what it leads to now; the last one first. */
  previous(host: string): readonly Service[] {
    return this.#recent.previous(host, this.routes.find(host));
  }

  /** Puts routes into force. */
  commit(routes: Routes, revision: number, nowMs: number): void {
    if (!this.loaded || routes !== this.routes) this.#recent.supersede(routes, nowMs);
    this.routes = routes;
    this.revision = revision;
  }

  /** When `expire` has something to do; Infinity: not before the next commit. */
  get expiryAtMs(): number {
    return this.#recent.dueAtMs;
  }

  /**
   * Lets go of what is too old for `previous`, looking at up to `most` changes. Answers keys of endpoints that no route has led to for ten
   * seconds.
   */
  expire(nowMs: number, most: number): readonly string[] {
    return this.#recent.work(nowMs, most);
  }
}
