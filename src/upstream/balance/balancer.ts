/*  Which of the endpoints that can take a request takes it. Balancers order what they are offered: whether an endpoint is healthy, has been
 *  tried or is full has been asked before (`availability`), and nothing with the weight 0 is offered.
 *
 *  Turns are those of all workers together, and so are the requests under way that `least-connections` goes by. `p2c` goes by the attempts
 *  under way in its own worker: it draws by lot anyway. Hashes lead to the same endpoint in all of them.
 */
import type { BalanceKind, ServiceEndpoint, ServicePolicy } from "../../table/policy.ts";
import { CellTable } from "../cell-table.ts";
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

/** Whether an endpoint can take the request. */
export type Usable = (endpoint: ServiceEndpoint) => boolean;

export interface Balancer {
  /** One of the offered ones. */
  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint;
  /**
   * What `choose` would choose of those that are usable, by a look at a few of all: first drawn, then looked at. null: they have to be
   * looked at first, all of them. Absent: always.
   */
  draw?(all: readonly ServiceEndpoint[], view: BalanceView, usable: Usable): ServiceEndpoint | null;
}

const POWER_OF_TWO = new PowerOfTwo();
const LEAST_CONNECTIONS = new LeastConnections();
const RENDEZVOUS = new Rendezvous(POWER_OF_TWO);

/** Those that take turns have to be told also of what there is no choice about. */
export function takesTurns(balance: BalanceKind): boolean {
  return balance === "round-robin" || balance === "weighted";
}

export class Balancers {
  readonly #roundRobin: Balancer;
  readonly #weighted: Balancer;

  /** `cells`: where turns are kept. */
  constructor(cells: CellTable = new CellTable()) {
    this.#roundRobin = new SmoothWeighted(equalWeights, cells);
    this.#weighted = new SmoothWeighted((endpoint, view) => view.weight(endpoint), cells);
  }

  choose({ balance }: ServicePolicy, offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    if (offer.length === 1 && !takesTurns(balance)) return offer[0]!;
    return this.#of(balance).choose(offer, view, told);
  }

  /** See `Balancer.draw`. */
  draw({ balance }: ServicePolicy, all: readonly ServiceEndpoint[], view: BalanceView, usable: Usable): ServiceEndpoint | null {
    return this.#of(balance).draw?.(all, view, usable) ?? null;
  }

  /** In turn means: whatever the weights. What a slow start leaves of an endpoint's share holds there, too. */
  #of(balance: BalanceKind): Balancer {
    switch (balance) {
      case "p2c":
        return POWER_OF_TWO;
      case "least-connections":
        return LEAST_CONNECTIONS;
      case "ip-hash":
      case "consistent-hash":
        return RENDEZVOUS;
      case "round-robin":
        return this.#roundRobin;
      case "weighted":
        return this.#weighted;
    }
  }
}
