/** What operators have ordered of routes and services, as a worker obeys it. Each order knows its end: nobody may be there to say so. */
import type { DrainPolicy, MaintenancePolicy } from "../table/policy.ts";
import { drainShare, type OrderedKind, type PolicyOrder } from "../table/policy-order.ts";

export class OrdersInForce {
  readonly #wallMs: () => number;
  #orders: ReadonlyMap<string, PolicyOrder> = new Map();

  /** Since 1970, by the wall clock: what is ordered for an hour is over an hour later, whatever restarted meanwhile. */
  constructor(wallMs: () => number = Date.now) {
    this.#wallMs = wallMs;
  }

  take(orders: readonly PolicyOrder[]): void {
    this.#orders = new Map(orders.map((order) => [`${order.kind} ${order.name}`, order]));
  }

  /** null: nothing. */
  maintenance(kind: OrderedKind, name: string): MaintenancePolicy | null {
    return this.#of(kind, name)?.maintenance ?? null;
  }

  /** What of its requests a route or service still takes, 1 to 0. `drain`: as its policy says. */
  share(kind: OrderedKind, name: string, drain: DrainPolicy | null): number {
    const ordered = this.#of(kind, name)?.drain ?? drain;
    return ordered === null ? 1 : drainShare(ordered, this.#wallMs());
  }

  #of(kind: OrderedKind, name: string): PolicyOrder | null {
    if (this.#orders.size === 0) return null;
    const order = this.#orders.get(`${kind} ${name}`);
    return order === undefined || order.untilAtMs !== null && order.untilAtMs <= this.#wallMs() ? null : order;
  }
}
