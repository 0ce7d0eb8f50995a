/** The value that says what happens to a request. */
import type { FixedResponse } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";

export type Decision =
  | { readonly kind: "forward"; readonly endpoint: EndpointRecord }
  /** To where the host led a moment ago. On those of `probe` there is no verdict yet: to be asked for, not to be waited for. */
  | { readonly kind: "fall-back"; readonly endpoint: EndpointRecord; readonly probe: readonly EndpointRecord[] }
  /**
   * No verdict yet on these VMs: probe them, wait for any, decide again. `patient`: as long as it takes, else only for a moment,
   * since another endpoint can take the request.
   */
  | { readonly kind: "probe-first"; readonly endpoints: readonly EndpointRecord[]; readonly patient: boolean }
  /** Our table contradicts the one of the region which the request comes from: wait for ours to change, decide again; else it is a loop. */
  | { readonly kind: "table-first" }
  /** A route that answers by itself: a fixed answer, a redirect (its plan knows where to), maintenance; or the fallback of an open breaker. */
  | { readonly kind: "respond"; readonly answer: FixedResponse; readonly why: OwnAnswerReason }
  /** Every endpoint that could take it carries as many requests as it may: wait for a place at any of them. */
  | { readonly kind: "queue"; readonly endpoints: readonly EndpointRecord[]; readonly timeoutMs: number }
  | { readonly kind: "refuse"; readonly code: RefusalCode };

export type OwnAnswerReason = "respond" | "redirect" | "maintenance" | "breaker";

export type RefusalCode =
  | "no_route"
  | "no_table"
  | "vm_unhealthy"
  | "vm_cordoned"
  | "loop"
  /** Under a policy: */
  | "no_endpoints"
  | "rate_limited"
  | "breaker_open"
  | "queue_full";
