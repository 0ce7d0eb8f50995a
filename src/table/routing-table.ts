/*  The routing table of a worker: which route answers for a host.
 *
 *  Routes are frozen records; a change replaces a host's record and touches nothing else, and a request that has its route keeps it.
 *  No lookup sees half of a revision, and none waits for one:
 *
 *   - A small delta is applied within one turn of the event loop (`apply`).
 *   - A whole table is built aside, route by route over as many turns as it takes (`begin`), and swapped by one assignment (`commit`).
 *   - A large delta is staged aside likewise; committed, it lies as an overlay in front of the routes, and `settle` moves it down
 *     piece by piece. Lookups ask the overlay first while there is one. A small delta that comes meanwhile goes into the overlay.
 *
 *                begin, put..., commit             settle...
 *     settled ------------------------> unsettled -----------> settled      no final state
 *        '---- apply ----> settled          '---- apply ----> unsettled
 *
 *  The revision counts as changed with `commit`; settling only moves memory about and finds the endpoints that are left without
 *  a route.
 */
import { Overlay } from "./overlay.ts";
import type { RouteDelta, RouteRecord } from "./record.ts";
import { RouteSet } from "./route-set.ts";

/** A revision that is being made, by `put` and `remove`. Given up by dropping it. */
export type TableDraft = RouteSet | Overlay;

const NONE: readonly string[] = [];

export class RoutingTable {
  /** 0 until the first table is loaded. */
  revision = 0;
  #routes: RouteSet = new RouteSet();
  #overlay: Overlay | null = null;
  /** Endpoints that may have been left without a route; still to be looked at. */
  #leaving: Iterator<string> | null = null;

  get loaded(): boolean {
    return this.revision > 0;
  }

  get size(): number {
    return this.#routes.size + (this.#overlay?.growth ?? 0);
  }

  /** Nothing is left to be moved after a commit. */
  get settled(): boolean {
    return this.#overlay === null && this.#leaving === null;
  }

  /** The route of a normalised host: its exact name, else the longest wildcard above it. */
  find(host: string): RouteRecord | undefined {
    return this.#overlay === null ? this.#routes.find(host) : this.#overlay.find(host);
  }

  /** For small deltas. Answers the keys of endpoints that no route leads to any more, as far as they are known at once. */
  apply(delta: RouteDelta, revision: number): readonly string[] {
    const target = this.#overlay ?? this.#routes;
    for (const host of delta.removals) target.remove(host);
    for (const route of delta.upserts) target.put(route);
    this.revision = revision;
    return this.#overlay === null ? this.#orphansOf(this.#routes.endpoints.takeVacated()) : NONE;
  }

  /** A revision made aside: of nothing (`whole`), or of the routes there are. The table must be settled, and not change until `commit`. */
  begin(whole: boolean): TableDraft {
    return whole ? new RouteSet() : new Overlay(this.#routes);
  }

  /** Puts a draft into force. */
  commit(draft: TableDraft, revision: number): void {
    if (draft instanceof Overlay) this.#overlay = draft;
    else {
      this.#leaving = this.#routes.endpoints.keys();
      this.#routes = draft;
    }
    this.revision = revision;
  }

  /** Moves up to `most` pieces after a commit. Answers endpoints that no route leads to any more, as far as they are found. */
  settle(most: number): readonly string[] {
    if (this.#overlay !== null) {
      if (this.#overlay.settle(most)) return NONE;
      this.#overlay = null;
      this.#leaving = this.#routes.endpoints.takeVacated().values();
    }
    const keys: string[] = [];
    for (let left = most; left > 0 && this.#leaving !== null; left--) {
      const next = this.#leaving.next();
      if (next.done === true) this.#leaving = null;
      else keys.push(next.value);
    }
    return this.#orphansOf(keys);
  }

  /** Replaces everything, in one go; also answers the orphaned endpoint keys. */
  replace(routes: readonly RouteRecord[], revision: number): readonly string[] {
    const left = this.settle(Infinity);
    const draft = this.begin(true);
    for (const route of routes) draft.put(route);
    this.commit(draft, revision);
    return this.#orphansOf([...left, ...this.settle(Infinity)]);
  }

  hosts(): Iterable<string> {
    return (this.#overlay ?? this.#routes).hosts();
  }

  #orphansOf(keys: Iterable<string>): string[] {
    return [...keys].filter((key) => !this.#routes.endpoints.has(key));
  }
}
