/*  What a reading could not serve, and why. Kept by domain name, so that a name that is read anew loses what was said of it before,
 *  and bounded: a broken import must not fill memory. What comes after the bound is counted only; such a count is right until
 *  names beyond the bound are read anew, and right again with the next reading of everything.
 */
import type { Exclusion } from "./source.ts";

/** Enough to act on. */
const MOST_DETAILS = 10_000;

export class Exclusions {
  readonly #byName: Map<string, Exclusion[]> = new Map();
  #details = 0;
  #beyond = 0;
  #list: readonly Exclusion[] | null = null;

  get count(): number {
    return this.#details + this.#beyond;
  }

  /** By name; the same list until something changes. */
  get list(): readonly Exclusion[] {
    this.#list ??= [...this.#byName.values()].flat().sort(inOrder);
    return this.#list;
  }

  add(exclusion: Exclusion): void {
    if (this.#details >= MOST_DETAILS) {
      this.#beyond++;
      return;
    }
    const known = this.#byName.get(exclusion.domain);
    if (known === undefined) this.#byName.set(exclusion.domain, [exclusion]);
    else known.push(exclusion);
    this.#details++;
    this.#list = null;
  }

  /** Rows without a name: there is nothing else to say of them. */
  addNameless(count: number): void {
    if (count === 0) return;
    this.add({ domain: "", host: null, code: "bad_row", reason: "has no name" });
    this.#beyond += count - 1;
  }

  /** The name will be read anew. */
  forget(name: string): void {
    const known = this.#byName.get(name);
    if (known === undefined) return;
    this.#byName.delete(name);
    this.#details -= known.length;
    this.#list = null;
  }

  names(): Iterable<string> {
    return this.#byName.keys();
  }

  /** Shows the list that was shown before if that says the same. */
  resemble(before: Exclusions): void {
    const own = this.list;
    const list = before.list;
    if (list.length === own.length && list.every((exclusion, at) => isSame(exclusion, own[at]!))) this.#list = list;
  }
}

/** Plain comparison, the same on every machine. */
function inOrder(a: Exclusion, b: Exclusion): number {
  if (a.domain !== b.domain) return a.domain < b.domain ? -1 : 1;
  return a.reason < b.reason ? -1 : a.reason > b.reason ? 1 : 0;
}

function isSame(a: Exclusion, b: Exclusion): boolean {
  return a.domain === b.domain && a.reason === b.reason && a.code === b.code;
}
