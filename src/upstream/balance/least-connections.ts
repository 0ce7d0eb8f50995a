/** The endpoint with the fewest attempts under way, per weight; among several, one at random by their weights. */
import type { ServiceEndpoint } from "../../table/policy.ts";
import type { Balancer, BalanceView, Told } from "./balancer.ts";

export class LeastConnections implements Balancer {
  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    let chosen = offer[0]!;
    let least = Infinity, together = 0;
    for (const endpoint of offer) {
      const weight = view.weight(endpoint);
      const load = view.load(endpoint) / weight;
      if (load > least) continue;
      if (load < least) together = 0;
      least = load;
      together += weight;
      // Each of those with the least ends up chosen with the share of its weight
      if (view.random() * together < weight) chosen = endpoint;
    }
    told?.(`the fewest under way of ${offer.length}, by weight: ${view.load(chosen)}`);
    return chosen;
  }
}
