/*  Lots for splits without a key. Each is random, but of every hundred in a row one falls into each percent: chance alone would be off by
 *  more than 1 % of 10,000 requests once in twenty runs of an even split.
 */
import type { PolicyRoute } from "../table/policy.ts";

const PARTS = 100;

export class Lots {
  readonly #random: () => number;
  readonly #hats: WeakMap<PolicyRoute, Hat> = new WeakMap();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** In [0, 1). */
  readonly draw = (route: PolicyRoute): number => {
    let hat = this.#hats.get(route);
    if (hat === undefined) this.#hats.set(route, hat = new Hat());
    return (hat.draw(this.#random) + this.#random()) / PARTS;
  };
}

/** Each of the parts once, in any order, then again. */
class Hat {
  readonly #parts: Uint8Array = Uint8Array.from({ length: PARTS }, (_, part) => part);
  #left = PARTS;

  draw(random: () => number): number {
    const parts = this.#parts;
    const place = Math.floor(random() * this.#left--);
    const drawn = parts[place]!;
    parts[place] = parts[this.#left]!;
    parts[this.#left] = drawn;
    if (this.#left === 0) this.#left = PARTS;
    return drawn;
  }
}
