/** Power of two choices: two at random, the less busy of them. Nobody is flooded by all workers at once, as the idlest of all would be. */
import type { ServiceEndpoint } from "../../table/policy.ts";
import type { Balancer, BalanceView, Told, Usable } from "./balancer.ts";
import { type DrawList, drawListOf } from "./draw-list.ts";

/** Draws until a usable one is found. */
const TRIES = 8;

export class PowerOfTwo implements Balancer {
  /** Drawn by weight, and compared by what is under way per weight: without any load the shares are those of the weights. */
  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    const first = draw(offer, view, null);
    const second = draw(offer, view, first);
    told?.(`drawn of ${offer.length}: ${first.key} with ${view.load(first)} under way, ${second.key} with ${view.load(second)}`);
    return lessBusy(first, second, view);
  }

  /** Who is not usable is drawn as if he were, and then again: the others' chances among each other are the same. */
  draw(all: readonly ServiceEndpoint[], view: BalanceView, usable: Usable): ServiceEndpoint | null {
    const list = drawListOf(all);
    if (list.endpoints.length < 2) return null;
    const first = placeOfUsable(list, view, usable, -1);
    const second = first < 0 ? -1 : placeOfUsable(list, view, usable, first);
    return second < 0 ? null : lessBusy(list.endpoints[first]!, list.endpoints[second]!, view);
  }
}

function lessBusy(first: ServiceEndpoint, second: ServiceEndpoint, view: BalanceView): ServiceEndpoint {
  return view.load(second) / view.weight(second) < view.load(first) / view.weight(first) ? second : first;
}

/** -1: not found in a few draws. */
function placeOfUsable(list: DrawList, view: BalanceView, usable: Usable, without: number): number {
  for (let tries = 0; tries < TRIES; tries++) {
    const place = list.at(view.random(), without);
    const endpoint = list.endpoints[place]!;
    if (countsInFull(endpoint, view) && usable(endpoint)) return place;
  }
  return -1;
}

/** Drawn by its whole weight, one that starts slowly counts as often as what is left of that says. */
export function countsInFull(endpoint: ServiceEndpoint, view: BalanceView): boolean {
  const weight = view.weight(endpoint);
  return weight === endpoint.weight || view.random() * endpoint.weight < weight;
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
