/*  Requests that wait for a place at an endpoint of their service, as long as their clients do.
 *
 *  Whose connection breaks is gone. Whose client ends its side (FIN) may still wait for the answer (RFC 9112, 9.6), as BusyBox's wget does,
 *  but that does so right behind the last bytes that it sends; who does it later has closed a page, or has given up: its place goes to those
 *  who wait.
 */
import type { Surroundings } from "../decision/surroundings.ts";
import { whyFull } from "../decision/why-refused.ts";
import type { Exchange } from "../downstream/exchange.ts";
import type { Metrics, QueueEnd } from "../observation/metrics.ts";
import { nowMs } from "../runtime/clock.ts";
import { partsOfKey, type Policies, type PolicyService } from "../table/policies.ts";
import type { ConcurrencyPolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { PlaceQueue, PlaceQueues, Waiter } from "../upstream/place-queue.ts";

export interface Waited {
  /** There may be a place. null: not for this request; else how to go on. */
  offer(): (() => void) | null;
  /** There is none, and no time or place to wait any longer. */
  refuse(code: "queue_full" | "queue_timeout"): void;
}

/** How long after its last bytes a client may end its side and be taken for one that has no more to ask. */
const HALF_CLOSE_MS = 1000;
const LEFT = "The client has ended its side while its request waited for a place";

class PlaceWait implements Waiter {
  readonly #exchange: Exchange;
  readonly #metrics: Metrics;
  readonly #service: string;
  readonly #waited: Waited;
  readonly #sinceMs: number = nowMs();

  constructor(exchange: Exchange, metrics: Metrics, service: string, waited: Waited) {
    this.#exchange = exchange;
    this.#metrics = metrics;
    this.#service = service;
    this.#waited = waited;
  }

  /** False: as many wait as may. */
  begin(queue: PlaceQueue, limits: ConcurrencyPolicy): boolean {
    if (!queue.join(this, limits)) return false;
    this.#metrics.exchangesQueued++;
    this.#exchange.record.queueSinceMs = this.#sinceMs;
    this.#exchange.onGone = () => {
      queue.leave(this);
      this.#over("left");
    };
    this.#exchange.onClientEnd = (quietMs) => quietMs > HALF_CLOSE_MS && this.#exchange.leave(LEFT);
    return true;
  }

  offer(): boolean {
    const goOn = this.#waited.offer();
    if (goOn === null) return false;
    this.#over("served");
    goOn();
    return true;
  }

  onTimeout(): void {
    this.#over("timeout");
    this.refuse("queue_timeout");
  }

  refuse(code: "queue_full" | "queue_timeout"): void {
    this.#exchange.record.problem = whyFull(this.#service);
    this.#waited.refuse(code);
  }

  #over(end: QueueEnd): void {
    const waitedMs = nowMs() - this.#sinceMs;
    this.#exchange.onGone = null;
    this.#exchange.onClientEnd = null;
    this.#metrics.exchangesQueued--;
    this.#metrics.recordQueueEnd(end, waitedMs / 1000);
    const { record } = this.#exchange;
    if (record.queueSinceMs === 0) return; // it has been told of already, with this
    record.queueWaitMs += waitedMs;
    record.queueSinceMs = 0;
  }
}

/** The service of this endpoint, if it has limits; null: another policy has come into force, or none ever was. */
function limitedService({ key }: EndpointRecord, policies: Policies): PolicyService | null {
  const { service } = partsOfKey(key);
  const found = service === null ? undefined : policies.service(service);
  return found === undefined || found.policy.limits === null ? null : found;
}

/** Others wait for a place at its service's endpoints, and have come before. */
export function othersWait(record: EndpointRecord, policies: Policies, queues: PlaceQueues): boolean {
  const service = limitedService(record, policies);
  return service !== null && service.policy.limits!.queue > 0 && queues.of(service.name).anybody;
}

export interface PlaceParts {
  readonly surroundings: Surroundings;
  readonly queues: PlaceQueues;
  readonly metrics: Metrics;
}

/** For one of the endpoints of this one's service: who has waited longest comes first. */
export function awaitPlace(exchange: Exchange, record: EndpointRecord, parts: PlaceParts, waited: Waited): void {
  const service = limitedService(record, parts.surroundings.table.policies);
  if (service === null) return waited.refuse("queue_full");
  const queue = parts.queues.of(service.name);
  const wait = new PlaceWait(exchange, parts.metrics, service.name, waited);
  if (wait.begin(queue, service.policy.limits!)) queue.freed(); // one may be free that was left to others who wait
  else {
    parts.metrics.recordQueueEnd("full", 0);
    wait.refuse("queue_full");
  }
}
