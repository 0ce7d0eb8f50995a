/*  The retries of one request whose service has a policy for them: what was tried, what is kept to be sent again, how long to wait. Others
 *  have none, and pay for none.
 */
import type { Exchange } from "../downstream/exchange.ts";
import type { Metrics } from "../observation/metrics.ts";
import { nowMs } from "../runtime/clock.ts";
import type { RetryPolicy } from "../table/policy.ts";
import type { RetryBudget } from "../upstream/retry-budget.ts";
import type { FieldChanges } from "../wire/field-edits.ts";
import type { RequestHead, ResponseHead } from "../wire/h1/message-head.ts";
import { isNominated } from "../wire/hop-by-hop.ts";
import { BodyMemory, KeptBody } from "./kept-body.ts";
import { backoffMs, type Failure, isRetried, mayRepeat, retryVerdict } from "./retrying.ts";

/** A quarter of what 1,000 bodies of the largest usual size would take. */
const MOST_KEPT_BYTES = 16 * 2 ** 20;
const memory = new BodyMemory(MOST_KEPT_BYTES);

/** Of all requests of this worker that may be sent again. */
export function keptBodyBytes(): number {
  return memory.bytes;
}

/** Of answers, lower-case. */
export const ATTEMPTS = "x-edgeproxy-attempts";
const MOST_ELSEWHERE = 100;

export interface RetryParts {
  /** Of the fields that an endpoint gets. */
  readonly changes: FieldChanges | null;
  readonly metrics: Metrics;
  /** In [0, 1). */
  readonly random: () => number;
}

/** How an attempt stands when it does not count. */
interface Attempted {
  readonly bodySent: boolean;
}

export class Retries {
  /** null: what leaves of the body could not be sent again anyway. */
  readonly body: KeptBody | null;
  readonly #exchange: Exchange;
  readonly #policy: RetryPolicy;
  readonly #budget: RetryBudget;
  readonly #metrics: Metrics;
  readonly #random: () => number;
  readonly #idempotencyKey: boolean;
  #attempts = 1;
  /** Beyond ours: those of other regions' edges. */
  #elsewhere = 0;
  #bodySent = false;
  /** When the first attempt began, monotonic, later by the time in which clients sent; 0: none has. */
  #sinceMs = 0;
  /** In queues, before that. */
  #queuedMs = 0;

  /** `budget`: of the service. */
  constructor(exchange: Exchange, policy: RetryPolicy, budget: RetryBudget, { changes, metrics, random }: RetryParts) {
    const { head, requestLength } = exchange;
    this.#exchange = exchange;
    this.#policy = policy;
    this.#budget = budget;
    this.#metrics = metrics;
    this.#random = random;
    this.#idempotencyKey = saysIdempotencyKey(head, changes);
    const keeps = requestLength !== 0 && requestLength <= policy.maxBodyBytes &&
      mayRepeat(policy, head.method, this.#idempotencyKey);
    this.body = keeps ? new KeptBody(policy.maxBodyBytes, memory) : null;
  }

  /** An attempt begins. */
  begin(): void {
    if (this.#sinceMs > 0) return;
    this.#sinceMs = nowMs();
    this.#queuedMs = this.#exchange.record.queueWaitMs;
    this.#budget.deposit(); // not for what is refused: a flood of 429 must allow nobody a retry
  }

  /** So long the client took to send its body: an endpoint that is asked has time to answer, or slow clients would have it ejected. */
  excuse(sendingMs: number): void {
    this.#sinceMs += sendingMs;
  }

  /** When the time for all attempts is over; monotonic. */
  get overAtMs(): number {
    const { totalMs } = this.#policy;
    return totalMs > 0 ? nowMs() - this.#elapsedMs + totalMs : Infinity;
  }

  /** Of all attempts together, without waiting for places. */
  get #elapsedMs(): number {
    return nowMs() - this.#sinceMs - (this.#exchange.record.queueWaitMs - this.#queuedMs);
  }

  /**
   * What the answer says of them: how often the request was sent to an endpoint, or was tried to be. Nothing if it was not: as with
   * `x-envoy-attempt-count`, whoever sees the field knows that somebody behind may have seen the request.
   */
  get answerField(): string {
    const { attempts } = this.#exchange.record;
    return attempts === 0 ? "" : `X-Edgeproxy-Attempts: ${attempts + this.#elsewhere}\r\n`;
  }

  /**
   * Another region's edge has the same policy: what it has tried for one attempt of ours counts, or attempts would multiply. Its field stands
   * behind what the VM may have written.
   */
  addThoseOf({ fields }: ResponseHead): void {
    let more = 0;
    for (let i = 0; i < fields.count; i++) if (fields.nameIs(i, ATTEMPTS)) more = Number(fields.value(i)) - 1;
    if (!Number.isInteger(more) || more <= 0 || more > MOST_ELSEWHERE) return;
    this.#attempts += more;
    this.#elsewhere += more;
  }

  /** Whether an answer with this status may be worth another attempt. */
  concerns(status: number): boolean {
    return isRetried(status, this.#policy);
  }

  /** Whether a pooled connection that turns out dead is one of the attempts; else it is replaced beside them. */
  get countsReplacements(): boolean {
    return this.#policy.attempts > 1 && this.#policy.on.includes("reset");
  }

  /**
   * How long to wait before another attempt; null: there is none. `stale`: it was a pooled connection that turned out dead, which is no
   * sign of trouble: that costs nothing but an attempt.
   */
  after(failure: Failure, { bodySent }: Attempted, stale = false): number | null {
    const { head, answered, record } = this.#exchange;
    if (bodySent) this.#bodySent = true;
    const waitMs = stale ? 0 : backoffMs(this.#policy, this.#attempts, this.#random());
    const verdict = retryVerdict(failure, this.#policy, {
      attempts: this.#attempts,
      answered,
      method: head.method,
      idempotencyKey: this.#idempotencyKey,
      bodySent: this.#bodySent,
      bodyKept: this.body?.whole === true,
      elapsedMs: this.#elapsedMs,
      backoffMs: waitMs,
      budgetLeft: () => stale || this.#budget.withdraw(this.#policy.budget),
    });
    record.retry += `${record.retry === "" ? "" : ", "}${verdict.again ? "" : "no "}${verdict.why}`;
    if (!verdict.again) {
      this.#metrics.recordNoRetry(verdict.why);
      return null;
    }
    this.#attempts++;
    this.#metrics.recordRetry(verdict.why);
    return waitMs;
  }
}

const KEY = "idempotency-key";
/** Of a route, which is the same for all attempts. */
const OWN_KEY = /(?:^|\n)idempotency-key: [^\r]/i;

/** To the endpoint, which nothing else could tell that it has the request twice: not if Connection or the route takes the field away. */
function saysIdempotencyKey({ fields, nominated }: RequestHead, changes: FieldChanges | null): boolean {
  for (let i = 0; i < fields.count; i++) {
    if (!fields.nameIs(i, KEY) || fields.value(i) === "") continue;
    const passes = changes?.dropped?.has(fields, i) !== true && (nominated === null || !isNominated(fields, i, nominated));
    return passes || (changes !== null && OWN_KEY.test(changes.lines.join("")));
  }
  return false;
}
