/** What would become of a request, and why: the answer of a worker to people who ask. Plain JSON. */
import type { Blame, ErrorCode } from "./proxy-error.ts";

/** A request that nobody has sent. */
export interface ExplainQuestion {
  /** Request line and fields with their line ends and the empty line, as a client would send them; sent as UTF-8. */
  readonly head: string;
  /** Address of the client. */
  readonly client: string;
  /** Verdicts to be taken for granted, by endpoint key: what if this VM were unhealthy? */
  readonly suppose: Readonly<Record<string, "healthy" | "unhealthy">>;
}

/** An endpoint that was looked at. */
export interface ExplainedCandidate {
  readonly key: string;
  readonly kind: "vm" | "region";
  readonly region: string;
  /** `now`: the host leads there; `before`: it did, a moment ago. */
  readonly when: "now" | "before";
  /** `available`, `unprobed`, `overdue`, `unhealthy`, `failing`, `draining`, and of policies; `passed`: the request comes from that region. */
  readonly availability: string;
  /** Attempts under way in this worker. */
  readonly load: number;
  readonly outcome: "chosen" | "awaited" | "lost";
  readonly why: string;
}

/** What the request would get. */
export interface Conclusion {
  /**
   * `probe-first`, `table-first`, `queue`: it would wait for the verdict of a probe, for a change of the table, for a place at an
   * endpoint; then it is decided again. `respond`: its route answers by itself.
   */
  readonly kind: "forward" | "fall-back" | "probe-first" | "table-first" | "queue" | "respond" | "refuse";
  /** Where it would be sent; null: nowhere (yet). */
  readonly endpoint: string | null;
  /** Those whose verdict it would wait for. */
  readonly awaited: readonly string[];
  /** Of the own answer, also of the one that follows when waiting for the table is of no avail; null without one. */
  readonly status: number | null;
  readonly code: ErrorCode | null;
  readonly blame: Blame | null;
  /** What is wrong with a request that is malformed; else empty. */
  readonly problem: string;
  /** In one line, for people. */
  readonly text: string;
}

export interface ExplainedField {
  readonly name: string;
  /** `new`: made for each request. */
  readonly value: string;
}

/** What differs between the head that comes and the head that would be sent. */
export interface FieldChanges {
  /** There, with another value. */
  readonly set: readonly ExplainedField[];
  readonly added: readonly ExplainedField[];
  readonly removed: readonly ExplainedField[];
}

export interface Explanation {
  /** Of the table that decides. */
  readonly revision: number;
  readonly method: string;
  readonly target: string;
  /** As the request says it; empty where it does not. */
  readonly authority: string;
  /** Normalised; null: malformed, or not read. */
  readonly host: string | null;
  /** The host or wildcard of the table; null without a route. */
  readonly route: string | null;
  /** Id of the route of the routes file, or of the domain's policy, that applies; null: none does. */
  readonly policy: string | null;
  /** Under a policy: the service that it leads this client to. */
  readonly service: string | null;
  /** Edges that the request has passed, oldest first, by their names in Via. */
  readonly edges: readonly string[];
  /** What was looked at, in order, for people. */
  readonly steps: readonly string[];
  readonly candidates: readonly ExplainedCandidate[];
  readonly conclusion: Conclusion;
  /** Where it would go is another region's edge: how it is reached, and the way so far as that edge would be told. */
  readonly hop: { readonly address: string; readonly port: number; readonly region: string; readonly via: string } | null;
  /** null where it would be sent nowhere. */
  readonly fields: FieldChanges | null;
}
