/*  Whether a request whose attempt has failed is sent once more, by the retry policy of its service. A pure function; what it says is what
 *  the access log says.
 *
 *      the client has part of the answer ............................. no   answered
 *      not one of the causes that the policy names .................... no   cause
 *      something was sent, and the request is not harmless to repeat .. no   unsafe
 *      some of its body was sent, and was not kept .................... no   body
 *      as many attempts as there may be ............................... no   attempts
 *      the time for all attempts would be over ........................ no   time
 *      the service's retries are used up .............................. no   budget
 *      else ........................................................... yes
 *
 *  Harmless to repeat: idempotent methods (RFC 9110, 9.2.2), and any with Idempotency-Key. No status and no policy makes another request
 *  so: it could arrive twice. What failed before a byte was sent (refused, no connection in time) has arrived nowhere, whatever it is.
 *
 *  A pooled connection that turns out dead is a reset, which waits for nothing and costs nothing of the budget. Where the policy says nothing
 *  of resets it is not among these: it is replaced, once, as without a policy (see failure.ts).
 */
import type { NoRetryReason } from "../observation/metrics.ts";
import type { AnswerCode, ProxyError } from "../observation/proxy-error.ts";
import type { RetryCause, RetryPolicy } from "../table/policy.ts";
import { isIdempotent } from "./failure.ts";

/** Why an attempt does not count: it failed, or its answer has a status that is worth another one. */
export type Failure = Pick<ProxyError, "code" | "retry"> | { readonly status: number };

export interface Progress {
  /** Those that count. */
  readonly attempts: number;
  readonly answered: boolean;
  readonly method: string;
  readonly idempotencyKey: boolean;
  /** Some of the body has left, at this attempt or an earlier one. */
  readonly bodySent: boolean;
  /** What has left of it is here to be sent again. */
  readonly bodyKept: boolean;
  /** Since the request's head was complete. */
  readonly elapsedMs: number;
  /** Before the next attempt. */
  readonly backoffMs: number;
  budgetLeft(): boolean;
}

export type MadeRetry = RetryCause | "status";

export type RetryVerdict =
  | { readonly again: true; readonly why: MadeRetry }
  | { readonly again: false; readonly why: NoRetryReason };

export function retryVerdict(failure: Failure, policy: RetryPolicy, progress: Progress): RetryVerdict {
  const cause = causeOf(failure, policy);
  if (progress.answered) return no("answered");
  if (cause === null) return no("cause");
  const sent = "status" in failure || failure.retry !== "safe";
  if (sent && !isIdempotent(progress.method) && !progress.idempotencyKey) return no("unsafe");
  if (progress.bodySent && !progress.bodyKept) return no("body");
  if (progress.attempts >= policy.attempts) return no("attempts");
  if (policy.totalMs > 0 && progress.elapsedMs + progress.backoffMs >= policy.totalMs) return no("time");
  if (!progress.budgetLeft()) return no("budget");
  return { again: true, why: cause };
}

/** As far as the policy names it. */
function causeOf(failure: Failure, policy: RetryPolicy): MadeRetry | null {
  if ("status" in failure) return isRetried(failure.status, policy) ? "status" : null;
  return causesOf(failure.code).find((cause) => policy.on.includes(cause)) ?? null;
}

function causesOf(code: AnswerCode): readonly RetryCause[] {
  switch (code) {
    case "connect_failed":
      return ["connect"];
    case "connect_timeout":
      return ["connect", "timeout"];
    case "upstream_reset":
      return ["reset"];
    case "response_timeout":
      return ["timeout"];
    default: // nobody's fault that another attempt could mend
      return [];
  }
}

export function isRetried(status: number, { statuses }: RetryPolicy): boolean {
  return statuses.some(({ from, to }) => status >= from && status <= to);
}

/** Whether a request could be sent again after some of it has been: then its body is worth keeping. */
export function mayRepeat(policy: RetryPolicy, method: string, idempotencyKey: boolean): boolean {
  const afterSending = policy.statuses.length > 0 || policy.on.some((cause) => cause !== "connect");
  return policy.attempts > 1 && afterSending && (isIdempotent(method) || idempotencyKey);
}

/** Doubles from attempt to attempt; half as long again or half as short, by chance, so that clients that failed together come apart. */
export function backoffMs(policy: RetryPolicy, attempts: number, random: number): number {
  return Math.min(policy.backoffMs * 2 ** (attempts - 1), MOST_BACKOFF_MS) * (0.5 + random);
}

const MOST_BACKOFF_MS = 5000;

function no(why: NoRetryReason): RetryVerdict {
  return { again: false, why };
}
