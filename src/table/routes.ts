/*  Which service each host leads to: one revision of the routing table, immutable, sharing with others what did not change.
 *
 *      Routes    1024 pages, by the first 10 bits of a host's hash (host-hash)
 *      Page      some buckets of 12 to 24 routes, by the next bits; a bucket is a few bytes per route and one list of services (page)
 *
 *  A draft takes over all pages of its base and replaces those that it changes, and of them only the buckets that it changes (page-draft).
 *  So two revisions differ where they hold different objects, and nowhere else has to be looked.
 */
import { hashHost } from "./host-hash.ts";
import { hostAt, Page, recordEnd, sharing, TAG_BITS } from "./page.ts";
import { pageChanges, visitChanges } from "./page-changes.ts";
import { PageDraft } from "./page-draft.ts";
import type { Service } from "./services.ts";

/** What a host led to, and what it leads to; absent on one side: the route is new, or gone. */
export interface RouteChange {
  readonly host: string;
  readonly before: Service | undefined;
  readonly after: Service | undefined;
}

const PAGE_BITS = 10;
const PAGES = 1 << PAGE_BITS;

export class Routes {
  static readonly none: Routes = new Routes(new Array(PAGES).fill(Page.empty));
  readonly #pages: readonly Page[];
  readonly size: number;
  /** How many of the hosts are wildcards. */
  readonly wildcards: number;

  /** Made by `RoutesDraft.finish`. */
  constructor(pages: readonly Page[]) {
    this.#pages = pages;
    let size = 0, wildcards = 0;
    for (const page of pages) {
      size += page.size;
      wildcards += page.wildcards;
    }
    this.size = size;
    this.wildcards = wildcards;
  }

  /** Exactly this host, normalised; a wildcard's is `*.example.com`. */
  get(host: string): Service | undefined {
    const hash = hashHost(host, 0, host.length);
    return this.#pages[placeOf(hash)]!.find(tagOf(hash), host);
  }

  /** Its exact name's, else that of the longest wildcard above it. */
  find(host: string): Service | undefined {
    const exact = this.get(host);
    if (exact !== undefined || this.wildcards === 0) return exact;
    const pattern = this.#wildcardAbove(host);
    return pattern === undefined ? undefined : this.get(pattern);
  }

  /** The name or wildcard under which `find` finds it. */
  match(host: string): string | undefined {
    return this.get(host) !== undefined ? host : this.#wildcardAbove(host);
  }

  #wildcardAbove(host: string): string | undefined {
    if (host.charCodeAt(0) === 0x5b) return undefined; // `[`: an IPv6 literal has no labels
    for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) {
      const pattern = `*${host.slice(dot)}`;
      if (this.get(pattern) !== undefined) return pattern;
    }
    return undefined;
  }

  /** In no particular order. */
  *entries(): IterableIterator<[host: string, service: Service]> {
    for (const page of this.#pages) {
      for (let place = 0; place < page.names.length; place++) {
        const names = page.names[place]!;
        const services = page.services[place]!;
        for (let at = 0, index = 0; at < names.length; at = recordEnd(names, at)) yield [hostAt(names, at), services[index++]!];
      }
    }
  }

  /** Gathers hosts whose service `leads` there, up to `most`, page by page; in order of nothing. */
  *gatherHosts(leads: (service: Service) => boolean, most: number, hosts: string[]): Generator<void, void> {
    for (const page of this.#pages) {
      for (let place = 0; place < page.names.length; place++) {
        const services = page.services[place]!;
        if (!services.some(leads)) continue;
        const names = page.names[place]!;
        for (let at = 0, index = 0; at < names.length; at = recordEnd(names, at), index++) {
          if (leads(services[index]!) && hosts.push(hostAt(names, at)) >= most) return;
        }
      }
      yield;
    }
  }

  /** The next revision, to begin with the same. */
  draft(): RoutesDraft {
    return new RoutesDraft(this);
  }

  /** For this folder. */
  static pagesOf(routes: Routes): readonly Page[] {
    return routes.#pages;
  }
}

