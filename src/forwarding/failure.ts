/*  What a failed attempt leads to. The only place that weighs blame, retries and answers, so that they cannot disagree.
 *
 *      answer begun           -> the client's connection breaks: it must not look complete
 *      stale pooled connection, idempotent, no body sent -> again, on a new connection
 *      VM refused connection  -> a fresh probe: passes -> again (once); fails, or refused again -> decide anew without it
 *      region unreachable, or a VM that nobody probes -> decide anew without it
 *      so is a fall-back      -> decide anew without it: the host leads elsewhere, that is what is worth waiting for
 *      region refused by itself, idempotent, no body, and there is a fall-back -> there
 *      else                   -> the code's answer
 */
import type { ErrorCode, ProxyError } from "../observation/proxy-error.ts";
import type { BodyLength } from "../wire/h1/framing.ts";
import type { ResponseHead } from "../wire/h1/message-head.ts";

/** What is known when an attempt fails. */
export interface Failed {
  readonly error: ProxyError;
  /** A probe would say more of the endpoint: a VM, unless its service wants none. */
  readonly probed: boolean;
  /** A final head has reached the client. */
  readonly answered: boolean;
  readonly method: string;
  /** Some of the request body has left. */
  readonly bodySent: boolean;
  /** The host does not lead there any more. */
  readonly fallBack: boolean;
  /** The request was sent again to this endpoint after a fresh probe. */
  readonly probedAgain: boolean;
}

export type Consequence = "break-off" | "new-connection" | "probe-again" | "decide-anew" | "refuse";

/** Methods whose repetition is harmless (RFC 9110, 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

export function consequence(failed: Failed): Consequence {
  const { error } = failed;
  if (failed.answered) return "break-off";
  switch (error.retry) {
    case "if-reused":
      return IDEMPOTENT.has(failed.method) && !failed.bodySent ? "new-connection" : "refuse";
    case "safe":
      return !failed.probed || failed.fallBack || failed.probedAgain ? "decide-anew" : "probe-again";
    case "never":
      return "refuse";
  }
}

/** What an edge says of requests that it has sent nowhere. */
const NOT_SENT: ReadonlySet<string> = new Set<ErrorCode>(["vm_unhealthy", "vm_cordoned", "loop", "no_table"]);

/**
 * Whether a request that another region's edge answers with this head may be sent elsewhere: that edge has sent it nowhere, by its own
 * words. A VM could say the same, so only of what is harmless to repeat is that believed.
 */
export function mayGoElsewhere({ fields }: ResponseHead, method: string, requestLength: BodyLength): boolean {
  if (requestLength !== 0 || !IDEMPOTENT.has(method)) return false;
  for (let i = 0; i < fields.count; i++) {
    if (fields.nameIs(i, "x-edgeproxy-error")) return NOT_SENT.has(fields.value(i));
  }
  return false;
}

/** Whether live traffic has learnt something about the endpoint's health: refused and broken connections, not slow answers. */
export function speaksOfHealth(error: ProxyError): boolean {
  return error.code === "connect_failed" || error.code === "connect_timeout" ||
    (error.code === "upstream_reset" && error.retry === "never");
}
