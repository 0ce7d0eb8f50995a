/** Which VM endpoints the table leads to, and how many routes each; kept up to date by deltas. */
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
    return [...left].filter((key) => {
      const unused = (this.#entries.get(key)?.routes ?? 0) <= 0;
      if (unused) this.#entries.delete(key);
      return unused;
    });
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
