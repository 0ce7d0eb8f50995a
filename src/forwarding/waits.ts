/** Requests that wait, for a verdict or for the time of their next attempt: as long as their clients do, and counted meanwhile. */
import type { Exchange } from "../downstream/exchange.ts";
import type { Metrics } from "../observation/metrics.ts";
import type { Sweep } from "../runtime/clock.ts";
import { systemTimers } from "../runtime/timers.ts";
import type { EndpointState } from "../upstream/endpoint-state.ts";
import { VerdictWait } from "../upstream/verdict-wait.ts";

export interface WaitParts {
  readonly sweep: Sweep;
  readonly metrics: Metrics;
}

/** `next`: whether there is a verdict on any of them in time. */
export function awaitVerdict(
  exchange: Exchange,
  { sweep, metrics }: WaitParts,
  endpoints: readonly EndpointState[],
  timeoutMs: number,
  next: (timely: boolean) => void,
): void {
  const wait = new VerdictWait(sweep, exchange.record, timeoutMs, (timely) => {
    over();
    next(timely);
  });
  const over = beginWait(exchange, metrics, () => wait.giveUp());
  wait.at(endpoints);
}

export function awaitBackoff(exchange: Exchange, { metrics }: WaitParts, waitMs: number, next: () => void): void {
  const cancel = systemTimers.after(waitMs, () => {
    over();
    next();
  });
  const over = beginWait(exchange, metrics, cancel);
}

/** The answer is to be called when the wait is over, unless the client goes first. */
function beginWait(exchange: Exchange, metrics: Metrics, giveUp: () => void): () => void {
  metrics.exchangesWaiting++;
  exchange.onGone = () => {
    metrics.exchangesWaiting--;
    giveUp();
  };
  return () => {
    metrics.exchangesWaiting--;
    exchange.onGone = null;
  };
}
