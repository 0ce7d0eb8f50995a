/*  How many retries a service may get: a share of its requests in the last ten seconds, so that an outage is not met with a multiple of
 *  the usual traffic. Services with few requests may have ten all the same; with a share of 0 there is none.
 *
 *  Counted per second, in a ring. Each worker has its own budget: the share is of its own requests, so that it holds for all together; the
 *  floor is per worker.
 */
import type { RetryPolicy } from "../table/policy.ts";

const SLOT_MS = 1000;
const SLOTS = 10;
/** Within the ten seconds. */
const FLOOR = 10;

export class RetryBudget {
  readonly #share: number;
  readonly #requests: Float64Array = new Float64Array(SLOTS);
  readonly #retries: Float64Array = new Float64Array(SLOTS);
  /** Number of the slot under way, since the clock began. */
  #slot = 0;

  constructor(share: number) {
    this.#share = share;
  }

  /** A request has come. */
  deposit(nowMs: number): void {
    this.#turn(nowMs);
    this.#requests[this.#slot % SLOTS]!++;
  }

  /** Whether one more retry may be made; if so it is taken. */
  withdraw(nowMs: number): boolean {
    this.#turn(nowMs);
    const most = this.#share === 0 ? 0 : Math.max(FLOOR, this.#share * sum(this.#requests));
    if (sum(this.#retries) >= most) return false;
    this.#retries[this.#slot % SLOTS]!++;
    return true;
  }

  #turn(nowMs: number): void {
    const slot = Math.floor(nowMs / SLOT_MS);
    for (let passed = Math.max(this.#slot + 1, slot - SLOTS + 1); passed <= slot; passed++) {
      this.#requests[passed % SLOTS] = 0;
      this.#retries[passed % SLOTS] = 0;
    }
    this.#slot = Math.max(this.#slot, slot);
  }
}

function sum(counts: Float64Array): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

/** One for each policy, for as long as it is in force. */
const budgets: WeakMap<RetryPolicy, RetryBudget> = new WeakMap();

export function budgetOf(policy: RetryPolicy): RetryBudget {
  let budget = budgets.get(policy);
  if (budget === undefined) budgets.set(policy, budget = new RetryBudget(policy.budget));
  return budget;
}
