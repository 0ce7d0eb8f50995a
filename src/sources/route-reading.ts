/*  Rows become the next revision of the routes: all of them, or those of the names that are read anew.
 *
 *    [forget each name that is read anew] --> add the blocks --> contested? --> settle --> finish
 *
 *  Names come in blocks, one per VM, joined to one text: a million rows would cost the database, the network and us several times as
 *  much as their bytes. A name in its normal form goes into the draft at once. Other spellings of a host are set aside until all
 *  rows are in, because they claim a host that another spelling may claim too: different rows, possibly of different customers.
 *  Then the name that was verified first has the host, and the others are excluded. Rows of the same name are several endpoints.
 *
 *  Everything is worked in slices. A reading changes the state that it began with: one that fails leaves nothing to go on from.
 */
import { inSlices, piecesInSlices } from "../runtime/in-slices.ts";
import { compileEndpoint, type Here, type VmRow } from "../table/compile.ts";
import { isNormalisedDomain, normaliseDomain } from "../table/host-name.ts";
import { Routes, RoutesDraft } from "../table/routes.ts";
import type { Service, Services } from "../table/services.ts";
import { Exclusions } from "./exclusions.ts";

/** The domains on one VM. */
export interface Block {
  readonly vm: VmRow;
  /** Between line feeds; null: none. */
  readonly names: string | null;
  /** Rows without a name. */
  readonly nameless: number;
}

/** What a reading ends with, and the next one begins with. */
export interface RouteState {
  readonly routes: Routes;
  /** By host that is not only spelled in its normal form: all spellings that lead somewhere, and a normal form that keeps it. */
  readonly spellings: Map<string, readonly string[]>;
  readonly exclusions: Exclusions;
}

export interface ReadingTools {
  readonly services: Services;
  readonly here: Here;
  /** What a first reading shares with. */
  readonly like?: () => Routes;
  /** Called after much was read, or worked in; may take its time. Absent where nothing may. */
  readonly tidy?: () => void;
}

/** Line feeds end names in a block; a name that holds one is none. */
export const BREAK = "\n";

/** Names between two looks at the clock, divided by the 64 pieces of `inSlices`. */
const NAMES_PER_PIECE = 16;
/** Worth tidying up after: some 10 MB. */
const MANY_ROWS = 200_000;
/** Hosts in another spelling only, up to which their normal forms are asked for: a platform may spell all its names in capitals. */
const MOST_ABSENT = 10_000;
/** What it costs to make the service of a VM. */
const NAMES_PER_BLOCK = 8;

export class RouteReading {
  readonly #tools: ReadingTools;
  /** What is changed; null: everything is read. */
  readonly #base: RouteState | null;
  /** What was last said, with which as much as possible is to be the same. */
  readonly #before: RouteState | null;
  readonly #spellings: Map<string, readonly string[]>;
  readonly #exclusions: Exclusions;
  readonly #forgotten: Set<string> = new Set();
  /** Of a reading of everything: a route for each row in its normal form, the last one of a name. */
  #routes: Routes;
  /** Services of hosts that are not, or not yet, in `#routes`. */
  readonly #services: Map<string, Service> = new Map();
  /** By host and spelling: what is not in its normal form. */
  readonly #claims: Map<string, Map<string, Service>> = new Map();
  readonly #merged: Map<Service, Map<Service, Service>> = new Map();

  constructor(tools: ReadingTools, base: RouteState | null, before: RouteState | null) {
    this.#tools = tools;
    this.#base = base;
    this.#before = before;
    this.#routes = base?.routes ?? Routes.none;
    this.#spellings = base?.spellings ?? new Map();
    this.#exclusions = base?.exclusions ?? new Exclusions();
  }

  /** The other names whose rows must be read with those of this name, because they claim the same host. */
  siblings(name: string): readonly string[] {
    const host = hostOf(name);
    if (host === null) return [];
    const spellings = this.#spellings.get(host) ?? (host !== name && this.#routes.get(host) !== undefined ? [host] : []);
    return spellings.filter((spelling) => spelling !== name);
  }

  /** Before its rows, if any are left, are added. */
  forget(name: string): void {
    this.#exclusions.forget(name);
    const host = hostOf(name);
    if (host === null) return;
    this.#forgotten.add(host);
    this.#spellings.delete(host);
  }

  /** All blocks that there are, at once. */
  async add(blocks: readonly Block[]): Promise<void> {
    if (this.#base === null) return await this.#addAll(blocks);
    await this.#each(blocks, (names, start, end, service) => this.#merge(names.slice(start, end), service));
  }

  /**
   * Names that claim the same hosts: `settle` wants to know who was first. The normal form of a host is asked for wherever another
   * spelling leads somewhere: its owner may be between two deployments.
   */
  async contested(): Promise<string[]> {
    const names: string[] = [];
    const asksForAbsent = this.#claims.size <= MOST_ABSENT;
    await inSlices(this.#claims, ([host, claims]) => {
      const normal = this.#services.get(host) ?? (this.#base === null ? this.#routes.get(host) : undefined);
      if (normal !== undefined) claims.set(host, normal);
      else if (asksForAbsent) names.push(host);
      if (claims.size > 1 || normal === undefined && asksForAbsent) names.push(...claims.keys());
    });
    return names;
  }

