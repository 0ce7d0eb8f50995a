/** What is told of an exchange once it has ended: to the access log, to the live view of errors, and to traces. */
import type { OutcomeKind } from "./metrics.ts";
import type { Blame, ErrorCode } from "./proxy-error.ts";

export type EndedBy = "client" | "vm" | "region" | "edge";

/** Plain JSON. Texts are as they came from the wire; empty where there was none. Never a field's value, so never a secret but in targets. */
export interface ExchangeReport {
  /** When it ended, in ms since 1970. */
  readonly atMs: number;
  /** The worker's number; 0 where everything is one process. */
  readonly worker: number;
  readonly requestId: string;
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Address of the connection's peer. */
  readonly client: string;
  readonly method: string;
  /** Normalised. */
  readonly host: string;
  /** The host or wildcard of the table that it matched. */
  readonly route: string;
  /** Id of the route of a policy that applied, and the service it led to. */
  readonly policy: string;
  readonly service: string;
  /** The edge of another region that has drawn its service or counted it. */
  readonly decidedBy: string;
  readonly target: string;
  /** `HTTP/1.1`, `HTTP/1.0`. */
  readonly protocol: string;
  /** 0 when no head was sent. */
  readonly status: number;
  readonly outcome: OutcomeKind;
  readonly code: ErrorCode | null;
  readonly blame: Blame | null;
  /** Why it went wrong, for people. */
  readonly problem: string;
  /** Of the bodies. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Who ended it: whoever gave the answer that is complete, or broke off. */
  readonly endedBy: EndedBy;
  /** `address:port` of the endpoint that answered or failed last. */
  readonly upstream: string;
  readonly upstreamKind: "vm" | "region" | null;
  /** Of that endpoint. */
  readonly region: string;
  /** How often it was sent, or was tried to be. */
  readonly attempts: number;
  /** What a retry policy made of failed attempts, in order: `connect, no budget`; empty: it was not asked. */
  readonly retry: string;
  /** The last attempt went on a pooled connection. */
  readonly reused: boolean;
  /** From the request's first byte to the end of its head. */
  readonly headWaitMs: number;
  /** For verdicts of probes, or for a newer table. */
  readonly probeWaitMs: number;
  /** For a place at an endpoint. */
  readonly queueWaitMs: number;
  /** For connections, of all attempts together; 0 on a pooled one. */
  readonly connectMs: number;
  /** From the end of the request's head to the head of the answer; null without one. */
  readonly firstByteMs: number | null;
  /** From the request's first byte to the last of the answer. */
  readonly totalMs: number;
}
