/*  The same endpoint for the same key, as far as it goes (highest random weight, "rendezvous"): of every endpoint and the key together a
 *  number is made, and the endpoint with the best one wins. When one of N endpoints goes, only its own keys move, 1/N of all, and they come
 *  back with it; nothing depends on the order of the endpoints or on who asks. No ring has to be kept, so the weights may change by the
 *  second (slow start, drain). The price is a number per endpoint and request: 10 us for 500; who wins among all of them is remembered for the keys
 *  of last time.
 *
 *  The number is -ln(u) / weight for an even u in (0, 1): the first event of a process with that rate, so the shares are the weights.
 */
import type { ServiceEndpoint } from "../../table/policy.ts";
import { pairHash } from "../../wire/key-hash.ts";
import type { Balancer, BalanceView, Told, Usable } from "./balancer.ts";
import { addressHash, drawListOf, rank } from "./draw-list.ts";
import type { PowerOfTwo } from "./power-of-two.ts";

export class Rendezvous implements Balancer {
  readonly #withoutKey: PowerOfTwo;
  readonly #hashes: WeakMap<ServiceEndpoint, number> = new WeakMap();

  constructor(withoutKey: PowerOfTwo) {
    this.#withoutKey = withoutKey;
  }

  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    // They must not all go to one endpoint
    if (view.keyHash === null) return this.#withoutKey.choose(offer, view, told);
    let chosen = offer[0]!;
    let best = Infinity;
    for (const endpoint of offer) {
      const number = rank(pairHash(view.keyHash, this.#hashOf(endpoint)), view.weight(endpoint));
      if (number >= best) continue;
      best = number;
      chosen = endpoint;
    }
    told?.(`by hash, of ${offer.length}`);
    return chosen;
  }

  /** Who wins against all wins against those of them that are usable. */
  draw(all: readonly ServiceEndpoint[], view: BalanceView, usable: Usable): ServiceEndpoint | null {
    if (view.keyHash === null) return this.#withoutKey.draw(all, view, usable);
    const list = drawListOf(all);
    const winner = list.endpoints.length === 0 ? undefined : list.endpoints[list.winner(view.keyHash)];
    // One that starts slowly has won only with its whole weight
    return winner !== undefined && view.weight(winner) === winner.weight && usable(winner) ? winner : null;
  }

  #hashOf(endpoint: ServiceEndpoint): number {
    let hash = this.#hashes.get(endpoint);
    if (hash === undefined) this.#hashes.set(endpoint, hash = addressHash(endpoint));
    return hash;
  }
}
