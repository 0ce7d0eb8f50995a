/** The rate limits of all routes, counted by all workers together; and what answers tell clients of them. */
import type { KeySource, PolicyRoute } from "../table/policy.ts";
import type { CellTable } from "../upstream/cell-table.ts";
import type { MatchedRoute } from "./match-route.ts";
import type { LimitVerdict } from "./policy-hooks.ts";
import { seePlace, takePlace } from "./rate-limit.ts";
import { clientKey, isAmbiguous, requestKey } from "./request-keys.ts";

export class RateLimits {
  readonly #cells: CellTable;
  /** What the names of a route's rows begin with. */
  readonly #names: WeakMap<PolicyRoute, string> = new WeakMap();

  constructor(cells: CellTable) {
    this.#cells = cells;
  }

  /** A place for the request, if there is one. */
  take(matched: MatchedRoute): LimitVerdict {
    return takePlace(this.#rowOf(matched), matched.route.rateLimit!, this.#cells.nowMs());
  }

  /** What `take` would answer. */
  see(matched: MatchedRoute): LimitVerdict {
    return seePlace(this.#rowOf(matched), matched.route.rateLimit!, this.#cells.nowMs());
  }

  #rowOf(matched: MatchedRoute): Float64Array {
    const { route } = matched;
    let name = this.#names.get(route);
    if (name === undefined) this.#names.set(route, name = nameOf(route));
    const { key } = route.rateLimit!;
    return this.#cells.passing(key === null ? name : name + keyOf(key, matched));
  }
}

/** Ids are unique within the file and within a domain's policy. Another window counts anew, another number of requests does not. */
function nameOf({ id, hosts, rateLimit }: PolicyRoute): string {
  return `limit ${id} ${hosts.join(",")} ${rateLimit!.windowMs} `;
}

/**
 * Who has nothing of the kind (no such header) counts by address: else leaving it out would be a way around the limit, or all share one.
 * So does who has several.
 */
function keyOf(key: KeySource, { view, routeKey }: MatchedRoute): string {
  const value = requestKey(key, view, routeKey);
  return value === null || isAmbiguous(key, view) ? `from ${clientKey(view.clientAddress)}` : `by ${value}`;
}

/** Field lines, each with CRLF: of draft-ietf-httpapi-ratelimit-headers, and the three that came before it. */
export function limitFields({ allowed, limit, remaining, resetMs, retryAfterMs }: LimitVerdict, windowMs: number): string {
  const reset = Math.ceil(resetMs / 1000);
  const retry = allowed ? "" : `Retry-After: ${Math.max(1, Math.ceil(retryAfterMs / 1000))}\r\n`;
  return `${retry}RateLimit-Limit: ${limit}\r\nRateLimit-Remaining: ${remaining}\r\nRateLimit-Reset: ${reset}\r\n` +
    `RateLimit-Policy: "default";q=${limit};w=${Math.ceil(windowMs / 1000)}\r\nRateLimit: "default";r=${remaining};t=${reset}\r\n`;
}
