/*  Which VM endpoints the table leads to, and how many routes each; kept up to date by deltas.
 *
 *  An endpoint that no route leads to any more is still found until it is released: workers that have not taken the delta yet send
 *  it traffic and ask for its verdict.
 */
import type { EndpointRecord, RouteDelta, RouteRecord } from "../table/record.ts";

interface Entry {
  readonly record: EndpointRecord;
  routes: number;
}

export class EndpointDirectory {
  readonly #entries: Map<string, Entry> = new Map();

  find(key: string): EndpointRecord | undefined {
    return this.#entries.get(key)?.record;
  }

  /** `before` is the table without the delta. Answers the keys that no route leads to any more. */
  apply(delta: RouteDelta, before: ReadonlyMap<string, RouteRecord>): string[] {
    const left = new Set<string>();
    for (const host of delta.removals) this.#count(before.get(host), -1, left);
    for (const route of delta.upserts) {
      this.#count(before.get(route.host), -1, left);
      this.#count(route, 1, left);
    }
    return [...left].filter((key) => this.#isUnused(key));
  }

  /** Forgets those of the keys that still no route leads to. */
  release(keys: readonly string[]): void {
    for (const key of keys) if (this.#isUnused(key)) this.#entries.delete(key);
  }

  #isUnused(key: string): boolean {
    return (this.#entries.get(key)?.routes ?? 0) <= 0;
  }

  #count(route: RouteRecord | undefined, change: 1 | -1, left: Set<string>): void {
    for (const record of route?.endpoints ?? []) {
      if (record.kind !== "vm") continue;
      const entry = this.#entries.get(record.key);
      if (entry === undefined) this.#entries.set(record.key, { record, routes: change });
      else entry.routes += change;
      if (change < 0) left.add(record.key);
    }
  }
}
