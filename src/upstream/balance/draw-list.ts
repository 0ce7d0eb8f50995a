/** The endpoints of a service that a request may be drawn from: its VMs with a weight, made ready once for as long as the list lives. */
import type { ServiceEndpoint } from "../../table/policy.ts";
import { keyHash, pairHash } from "../../wire/key-hash.ts";

/** Keys whose winner is remembered, each at one place. */
const KNOWN_KEYS = 4096;

export class DrawList {
  readonly endpoints: readonly ServiceEndpoint[];
  /** Nobody has another weight than the others. */
  readonly even: boolean;
  /** Of the service's turns. */
  readonly turnsName: string;
  /** Of the weights, up to and with each; in the largest unit in which all are whole. */
  readonly #sums: Float64Array;
  #stride: number = 0;
  #hashes: Uint32Array | null = null;
  /** By key hash: the key, and the winner's place + 1; 0: not known. */
  #known: { readonly keys: Uint32Array; readonly winners: Uint32Array } | null = null;

  constructor(all: readonly ServiceEndpoint[]) {
    const endpoints = all.filter(({ kind, weight }) => kind === "vm" && weight > 0);
    let sum = 0;
    this.endpoints = endpoints;
    this.even = endpoints.every(({ weight }) => weight === endpoints[0]!.weight);
    this.turnsName = `turns/${all[0]!.service}`;
    const unit = endpoints.reduce((divisor, { weight }) => greatestDivisor(weight, divisor), 0);
    this.#sums = Float64Array.from(endpoints, ({ weight }) => sum += weight / unit);
  }

  /** Drawn by weight; `lot` in [0, 1). `without`: who is not to be drawn. */
  at(lot: number, without: number = -1): number {
    const sums = this.#sums;
    const all = this.#whole;
    if (without < 0) return this.#placeOf(lot * all);
    const before = without === 0 ? 0 : sums[without - 1]!;
    const weight = sums[without]! - before;
    const at = lot * (all - weight);
    return this.#placeOf(at < before ? at : at + weight);
  }

  /** Whose turn it is when turns stand there, anywhere from 0 on; of the weights 3 and 1 the first has 0 to 2, and the other one 3. */
  turnAt(place: number): number {
    return this.#placeOf(place % this.#whole);
  }

  /**
   * Where turns stand after that. By golden sections of the whole: a round comes by each place once, so it gives each endpoint as many
   * turns as its weight says, and at any moment within it everybody has had his share but for a turn or two.
   */
  afterTurnAt(place: number): number {
    return (place + (this.#stride ||= goldenStride(this.#whole))) % this.#whole;
  }

  get #whole(): number {
    return this.#sums[this.#sums.length - 1]!;
  }

  /** Of a key: the one with the best number, as `Rendezvous` reckons with all of them. */
  winner(key: number): number {
    const { keys, winners } = this.#known ??= { keys: new Uint32Array(KNOWN_KEYS), winners: new Uint32Array(KNOWN_KEYS) };
    const place = key % KNOWN_KEYS;
    if (keys[place] !== key || winners[place] === 0) {
      keys[place] = key;
      winners[place] = this.#findWinner(key) + 1;
    }
    return winners[place]! - 1;
  }

  #findWinner(key: number): number {
    const { endpoints, even } = this;
    const hashes = this.#hashes ??= Uint32Array.from(endpoints, addressHash);
    let winner = 0, best = Infinity;
    for (let i = 0; i < hashes.length; i++) {
      const hash = pairHash(key, hashes[i]!);
      // With equal weights the greatest hash wins
      const number = even ? -hash : rank(hash, endpoints[i]!.weight);
      if (number >= best) continue;
      best = number;
      winner = i;
    }
    return winner;
  }

  /** The first whose sum is above. */
  #placeOf(sum: number): number {
    const sums = this.#sums;
    let low = 0, high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! > sum) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const LISTS: WeakMap<readonly ServiceEndpoint[], DrawList> = new WeakMap();

/** `all`: at least one. */
export function drawListOf(all: readonly ServiceEndpoint[]): DrawList {
  let list = LISTS.get(all);
  if (list === undefined) LISTS.set(all, list = new DrawList(all));
  return list;
}

/** Of the address alone: a service under another name keeps its clients. */
export function addressHash({ address, port }: ServiceEndpoint): number {
  return keyHash(`${address}:${port}`);
}

/** The lowest is the best: -ln(u) / weight, for an even u in (0, 1). */
export function rank(hash: number, weight: number): number {
  return -Math.log((hash + 0.5) / 2 ** 32) / weight;
}

/** How far from the golden section it may be. */
const MOST_OFF = 32;

/**
 * Near a golden section, without a divisor in common with the whole, and of those the one that is like a golden section all the way down: the
 * largest number of its continued fraction says how unevenly a round goes.
 */
export function goldenStride(whole: number): number {
  const ideal = Math.max(1, Math.round(whole * 0.6180339887498949));
  let best = 1, least = Infinity;
  for (let off = 0; off <= MOST_OFF; off++) {
    for (const stride of [ideal - off, ideal + off]) {
      const uneven = stride < 1 ? Infinity : largestQuotient(whole, stride);
      if (uneven >= least) continue;
      least = uneven;
      best = stride;
    }
  }
  return best;
}

/** Of a continued fraction; Infinity where the two have a divisor in common. */
function largestQuotient(one: number, other: number): number {
  let largest = 0;
  while (other > 0) {
    largest = Math.max(largest, Math.floor(one / other));
    [one, other] = [other, one % other];
  }
  return one === 1 ? largest : Infinity;
}

/** That both have in common. */
function greatestDivisor(one: number, other: number): number {
  while (other > 0) [one, other] = [other, one % other];
  return one;
}
