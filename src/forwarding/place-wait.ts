/** A request that waits for a place at an endpoint of its service, as long as its client does. */
import type { Exchange } from "../downstream/exchange.ts";
import type { Metrics } from "../observation/metrics.ts";
import { nowMs } from "../runtime/clock.ts";
import type { ConcurrencyPolicy } from "../table/policy.ts";
import type { PlaceQueue, Waiter } from "../upstream/place-queue.ts";

export interface Waited {
  /** There may be a place. null: not for this request; else how to go on. */
  offer(): (() => void) | null;
  timedOut(): void;
}

export class PlaceWait implements Waiter {
  readonly #exchange: Exchange;
  readonly #metrics: Metrics;
  readonly #waited: Waited;
  readonly #sinceMs: number = nowMs();

  constructor(exchange: Exchange, metrics: Metrics, waited: Waited) {
    this.#exchange = exchange;
    this.#metrics = metrics;
    this.#waited = waited;
  }

  /** False: as many wait as may. */
  begin(queue: PlaceQueue, limits: ConcurrencyPolicy): boolean {
    if (!queue.join(this, limits)) return false;
    this.#metrics.exchangesQueued++;
    this.#exchange.onGone = () => {
      queue.leave(this);
      this.#over();
    };
    return true;
  }

  offer(): boolean {
    const goOn = this.#waited.offer();
    if (goOn === null) return false;
    this.#over();
    goOn();
    return true;
  }

  onTimeout(): void {
    this.#over();
    this.#waited.timedOut();
  }

  #over(): void {
    this.#exchange.onGone = null;
    this.#metrics.exchangesQueued--;
    this.#exchange.record.queueWaitMs += nowMs() - this.#sinceMs;
  }
}
