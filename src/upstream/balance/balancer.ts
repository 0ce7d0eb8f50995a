/*  Which of the endpoints that can take a request takes it. Balancers order what they are offered: whether an endpoint is healthy, has been
 *  tried or is full has been asked before (`availability`), and nothing with the weight 0 is offered.
 *
 *  Each worker balances by what it knows: its own turns, and the attempts that are under way in it. Over all workers the shares are the
 *  same; hashes lead to the same endpoint in all of them.
 */
import type { BalanceKind, ServiceEndpoint, ServicePolicy } from "../../table/policy.ts";
import { LeastConnections } from "./least-connections.ts";
import { PowerOfTwo } from "./power-of-two.ts";
import { Rendezvous } from "./rendezvous.ts";
import { equalWeights, SmoothWeighted } from "./smooth-weighted.ts";

/** What balancers look at besides the endpoints. */
export interface BalanceView {
  /** Of what the service's hash key says of the request; null: it says nothing, or nothing is hashed. */
  readonly keyHash: number | null;
  /** Somebody wants to know only: turns stay as they are. */
  readonly onlooker: boolean;
  /** Above 0: the endpoint's weight, as far as it counts now. */
  weight(endpoint: ServiceEndpoint): number;
  /** Attempts under way. */
  load(endpoint: ServiceEndpoint): number;
  /** In [0, 1). */
  random(): number;
}

/** Told why, in a few words. */
export type Told = (why: string) => void;

export interface Balancer {
  /** One of the offered ones, of which there are two at least. */
  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint;
}

const POWER_OF_TWO = new PowerOfTwo();
const LEAST_CONNECTIONS = new LeastConnections();
const RENDEZVOUS = new Rendezvous(POWER_OF_TWO);

/** The balancers of services, each as long as its policy is in force. */
export class Balancers {
  readonly #turns: WeakMap<ServicePolicy, Balancer> = new WeakMap();

  choose(policy: ServicePolicy, offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    if (offer.length === 1) return offer[0]!;
    return this.#of(policy).choose(offer, view, told);
  }

  #of(policy: ServicePolicy): Balancer {
    switch (policy.balance) {
      case "p2c":
        return POWER_OF_TWO;
      case "least-connections":
        return LEAST_CONNECTIONS;
      case "ip-hash":
      case "consistent-hash":
        return RENDEZVOUS;
      case "round-robin":
      case "weighted":
        return this.#turnsOf(policy);
    }
  }

  #turnsOf(policy: ServicePolicy): Balancer {
    let balancer = this.#turns.get(policy);
    if (balancer === undefined) this.#turns.set(policy, balancer = new SmoothWeighted(weightsOf(policy.balance)));
    return balancer;
  }
}

/** In turn means: whatever the weights. What a slow start leaves of an endpoint's share holds there, too. */
function weightsOf(balance: BalanceKind): (endpoint: ServiceEndpoint, view: BalanceView) => number {
  return balance === "round-robin" ? equalWeights : (endpoint, view) => view.weight(endpoint);
}