/** A revision that is being made. Given up by dropping it. To ask it between two puts makes both dearer: 2 us instead of 0.3. */
export class RoutesDraft {
  readonly #base: Routes;
  readonly #pages: Page[];
  readonly #drafts: (PageDraft | undefined)[] = [];
  /** Where there are drafts. */
  readonly #places: number[] = [];

  constructor(base: Routes = Routes.none) {
    this.#base = base;
    this.#pages = Routes.pagesOf(base).slice();
  }

  get size(): number {
    let size = 0;
    for (let place = 0; place < PAGES; place++) size += (this.#drafts[place] ?? this.#pages[place]!).size;
    return size;
  }

  get(host: string): Service | undefined {
    const hash = hashHost(host, 0, host.length);
    return (this.#drafts[placeOf(hash)] ?? this.#pages[placeOf(hash)]!).find(tagOf(hash), host);
  }

  /** The host may be a part of a longer text: its characters [start, end). */
  put(host: string, service: Service, start = 0, end: number = host.length): void {
    this.#note(host, service, start, end);
  }

  remove(host: string, start = 0, end: number = host.length): void {
    this.#note(host, null, start, end);
  }

  /** Ends the draft. `like`: another revision, with which equal pieces are to be shared wherever the draft came from. */
  finish(like?: Routes): Routes {
    const pieces = this.finishing(like);
    for (;;) {
      const piece = pieces.next();
      if (piece.done === true) return piece.value;
    }
  }

  /** Likewise, in pieces of some 0.2 ms, between which others may have their turn. */
  *finishing(like: Routes = this.#base): Generator<void, Routes> {
    const pages = this.#pages;
    for (const place of this.#places) {
      pages[place] = this.#drafts[place]!.finish();
      this.#drafts[place] = undefined;
      yield;
    }
    const made = isSame(pages, this.#base) ? this.#base : new Routes(pages);
    if (like === this.#base) return made;
    const likePages = Routes.pagesOf(like);
    const sharedPages: Page[] = [];
    for (let place = 0; place < PAGES; place++) {
      sharedPages.push(sharing(pages[place]!, likePages[place]!));
      yield;
    }
    return isSame(sharedPages, like) ? like : isSame(sharedPages, made) ? made : new Routes(sharedPages);
  }

  #note(text: string, service: Service | null, start: number, end: number): void {
    const hash = hashHost(text, start, end);
    const place = placeOf(hash);
    let draft = this.#drafts[place];
    if (draft === undefined) {
      draft = this.#drafts[place] = new PageDraft(this.#pages[place]!);
      this.#places.push(place);
    }
    draft.note(tagOf(hash), text, start, end, service);
  }
}

function isSame(pages: readonly Page[], routes: Routes): boolean {
  const others = Routes.pagesOf(routes);
  for (let place = 0; place < PAGES; place++) if (pages[place] !== others[place]) return false;
  return true;
}

/** What differs, host by host, in no particular order. Costs what differs where one of them was drafted or finished like the other. */
export function* changes(before: Routes, after: Routes): IterableIterator<RouteChange> {
  if (before === after) return;
  const pagesBefore = Routes.pagesOf(before);
  const pagesAfter = Routes.pagesOf(after);
  for (let i = 0; i < PAGES; i++) {
    if (pagesBefore[i] === pagesAfter[i]) continue;
    for (const change of pageChanges(pagesBefore[i]!, pagesAfter[i]!)) yield change;
  }
}

/** As `changes`, for who only asks where hosts led and lead: in pieces of a page each, without an object for each host. */
export function* serviceChanges(
  before: Routes,
  after: Routes,
  visit: (before: Service | undefined, after: Service | undefined) => void,
): Generator<void, void> {
  if (before === after) return;
  const pagesBefore = Routes.pagesOf(before);
  const pagesAfter = Routes.pagesOf(after);
  for (let i = 0; i < PAGES; i++) {
    if (pagesBefore[i] === pagesAfter[i]) continue;
    visitChanges(pagesBefore[i]!, pagesAfter[i]!, (_names, _at, was, is) => visit(was, is));
    yield;
  }
}

function placeOf(hash: number): number {
  return hash >>> 32 - PAGE_BITS;
}

function tagOf(hash: number): number {
  return hash >>> 32 - PAGE_BITS - TAG_BITS & (1 << TAG_BITS) - 1;
}
