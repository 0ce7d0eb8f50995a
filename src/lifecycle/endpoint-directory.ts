/*  Which VM endpoints the table leads to, and how many routes each; kept up to date by changes.
 *
 *  An endpoint that no route leads to any more is still found until it is released: workers that have not taken the change yet send
 *  it traffic and ask for its verdict.
 */
import type { EndpointRecord } from "../table/record.ts";
import type { RouteChange } from "../table/routes.ts";
import type { Service } from "../table/services.ts";

interface Entry {
  readonly record: EndpointRecord;
  routes: number;
}

export class EndpointDirectory {
  readonly #entries: Map<string, Entry> = new Map();
  /** Those that lost a route since they were last asked for. */
  #left: Set<string> = new Set();

  find(key: string): EndpointRecord | undefined {
    return this.#entries.get(key)?.record;
  }

  apply({ before, after }: RouteChange): void {
    this.#count(before, -1);
    this.#count(after, 1);
  }

  /** The keys that no route leads to any more, as far as they were left since the last call. */
  takeUnused(): string[] {
    const unused = [...this.#left].filter((key) => this.#isUnused(key));
    this.#left.clear();
    return unused;
  }

  /** Forgets those of the keys that still no route leads to. */
  release(keys: readonly string[]): void {
    for (const key of keys) if (this.#isUnused(key)) this.#entries.delete(key);
  }

  #isUnused(key: string): boolean {
    return (this.#entries.get(key)?.routes ?? 0) <= 0;
  }

  #count(service: Service | undefined, change: 1 | -1): void {
    for (const record of service?.endpoints ?? []) {
      if (record.kind !== "vm") continue;
      const entry = this.#entries.get(record.key);
      if (entry === undefined) this.#entries.set(record.key, { record, routes: change });
      else entry.routes += change;
      if (change < 0) this.#left.add(record.key);
    }
  }
}
