/** The rate limits of all routes, counted by all workers together; and what answers tell clients of them. */
import { createHash } from "node:crypto";
import type { PolicyRoute } from "../table/policy.ts";
import type { Cells, CellTable } from "../upstream/cell-table.ts";
import type { MatchedRoute } from "./match-route.ts";
import type { LimitVerdict } from "./policy-hooks.ts";
import { limitWords, seePlace, takePlace } from "./rate-limit.ts";
import { clientKey, isAmbiguous, requestKey } from "./request-keys.ts";

/** A client's row, found a moment ago. */
interface KnownRow {
  readonly cells: Cells;
  readonly print: number;
  readonly words: Int32Array;
}

/** Clients of one route whose rows are known; others are looked for. */
const MAX_KNOWN = 1024;
/** Clients make up what they are told apart by. */
const MAX_KNOWN_LENGTH = 128;

/** Of clients that are told apart by the same thing. */
class Rows {
  readonly #cells: CellTable;
  /** What their names begin with. */
  readonly #prefix: string;
  readonly #known: Map<string, KnownRow> = new Map();

  constructor(cells: CellTable, prefix: string) {
    this.#cells = cells;
    this.#prefix = prefix;
  }

  of(client: string, nowMs: number): Int32Array {
    const known = this.#known.get(client);
    if (known !== undefined && this.#cells.keeps(known.cells, known.print, nowMs)) return known.words;
    const name = this.#prefix + client;
    const cells = this.#cells.passing(name);
    const words = limitWords(cells);
    if (client.length > MAX_KNOWN_LENGTH) return words;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(client, { cells, print: this.#cells.printOf(name), words });
    return words;
  }
}

/** Of a route. */
interface RouteRows {
  readonly byKey: Rows;
  /** Of clients that have nothing of the kind. */
  readonly byAddress: Rows;
}

export class RateLimits {
  readonly #cells: CellTable;
  readonly #routes: WeakMap<PolicyRoute, RouteRows> = new WeakMap();

  constructor(cells: CellTable) {
    this.#cells = cells;
  }

  /** A place for the request, if there is one. */
  take(matched: MatchedRoute): LimitVerdict {
    const nowMs = this.#cells.nowMs();
    return takePlace(this.#rowOf(matched, nowMs), matched.route.rateLimit!, nowMs);
  }

  /** What `take` would answer. */
  see(matched: MatchedRoute): LimitVerdict {
    const nowMs = this.#cells.nowMs();
    return seePlace(this.#rowOf(matched, nowMs), matched.route.rateLimit!, nowMs);
  }

  /**
   * Who has nothing of the kind (no such header) counts by address: else leaving it out would be a way around the limit, or all share one.
   * So does who has several.
   */
  #rowOf({ route, view, routeKey }: MatchedRoute, nowMs: number): Int32Array {
    const { key } = route.rateLimit!;
    const rows = this.#rowsOf(route);
    if (key === null) return rows.byKey.of("", nowMs);
    const value = requestKey(key, view, routeKey);
    return value === null || isAmbiguous(key, view)
      ? rows.byAddress.of(clientKey(view.clientAddress), nowMs)
      : rows.byKey.of(value, nowMs);
  }

  #rowsOf(route: PolicyRoute): RouteRows {
    let rows = this.#routes.get(route);
    if (rows !== undefined) return rows;
    const name = nameOf(route), cells = this.#cells;
    const byKey = new Rows(cells, route.rateLimit!.key === null ? name : `${name}by `);
    this.#routes.set(route, rows = { byKey, byAddress: new Rows(cells, `${name}from `) });
    return rows;
  }
}

/**
 * Ids are unique within the file and within a domain's policy. Another window counts anew, another number of requests does not. Hosts may be
 * thousands, and each request's name is hashed whole.
 */
function nameOf({ id, hosts, rateLimit }: PolicyRoute): string {
  const all = hosts.join(",");
  const which = all.length <= 64 ? all : createHash("sha256").update(all).digest("base64url");
  return `limit ${id} ${which} ${rateLimit!.windowMs} `;
}

/** What is the same in the fields of all answers of a route. */
interface FixedTexts {
  readonly limit: number;
  readonly windowMs: number;
  readonly head: string;
  readonly policy: string;
}

let fixed: FixedTexts = fixedTexts(0, 0);

function fixedTexts(limit: number, windowMs: number): FixedTexts {
  const head = `RateLimit-Limit: ${limit}\r\nRateLimit-Remaining: `;
  const policy = `\r\nRateLimit-Policy: "default";q=${limit};w=${Math.ceil(windowMs / 1000)}\r\nRateLimit: "default";r=`;
  return { limit, windowMs, head, policy };
}

/** Field lines, each with CRLF: of draft-ietf-httpapi-ratelimit-headers, and the three that came before it. */
export function limitFields({ allowed, limit, remaining, resetMs, retryAfterMs }: LimitVerdict, windowMs: number): string {
  if (fixed.limit !== limit || fixed.windowMs !== windowMs) fixed = fixedTexts(limit, windowMs);
  const retry = allowed ? "" : `Retry-After: ${Math.max(1, Math.ceil(retryAfterMs / 1000))}\r\n`;
  const left = String(remaining), reset = String(Math.ceil(resetMs / 1000));
  return `${retry}${fixed.head}${left}\r\nRateLimit-Reset: ${reset}${fixed.policy}${left};t=${reset}\r\n`;
}
