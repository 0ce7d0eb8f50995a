/*  In turn, smoothly: of the weights 5, 1, 1 comes a a b a c a a, not a a a a a b c. Every endpoint saves up its weight per request; the one
 *  that has saved most takes the request and pays what all together have saved by it (nginx's algorithm). With equal weights this is
 *  round-robin.
 *
 *  What is saved is in cells that all workers share, so that turns are turns whichever of them has the connection. Two that choose at the
 *  same moment may lose a turn. An endpoint never saves while it is not offered, and nobody has saved or owes more than one round: who
 *  comes back, or gets another weight, gets no burst. Who takes a request alone owes it to the others, if they are only late (their first
 *  probe).
 *
 *  Many take turns by one number: a count where they have equal weights, else a place on a line on which each has as much as it weighs
 *  (`DrawList`). Whose turn it is and cannot take it leaves it to one of the others, by lot.
 */
import type { ServiceEndpoint } from "../../table/policy.ts";
import type { CellTable } from "../cell-table.ts";
import type { Balancer, BalanceView, Told, Usable } from "./balancer.ts";
import { type DrawList, drawListOf } from "./draw-list.ts";
import { countsInFull } from "./power-of-two.ts";

/** Draws until a usable one is found. */
const TRIES = 8;

export class SmoothWeighted implements Balancer {
  readonly #weightOf: (endpoint: ServiceEndpoint, view: BalanceView) => number;
  readonly #cells: CellTable;
  readonly #names: WeakMap<ServiceEndpoint, string> = new WeakMap();

  constructor(weightOf: (endpoint: ServiceEndpoint, view: BalanceView) => number, cells: CellTable) {
    this.#weightOf = weightOf;
    this.#cells = cells;
  }

  choose(offer: readonly ServiceEndpoint[], view: BalanceView, told?: Told): ServiceEndpoint {
    let round = 0;
    for (const endpoint of offer) round += this.#weightOf(endpoint, view);
    let chosen = offer[0]!;
    let most = -Infinity;
    for (const endpoint of offer) {
      const cells = this.#cells.of(this.#nameOf(endpoint));
      const saved = within(round, cells[0]!) + this.#weightOf(endpoint, view);
      if (!view.onlooker) cells[0] = saved;
      if (saved <= most) continue;
      most = saved;
      chosen = endpoint;
    }
    if (!view.onlooker) {
      this.#cells.of(this.#nameOf(chosen))[0] = offer.length === 1 ? within(round, most - 2 * round) : most - round;
    }
    told?.(`its turn among ${offer.length}`);
    return chosen;
  }

  draw(all: readonly ServiceEndpoint[], view: BalanceView, usable: Usable): ServiceEndpoint | null {
    const list = drawListOf(all);
    if (list.endpoints.length === 0) return null;
    let endpoint = list.endpoints[this.#turn(list)]!;
    for (let tries = 0; tries < TRIES; tries++) {
      if (countsInFull(endpoint, view) && usable(endpoint)) return endpoint;
      endpoint = list.endpoints[this.#lot(list, view.random())]!;
    }
    return null;
  }

  #turn(list: DrawList): number {
    const cells = this.#cells.of(list.turnsName);
    const at = cells[0]!;
    cells[0] = this.#isEven ? (at + 1) % list.endpoints.length : list.afterTurnAt(at);
    return this.#isEven ? at % list.endpoints.length : list.turnAt(at);
  }

  #lot(list: DrawList, lot: number): number {
    return this.#isEven ? Math.floor(lot * list.endpoints.length) : list.at(lot);
  }

  get #isEven(): boolean {
    return this.#weightOf === equalWeights;
  }

  #nameOf(endpoint: ServiceEndpoint): string {
    let name = this.#names.get(endpoint);
    if (name === undefined) this.#names.set(endpoint, name = `turn/${endpoint.key}`);
    return name;
  }
}

function within(round: number, saved: number): number {
  return Math.min(round, Math.max(-round, saved));
}

/** All the same but for what counts of them now. */
export function equalWeights(endpoint: ServiceEndpoint, view: BalanceView): number {
  return view.weight(endpoint) / endpoint.weight;
}
