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
  /** Of the weights, up to and with each. */
  readonly #sums: Float64Array;
  #hashes: Uint32Array | null = null;
  /** By key hash: the key, and the winner's place + 1; 0: not known. */
  #known: { readonly keys: Uint32Array; readonly winners: Uint32Array } | null = null;

  constructor(all: readonly ServiceEndpoint[]) {
    const endpoints = all.filter(({ kind, weight }) => kind === "vm" && weight > 0);
    let sum = 0;
    this.endpoints = endpoints;
    this.even = endpoints.every(({ weight }) => weight === endpoints[0]!.weight);
    this.turnsName = `turns/${all[0]!.service}`;
    this.#sums = Float64Array.from(endpoints, ({ weight }) => sum += weight);
  }

  /** Drawn by weight; `lot` in [0, 1). `without`: who is not to be drawn. */
  at(lot: number, without: number = -1): number {
    const sums = this.#sums;
    const all = sums[sums.length - 1]!;
    if (without < 0) return this.#placeOf(lot * all);
    const before = without === 0 ? 0 : sums[without - 1]!;
    const weight = this.endpoints[without]!.weight;
    const at = lot * (all - weight);
    return this.#placeOf(at < before ? at : at + weight);
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
