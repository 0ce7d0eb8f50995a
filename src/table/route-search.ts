/*  A page of routes in the order of hosts, out of a table that is in the order of hashes, and how many suit.
 *
 *  Every name is looked at once, as the bytes that it is: to search, to compare with the last host of the page before and with the best
 *  that have been found. Only what may be on the page becomes a text. A million routes take some 60 ms, in pieces of 0.1 ms
 *  (tests/bench/route-search.bench.ts), so no order has to be kept beside the table.
 */
import { hostAt, isWildcardAt, type Names, RECORD_HEAD, recordEnd } from "./page.ts";
import { Routes } from "./routes.ts";
import type { Service } from "./services.ts";

export interface RouteWish {
  readonly count: number;
  /** The last host of the page before; empty: the first page. */
  readonly after: string;
  readonly descending: boolean;
  /** Of a host; empty: any. */
  readonly part: string;
  readonly wildcard: boolean | null;
  /** null: any service. */
  readonly suits: ((service: Service) => boolean) | null;
}

export interface RoutesFound {
  /** All that suit. */
  readonly total: number;
  readonly hosts: readonly string[];
  /** There are others behind them. */
  readonly more: boolean;
}

/** Between the pieces others may have their turn; the table is the same to the end. */
export function* searchRoutes(routes: Routes, wish: RouteWish): Generator<void, RoutesFound> {
  const search = new Search(wish);
  for (const page of Routes.pagesOf(routes)) {
    for (let place = 0; place < page.names.length; place++) search.look(page.names[place]!, page.services[place]!);
    yield;
  }
  return search.end();
}

class Search {
  readonly #wish: RouteWish;
  readonly #part: Names;
  readonly #after: Names | null;
  /** Smaller comes first, or larger. */
  readonly #sign: 1 | -1;
  #kept: string[] = [];
  /** What comes behind it is not on the page. */
  #bound: Names | null = null;
  #total = 0;

  constructor(wish: RouteWish) {
    this.#wish = wish;
    this.#part = bytesOf(wish.part);
    this.#after = wish.after === "" ? null : bytesOf(wish.after);
    this.#sign = wish.descending ? -1 : 1;
  }

  look(names: Names, services: readonly Service[]): void {
    const { wildcard, suits } = this.#wish;
    const part = this.#part;
    for (let at = 0, index = 0; at < names.length; at = recordEnd(names, at), index++) {
      if (wildcard !== null && isWildcardAt(names, at) !== wildcard) continue;
      if (suits !== null && !suits(services[index]!)) continue;
      if (part.length > 0 && !contains(names, at, part)) continue;
      this.#total++;
      if (this.#after !== null && compareName(names, at, this.#after) * this.#sign <= 0) continue;
      if (this.#bound !== null && compareName(names, at, this.#bound) * this.#sign >= 0) continue;
      this.#keep(hostAt(names, at));
    }
  }

  end(): RoutesFound {
    const { count } = this.#wish;
    this.#sort();
    return { total: this.#total, hosts: this.#kept.slice(0, count), more: this.#kept.length > count };
  }

  /** One more than the page has, to know whether it is the last. */
  #keep(host: string): void {
    const most = this.#wish.count + 1;
    if (this.#kept.push(host) < 2 * most) return;
    this.#sort();
    this.#kept.length = most;
    this.#bound = bytesOf(this.#kept[most - 1]!);
  }

  #sort(): void {
    this.#kept.sort();
    if (this.#sign < 0) this.#kept.reverse();
  }
}

/** Names are ASCII: what else is asked for is a byte that no name has, and that comes behind all of them. */
function bytesOf(text: string): Names {
  return Uint8Array.from(text, (character) => Math.min(character.charCodeAt(0), 0xff));
}

function contains(names: Names, at: number, part: Names): boolean {
  const start = at + RECORD_HEAD;
  const last = recordEnd(names, at) - part.length;
  const first = part[0];
  for (let i = start; i <= last; i++) {
    if (names[i] !== first) continue;
    let matched = 1;
    while (matched < part.length && names[i + matched] === part[matched]) matched++;
    if (matched === part.length) return true;
  }
  return false;
}

/** Negative, 0 or positive. */
function compareName(names: Names, at: number, other: Names): number {
  const start = at + RECORD_HEAD;
  const length = names[at + 2]!;
  const shorter = length < other.length ? length : other.length;
  for (let i = 0; i < shorter; i++) {
    const difference = names[start + i]! - other[i]!;
    if (difference !== 0) return difference;
  }
  return length - other.length;
}
