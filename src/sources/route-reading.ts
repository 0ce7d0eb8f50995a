/*  Rows become the next revision of the routes: all of them, or those of the names that are read anew.
 *
 *    [forget each name that is read anew] --> add blocks --> contested? --> settle --> finish
 *
 *  Names come in blocks, one per VM, joined to one text: a million rows would cost the database, the network and us several times as
 *  much as their bytes. A name in its normal form goes into the draft at once. Other spellings of a host are set aside until all
 *  rows are in, because they claim a host that another spelling may claim too: different rows, possibly of different customers.
 *  Then the name that was verified first has the host, and the others are excluded. Rows of the same name are several endpoints.
 *
 *  Everything is worked in slices. A reading changes the state that it began with: one that fails leaves nothing to go on from.
 */
import { inSlices } from "../runtime/in-slices.ts";
import { compileEndpoint, type Here, type VmRow } from "../table/compile.ts";
import { isPlainHost, normaliseDomain } from "../table/host-name.ts";
import { type Routes, RoutesDraft } from "../table/routes.ts";
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
  /** By host that is not only spelled in its normal form: all spellings that lead somewhere. */
  readonly spellings: Map<string, readonly string[]>;
  readonly exclusions: Exclusions;
}

export interface ReadingTools {
  readonly services: Services;
  readonly here: Here;
}

/** Line feeds end names in a block; a name that holds one is none. */
export const BREAK = "\n";

export class RouteReading {
  readonly #tools: ReadingTools;
  readonly #draft: RoutesDraft;
  readonly #spellings: Map<string, readonly string[]>;
  readonly #exclusions: Exclusions;
  /** By host and spelling: what is not in its normal form. */
  readonly #claims: Map<string, Map<string, Service>> = new Map();
  readonly #merged: Map<Service, Map<Service, Service>> = new Map();

  /** `base`: null for a reading of everything. */
  constructor(tools: ReadingTools, base: RouteState | null) {
    this.#tools = tools;
    this.#draft = base?.routes.draft() ?? new RoutesDraft();
    this.#spellings = base?.spellings ?? new Map();
    this.#exclusions = base?.exclusions ?? new Exclusions();
  }

  /** The other names whose rows must be read with those of this name, because they claim the same host. */
  siblings(name: string): readonly string[] {
    const host = hostOf(name);
    if (host === null) return [];
    const spellings = this.#spellings.get(host) ?? (host !== name && this.#draft.get(host) !== undefined ? [host] : []);
    return spellings.filter((spelling) => spelling !== name);
  }

  /** Before its rows, if any are left, are added. */
  forget(name: string): void {
    this.#exclusions.forget(name);
    const host = hostOf(name);
    if (host === null) return;
    this.#draft.remove(host);
    this.#spellings.delete(host);
  }

  async add(blocks: Iterable<Block>): Promise<void> {
    let endpoint: Service | string = "";
    const enter = (name: string): void => {
      if (typeof endpoint === "string") this.#refuse(name, endpoint);
      else this.#enter(name, endpoint);
    };
    const opened = (block: Block): void => {
      endpoint = this.#open(block);
    };
    await inSlices(namesOf(blocks, opened), enter);
  }

  /** Names that claim the same hosts: `settle` wants to know who was first. */
  async contested(): Promise<string[]> {
    const names: string[] = [];
    await inSlices(this.#claims, ([host, claims]) => {
      const normal = this.#draft.get(host);
      if (normal !== undefined) claims.set(host, normal);
      if (claims.size > 1) names.push(...claims.keys());
    });
    return names;
  }

  /** `first`: contested names, the first to be verified first. */
  async settle(first: readonly string[]): Promise<void> {
    const ranks = new Map(first.map((name, rank) => [name, rank]));
    await inSlices(this.#claims, ([host, claims]) => {
      const names = [...claims.keys()];
      const owner = names.reduce((best, name) => rankOf(ranks, name) < rankOf(ranks, best) ? name : best);
      this.#draft.put(host, claims.get(owner)!);
      this.#spellings.set(host, names);
      for (const name of names) if (name !== owner) this.#excludeFor(owner, name, host);
    });
  }

  /** `before` is what was last said, with which as much as possible is to be the same. */
  finish(before: RouteState | null): RouteState {
    if (before !== null && before.exclusions !== this.#exclusions) this.#exclusions.resemble(before.exclusions);
    return { routes: this.#draft.finish(before?.routes), spellings: this.#spellings, exclusions: this.#exclusions };
  }

  #open({ vm, nameless }: Block): Service | string {
    this.#exclusions.addNameless(nameless);
    const endpoint = compileEndpoint(vm, this.#tools.here);
    return typeof endpoint === "string" ? endpoint : this.#tools.services.of([endpoint]);
  }

  #enter(name: string, service: Service): void {
    if (isPlainHost(name)) return this.#put(name, service);
    const host = normaliseDomain(name);
    if (host === null) return this.#refuse(name, "");
    if (host === name) return this.#put(host, service);
    const claims = this.#claims.get(host);
    if (claims === undefined) this.#claims.set(host, new Map([[name, service]]));
    else claims.set(name, this.#merge(claims.get(name), service));
  }

  #put(host: string, service: Service): void {
    this.#draft.put(host, this.#merge(this.#draft.get(host), service));
  }

  #merge(known: Service | undefined, added: Service): Service {
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
  return isPlainHost(name) ? name : normaliseDomain(name);
}

function rankOf(ranks: ReadonlyMap<string, number>, name: string): number {
  return ranks.get(name) ?? Infinity;
}

/** One after the other; `opened` is told whose come next. */
export function* namesOf(blocks: Iterable<Block>, opened: (block: Block) => void = () => {}): Iterable<string> {
  for (const block of blocks) {
    opened(block);
    if (block.names !== null) yield* namesIn(block.names);
  }
}

function* namesIn(names: string): Iterable<string> {
  let from = 0;
  for (let end = names.indexOf(BREAK); end >= 0; end = names.indexOf(BREAK, from)) {
    yield names.slice(from, end);
    from = end + 1;
  }
  yield names.slice(from);
}