  /** `first`: contested names, the first to be verified first. */
  async settle(first: readonly string[]): Promise<void> {
    const ranks = new Map(first.map((name, rank) => [name, rank]));
    await inSlices(this.#claims, ([host, claims]) => {
      const names = [...claims.keys()];
      if (!claims.has(host) && ranks.has(host)) names.push(host);
      const owner = names.reduce((best, name) => rankOf(ranks, name) < rankOf(ranks, best) ? name : best);
      const service = claims.get(owner);
      if (service !== undefined) this.#services.set(host, service);
      this.#spellings.set(host, names);
      for (const name of claims.keys()) if (name !== owner) this.#excludeFor(owner, name, host);
    });
  }

  async finish(): Promise<RouteState> {
    const before = this.#before;
    const draft = this.#routes.draft();
    await inSlices(this.#forgotten, (host) => {
      if (!this.#services.has(host)) draft.remove(host);
    });
    await inSlices(this.#services, ([host, service]) => draft.put(host, service));
    const routes = await piecesInSlices(draft.finishing(before?.routes ?? this.#tools.like?.()));
    if (before !== null && before.exclusions !== this.#exclusions) this.#exclusions.resemble(before.exclusions);
    return { routes, spellings: this.#spellings, exclusions: this.#exclusions };
  }

  /** A draft that is asked while it is written is slow, so hosts with several rows are looked for when it is done. */
  async #addAll(blocks: readonly Block[]): Promise<void> {
    const draft = new RoutesDraft();
    const { tidy = () => {} } = this.#tools;
    let rows = 0;
    await this.#each(blocks, (names, start, end, service) => {
      draft.put(names, service, start, end);
      if (++rows % MANY_ROWS === 0) tidy();
    });
    this.#routes = await piecesInSlices(draft.finishing(this.#before?.routes ?? this.#tools.like?.()));
    if (rows > this.#routes.size) await this.#addSeveral(blocks);
  }

  async #addSeveral(blocks: readonly Block[]): Promise<void> {
    await inSlices(
      this.#rowsOf(blocks, (names, start, end, service) => {
        if (typeof service === "string" || !isNormalisedDomain(names, start, end)) return;
        const host = names.slice(start, end);
        const last = this.#routes.get(host)!;
        if (last === service) return;
        if (!this.#services.has(host)) this.#services.set(host, last);
        this.#merge(host, service);
      }),
      () => {},
    );
  }

  /** Those in their normal form; claims and exclusions are noted. */
  async #each(
    blocks: readonly Block[],
    enter: (names: string, start: number, end: number, service: Service) => void,
  ): Promise<void> {
    for (const { nameless } of blocks) this.#exclusions.addNameless(nameless);
    await inSlices(
      this.#rowsOf(blocks, (names, start, end, service) => {
        if (typeof service === "string") this.#refuse(names.slice(start, end), service);
        else if (isNormalisedDomain(names, start, end)) enter(names, start, end, service);
        else this.#claim(names.slice(start, end), service);
      }),
      () => {},
    );
  }

  /** Calls `row` for each name, with the service of its VM or the reason why there is none; in pieces. */
  *#rowsOf(
    blocks: readonly Block[],
    row: (names: string, start: number, end: number, service: Service | string) => void,
  ): Iterable<void> {
    let left = NAMES_PER_PIECE;
    for (const { vm, names } of blocks) {
      const endpoint = compileEndpoint(vm, this.#tools.here);
      const service = typeof endpoint === "string" ? endpoint : this.#tools.services.of([endpoint]);
      left -= NAMES_PER_BLOCK;
      for (let start = 0, end = 0; names !== null && start <= names.length; start = end + 1) {
        end = endOfName(names, start);
        row(names, start, end, service);
        if (--left > 0) continue;
        left = NAMES_PER_PIECE;
        yield;
      }
    }
  }

  /** It is not in its normal form: that may belong to another. */
  #claim(name: string, service: Service): void {
    const host = normaliseDomain(name);
    if (host === null) return this.#refuse(name, "");
    const claims = this.#claims.get(host);
    if (claims === undefined) this.#claims.set(host, new Map([[name, service]]));
    else claims.set(name, this.#both(claims.get(name), service));
  }

  #merge(host: string, service: Service): void {
    this.#services.set(host, this.#both(this.#services.get(host), service));
  }

  #both(known: Service | undefined, added: Service): Service {
    if (known === undefined || known === added) return added;
    let merged = this.#merged.get(known);
    if (merged === undefined) this.#merged.set(known, merged = new Map());
    let service = merged.get(added);
    if (service === undefined) {
      service = this.#tools.services.of([...known.endpoints, ...added.endpoints]);
      merged.set(added, service);
    }
    return service;
  }

  #refuse(domain: string, reason: string): void {
    const host = hostOf(domain);
    this.#exclusions.add({ domain, host, code: "bad_row", reason: host === null ? "is not a host name" : reason });
  }

  #excludeFor(owner: string, domain: string, host: string): void {
    this.#exclusions.add({
      domain,
      host,
      code: "conflict",
      reason: `its host ${host} belongs to "${owner}", which was verified first`,
    });
  }
}

/** What the name is as a host; null: it is none. */
function hostOf(name: string): string | null {
  return isNormalisedDomain(name) ? name : normaliseDomain(name);
}

function rankOf(ranks: ReadonlyMap<string, number>, name: string): number {
  return ranks.get(name) ?? Infinity;
}

function endOfName(names: string, start: number): number {
  const end = names.indexOf(BREAK, start);
  return end < 0 ? names.length : end;
}

export function* namesOf(blocks: Iterable<Block>): Iterable<string> {
  for (const { names } of blocks) {
    for (let start = 0, end = 0; names !== null && start <= names.length; start = end + 1) {
      end = endOfName(names, start);
      yield names.slice(start, end);
    }
  }
}
