/*  What operators have ordered of routes and services while the proxy runs: maintenance and drains; kept in the state folder, where there
 *  is one. An order ends by the wall clock, if it has an end; workers look at that by themselves (`OrdersInForce`), so nothing has to
 *  happen at that moment here: one that is over is left out of the list, and of the file when that is written next.
 */
import type { Log } from "../observation/log.ts";
import type { DrainPolicy } from "../table/policy.ts";
import type { OrderedKind, PolicyOrder } from "../table/policy-order.ts";
import type { KeptOrders } from "./kept-orders.ts";
import { MOST_ORDERS } from "./order-file.ts";

export interface PolicyOrdersOptions {
  readonly kept: KeptOrders<PolicyOrder>;
  readonly log: Log;
  /** Since 1970, by the wall clock. */
  readonly wallMs?: () => number;
  /** `list` has changed. */
  readonly changed: () => void;
}

/** What is ordered; what is absent stays as it was ordered before. */
export interface OrderWish extends Partial<Pick<PolicyOrder, "maintenance">> {
  /** From now on. */
  readonly drain?: Pick<DrainPolicy, "overMs"> | null;
  /** null: until it is taken back. */
  readonly forMs: number | null;
  readonly reason: string;
  readonly by: string;
}

export class PolicyOrders {
  readonly #options: PolicyOrdersOptions;
  readonly #wallMs: () => number;
  readonly #orders: Map<string, PolicyOrder> = new Map();

  constructor(options: PolicyOrdersOptions) {
    this.#options = options;
    this.#wallMs = options.wallMs ?? Date.now;
  }

  /** Those of before, as far as they have not ended. */
  async load(): Promise<void> {
    const { kept, log, changed } = this.#options;
    const before = await kept.read();
    if (before === null) return;
    this.#orders.clear();
    for (const order of before) this.#orders.set(placeOf(order), order);
    const names = this.list().map(({ kind, name }) => `${kind} ${name}`);
    if (names.length > 0) log.info("orders restored", { of: names });
    changed();
  }

  /** In force. */
  list(): readonly PolicyOrder[] {
    const nowMs = this.#wallMs();
    return [...this.#orders.values()].filter(({ untilAtMs }) => untilAtMs === null || untilAtMs > nowMs);
  }

  find(kind: OrderedKind, name: string): PolicyOrder | undefined {
    return this.list().find((order) => order.kind === kind && order.name === name);
  }

  /** null: there are too many. Resolves when it is on disk. */
  async set(kind: OrderedKind, name: string, wish: OrderWish): Promise<PolicyOrder | null> {
    const before = this.find(kind, name);
    if (before === undefined && this.list().length >= MOST_ORDERS) return null;
    const nowMs = this.#wallMs();
    const { maintenance = before?.maintenance ?? null, forMs, reason, by } = wish;
    const drain = drainOf(wish, before, nowMs);
    const untilAtMs = forMs === null ? null : nowMs + forMs;
    const order: PolicyOrder = { kind, name, maintenance, drain, sinceAtMs: nowMs, untilAtMs, reason, by };
    if (maintenance === null && drain === null) this.#orders.delete(placeOf(order));
    else this.#orders.set(placeOf(order), order);
    this.#options.changed();
    await this.#options.kept.write(() => this.list());
    return order;
  }

  /** Takes one of the two back; whether there was one. */
  async clear(kind: OrderedKind, name: string, what: "maintenance" | "drain"): Promise<boolean> {
    const before = this.find(kind, name);
    if (before === undefined || before[what] === null) return false;
    const { untilAtMs, reason, by } = before;
    const forMs = untilAtMs === null ? null : untilAtMs - this.#wallMs();
    await this.set(kind, name, { [what]: null, forMs, reason, by });
    return true;
  }

  /** A successor has them now. */
  retire(): void {
    this.#options.kept.retire();
  }
}

function drainOf({ drain }: OrderWish, before: PolicyOrder | undefined, nowMs: number): DrainPolicy | null {
  if (drain === undefined) return before?.drain ?? null;
  return drain === null ? null : { startAtMs: nowMs, overMs: drain.overMs };
}

function placeOf({ kind, name }: Pick<PolicyOrder, "kind" | "name">): string {
  return `${kind} ${name}`;
}
