/** A page of hosts in order, out of many in no order: they are seen once, and never more than twice the page is kept and sorted. */

export class FirstHosts {
  readonly #count: number;
  readonly #after: string;
  #kept: string[] = [];
  #bound: string | null = null;

  /** The first `count` of those behind `after`. */
  constructor(count: number, after: string) {
    this.#count = count;
    this.#after = after;
  }

  see(host: string): void {
    if (host <= this.#after || (this.#bound !== null && host >= this.#bound)) return;
    if (this.#kept.push(host) < 2 * this.#count) return;
    this.#kept = this.page;
    this.#bound = this.#kept.at(-1) ?? null;
  }

  get page(): string[] {
    return this.#kept.sort().slice(0, this.#count);
  }
}
