/*  In turn, smoothly: of the weights 5, 1, 1 comes a a b a c a a, not a a a a a b c. Every endpoint saves up its weight per request; the one
 *  that has saved most takes the request and pays what all together have saved by it (nginx's algorithm). With equal weights this is
 *  round-robin.
 *
 *  What an endpoint has saved is kept while it is away for a moment, and it never saves while it is not offered: one that comes back gets
 *  no burst of what it has missed. The first savings are random, or all workers would begin with the same endpoint.
 */
import type { ServiceEndpoint } from "../../table/policy.ts";
import type { Balancer, BalanceView, Told } from "./balancer.ts";

/** Endpoints that are not offered are forgotten when there are so many more than those that are. */
const KEPT = 64;

export class SmoothWeighted implements Balancer {
  readonly #weightOf: (endpoint: ServiceEndpoint, view: BalanceView) => number;
  readonly #saved: Map<string, number> = new Map();

  constructor(weightOf: (endpoint: ServiceEndpoint, view: BalanceView) => number) {
    this.#weightOf = weightOf;
  }

  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    let chosen = offer[0]!;
    let most = -Infinity, together = 0;
    for (const endpoint of offer) {
      const weight = this.#weightOf(endpoint, view);
      const saved = (this.#saved.get(endpoint.key) ?? weight * view.random()) + weight;
      if (!view.onlooker) this.#saved.set(endpoint.key, saved);
      together += weight;
      if (saved <= most) continue;
      most = saved;
      chosen = endpoint;
    }
    if (!view.onlooker) this.#pay(chosen, most - together, offer);
    told?.(`its turn among ${offer.length}`);
    return chosen;
  }

  #pay(chosen: ServiceEndpoint, left: number, offer: readonly ServiceEndpoint[]): void {
    this.#saved.set(chosen.key, left);
    if (this.#saved.size <= offer.length + KEPT) return;
    const offered = new Set(offer.map(({ key }) => key));
    for (const key of this.#saved.keys()) if (!offered.has(key)) this.#saved.delete(key);
  }
}

/** All the same but for what counts of them now. */
export function equalWeights(endpoint: ServiceEndpoint, view: BalanceView): number {
  return view.weight(endpoint) / endpoint.weight;
}
