/*  The exchange: one request and its response, the seam between downstream protocols and what answers them.
 *
 *  HTTP/1.1 is its first implementation (h1-connection); HTTP/2 joins without a change in forwarding.
 *
 *      received --claim--> claimed --sendHead--> answering --sendEnd--> ended
 *          \                  \                       \--reset---------> ended
 *           \--- refuse -------\--- refuse --------------> (own answer) ended
 *
 *  Request body: nothing flows before `claim`; then `onRequestBody`* and one of `onRequestEnd`, `onAbort`
 *  (neither body nor end when `requestLength` is 0). `pauseRequest`
 *  and `resumeRequest` follow the slower side. Response: `sendInformational`*, `sendHead`, `sendBody`*, `sendEnd`, or
 *  `reset` at any time. What is sent leaves at `sendEnd` or `flush`, so that small answers take one write.
 *  A final head with status 101 turns both directions into a tunnel: body events are then raw bytes until each side ends.
 */
import type { OutcomeKind } from "../observation/metrics.ts";
import type { AnswerCode, ErrorCode } from "../observation/proxy-error.ts";
import type { TargetRow } from "../observation/target-counts.ts";
import type { SpanIds } from "../observation/tracing.ts";
import type { HeaderList } from "../wire/header-list.ts";
import type { BodyLength } from "../wire/h1/framing.ts";
import type { RequestHead, ResponseHead } from "../wire/h1/message-head.ts";
import type { ExchangeTerms } from "./exchange-terms.ts";
import type { OwnAnswer } from "./own-answer.ts";

/** Who consumes the request: an attempt, or an adapter. */
export interface ExchangeSink {
  onRequestBody(chunk: Buffer): void;
  /** The request is complete. `trailers` is null when there are none. In a tunnel: the client has sent FIN. */
  onRequestEnd(trailers: HeaderList | null): void;
  /** No more events from the client for now: what was gathered may be written. */
  onRequestPause(): void;
  /** Everything sent so far has left; only after a send that answered false. */
  onResponseDrain(): void;
  /** The client is gone or broke the protocol, or time ran out: nothing can be sent any more. */
  onAbort(): void;
}

/** The connection's peer, and whether its forwarding fields are believed. */
export interface Peer {
  readonly address: string;
  readonly trusted: boolean;
  /** What forwarding says of this client with every request of this connection; made at the first. Between the two comes the host. */
  forwarded: { readonly before: string; readonly after: string } | null;
}

export interface Exchange {
  readonly head: RequestHead;
  /** Normalised host; empty for HTTP/1.0 without Host. */
  readonly host: string;
  /** `http` or `https`, as the client speaks to us. */
  readonly scheme: string;
  readonly peer: Peer;
  readonly requestId: string;
  /** Of the trace that it belongs to: as the client's traceparent says, else the request's id where that can be one, else one of its own. */
  readonly traceId: string;
  /** Under which ids it is recorded, or its trace begins as one that is; null for neither. Decided when it is first asked for. */
  readonly spans: SpanIds | null;
  readonly requestLength: BodyLength;
  /** Request events are being delivered right now: `onRequestPause` will follow. */
  readonly reading: boolean;
  /** Someone is answering it; nobody else may. */
  readonly claimed: boolean;
  readonly ended: boolean;
  /** A final head has been sent. */
  readonly answered: boolean;
  /** What happened, for logs and metrics; filled in on the way. */
  readonly record: ExchangeRecord;

  /** Told, like the sink, when nothing can be sent any more: for whoever keeps the exchange waiting while it has no sink that works. */
  onGone: (() => void) | null;
  /**
   * Told when the client has ended its side (FIN), perhaps behind a request that nobody has read yet, and how long after its last bytes; it
   * may still wait for the answer.
   */
  onClientEnd: ((quietMs: number) => void) | null;

  /** What the policy of its route says of it; null without one. */
  readonly terms: ExchangeTerms | null;
  /** Lines, each with its CRLF, for the final head of whatever answers it: what the proxy itself has to say. Empty: none. */
  answerFields: string;

  /** Before it is claimed. */
  takeTerms(terms: ExchangeTerms): void;
  /** Its body is longer than it may be, as far as its length tells. */
  readonly bodyTooLong: boolean;

  /** From now on the request flows to `sink`; a second claim replaces the first. */
  claim(sink: ExchangeSink): void;
  pauseRequest(): void;
  resumeRequest(): void;
  /** Some of the request that waited has been taken, or it goes to another endpoint, so time has not run out on it. */
  requestProgressed(): void;

  /** A 1xx other than 101; not sent to HTTP/1.0 clients. */
  sendInformational(head: ResponseHead): void;
  /** The final head (or 101) as the endpoint sent it; hop-by-hop fields are replaced by ours. */
  sendHead(head: ResponseHead, length: BodyLength): void;
  /** False: wait for `onResponseDrain`. */
  sendBody(chunk: Buffer): boolean;
  /** The answer is complete. In a tunnel: the endpoint has sent FIN. */
  sendEnd(trailers: HeaderList | null): void;
  flush(): void;
  /** An own answer of the proxy (contract, section 8). */
  refuse(code: AnswerCode): void;
  /** An own answer as it is. */
  answer(answer: OwnAnswer): void;
  /** An own answer from a Fetch API Response, as Hono handlers and middleware make them. */
  respond(response: Response): Promise<void>;
  /** Breaks the connection so that the client cannot take what it got for complete. */
  reset(): void;
  /** Closes the connection before any answer: the client does not wait for one. */
  leave(problem: string): void;
}

/** What is known of an exchange when it has ended. */
export interface ExchangeRecord {
  /** When the first byte of the request was read. */
  readonly startedAtMs: number;
  /** When its head was complete, or refused. */
  readonly headAtMs: number;
  outcome: OutcomeKind;
  /** 0 when no head was sent. */
  status: number;
  code: ErrorCode | null;
  /** Address of the endpoint that answered, `10.0.0.5:8080`; empty when none was asked. */
  upstream: string;
  upstreamKind: "vm" | "region" | null;
  /** Region of that endpoint. */
  region: string;
  /** Why it went wrong, for the log. */
  problem: string;
  bodyBytesIn: number;
  bodyBytesOut: number;
  /** How often it was sent, or was tried to be. */
  attempts: number;
  /** Id of the route of a policy that it matched; empty: none. */
  policy: string;
  /** Under a policy: the service that it was led to; empty: none, or the route answers by itself. */
  service: string;
  /** Under a policy: where it is counted when it has ended; null: nowhere. */
  target: TargetRow | null;
  /** Under a policy: the edge of another region, by its name in Via, that has drawn its service or counted it; empty: none. */
  decidedBy: string;
  /** What a retry policy made of failed attempts, in order: `connect, no budget`; empty: it was not asked. */
  retry: string;
  /** The last attempt went on a pooled connection. */
  reused: boolean;
  /** Spent on waiting for verdicts of probes, or for a newer table. */
  probeWaitMs: number;
  /** Since when it waits for one; 0: it does not. */
  probeSinceMs: number;
  /** Spent on waiting for a place at an endpoint. */
  queueWaitMs: number;
  /** Since when it waits for one; 0: it does not. */
  queueSinceMs: number;
  /** Spent on waiting for connections, of all attempts together. */
  connectMs: number;
  /** Since when it waits for one; 0: it does not. */
  connectSinceMs: number;
  /** When the head of the final answer was there; 0 without one. */
  answeredAtMs: number;
  /** Of a tunnel: it was the client who ended its side first. */
  clientEndedFirst: boolean;
}
