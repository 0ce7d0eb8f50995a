/** Routes by host, exact names and wildcards apart, and the endpoints that they lead to. */
import { HostIndex } from "./host-index.ts";
import { InternedEndpoints } from "./interned-endpoints.ts";
import type { RouteRecord } from "./record.ts";

export class RouteSet {
  readonly exact: HostIndex<RouteRecord> = new HostIndex();
  /** By what follows the `*`, with its dot: `.example.com`. */
  readonly wildcards: HostIndex<RouteRecord> = new HostIndex();
  readonly endpoints: InternedEndpoints = new InternedEndpoints();

  get size(): number {
    return this.exact.size + this.wildcards.size;
  }

  /** The exact name, else the longest wildcard above it. */
  find(host: string): RouteRecord | undefined {
    const exact = this.exact.get(host);
    return exact !== undefined || this.wildcards.size === 0 ? exact : this.#findWildcard(host);
  }

  has(host: string): boolean {
    return (isWildcard(host) ? this.wildcards.get(suffixOf(host)) : this.exact.get(host)) !== undefined;
  }

  put(route: RouteRecord): void {
    const { host } = route;
    const wildcard = isWildcard(host);
    const index = wildcard ? this.wildcards : this.exact;
    const key = wildcard ? suffixOf(host) : host;
    const before = index.get(key);
    // The endpoints that both have must not be left in between
    index.set(key, this.endpoints.enter(route));
    if (before !== undefined) this.endpoints.leave(before);
  }

  remove(host: string): void {
    const wildcard = isWildcard(host);
    const index = wildcard ? this.wildcards : this.exact;
    const key = wildcard ? suffixOf(host) : host;
    const before = index.get(key);
    if (before === undefined) return;
    index.delete(key);
    this.endpoints.leave(before);
  }

  *hosts(): Iterable<string> {
    for (const [host] of this.exact.entries()) yield host;
    for (const [suffix] of this.wildcards.entries()) yield `*${suffix}`;
  }

  #findWildcard(host: string): RouteRecord | undefined {
    for (let dot = firstDot(host); dot >= 0; dot = host.indexOf(".", dot + 1)) {
      const route = this.wildcards.get(host.slice(dot));
      if (route !== undefined) return route;
    }
    return undefined;
  }
}

export function isWildcard(host: string): boolean {
  return host.startsWith("*.");
}

/** An IPv6 literal has no labels. */
export function firstDot(host: string): number {
  return host.charCodeAt(0) === 0x5b ? -1 : host.indexOf(".");
}

export function suffixOf(wildcard: string): string {
  return wildcard.slice(1);
}
