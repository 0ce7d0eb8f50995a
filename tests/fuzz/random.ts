/** Chance that can be repeated: the same seed gives the same choices on every runtime. */

export class Random {
  #state: number;

  /** `parts`: whatever names the sequence, such as a seed and the number of a case. */
  constructor(...parts: readonly number[]) {
    this.#state = 0x9e3779b9;
    for (const part of parts) {
      this.#state = Math.imul(this.#state ^ part, 0x85ebca6b) + Math.floor(part / 0x100000000) | 0;
      this.#next();
    }
  }

  /** 0 to `below` - 1. */
  int(below: number): number {
    return Math.floor(this.#next() * below);
  }

  chance(share: number): boolean {
    return this.#next() < share;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!;
  }

  /** Up to `most` things in a row; few are likelier than many. */
  several<T>(most: number, make: () => T): T[] {
    const made: T[] = [];
    while (made.length < most && this.chance(0.6)) made.push(make());
    return made;
  }

  /** mulberry32 (Tommy Ettinger, public domain): small, and good enough to choose. */
  #next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  }
}
