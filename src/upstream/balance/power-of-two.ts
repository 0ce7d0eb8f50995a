/** Power of two choices: two at random, the less busy of them. Nobody is flooded by all workers at once, as the idlest of all would be. */
import type { ServiceEndpoint } from "../../table/policy.ts";
import type { Balancer, BalanceView, Told } from "./balancer.ts";

export class PowerOfTwo implements Balancer {
  /** Drawn by weight, and compared by what is under way per weight: without any load the shares are those of the weights. */
  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    const first = draw(offer, view, null);
    const second = draw(offer, view, first);
    const loadFirst = view.load(first), loadSecond = view.load(second);
    const chosen = loadSecond / view.weight(second) < loadFirst / view.weight(first) ? second : first;
    told?.(`drawn of ${offer.length}: ${first.key} with ${loadFirst} under way, ${second.key} with ${loadSecond}`);
    return chosen;
  }
}

/** At random by weight; not the one that has been drawn. */
function draw(offer: readonly ServiceEndpoint[], view: BalanceView, drawn: ServiceEndpoint | null): ServiceEndpoint {
  let together = 0;
  for (const endpoint of offer) if (endpoint !== drawn) together += view.weight(endpoint);
  let left = view.random() * together;
  let last: ServiceEndpoint | undefined;
  for (const endpoint of offer) {
    if (endpoint === drawn) continue;
    last = endpoint;
    left -= view.weight(endpoint);
    if (left < 0) return endpoint;
  }
  return last!; // by rounding
}
