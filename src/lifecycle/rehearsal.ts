/** A request that was never sent, read by the same code as those of clients, from a socket that leads nowhere. */
import type { IsTrusted } from "../downstream/client-address.ts";
import { ErrorPages } from "../downstream/error-page.ts";
import { H1Connection } from "../downstream/h1-connection.ts";
import type { H1Environment } from "../downstream/h1-environment.ts";
import type { H1Exchange } from "../downstream/h1-exchange.ts";
import { Metrics } from "../observation/metrics.ts";
import type { ErrorCode } from "../observation/proxy-error.ts";
import type { Tracing } from "../observation/tracing.ts";
import { Sweep } from "../runtime/clock.ts";
import type { Socket, SocketSink } from "../runtime/sockets.ts";
import { MAX_FIELDS, MAX_TARGET_BYTES, type RequestHead } from "../wire/h1/message-head.ts";

/** Of the settings, what the reading of a head depends on. */
export interface ReadingLimits {
  readonly maxHeaderBytes: number;
  readonly maxBodyBytes: number;
}

export interface RehearsalParts {
  readonly limits: ReadingLimits;
  /** null: no exchange is. */
  readonly tracing: Tracing | null;
}

/** Before anything was decided. */
export interface Refused {
  readonly code: ErrorCode;
  readonly problem: string;
}

/** Of a request: its head as far as it could be read, and the exchange that would be decided on, or why it would be refused before. */
export interface Rehearsed {
  readonly head: RequestHead;
  readonly read: H1Exchange | Refused;
}

/** Reads a head; nothing of what `use` is given outlives it. */
export function rehearse<Result>(
  head: string,
  client: string,
  isTrusted: IsTrusted,
  { limits, tracing }: RehearsalParts,
  use: (rehearsed: Rehearsed) => Result,
): Result {
  const stage = new Stage(limits, tracing);
  const peer = { address: client, trusted: isTrusted(client), forwarded: null };
  const connection = new H1Connection(new DeadSocket(client), peer, stage);
  try {
    connection.onData(Buffer.from(head));
    return use({ head: connection.head, read: stage.dispatched ?? stage.refused ?? INCOMPLETE });
  } finally {
    connection.onClose(null);
  }
}

const INCOMPLETE: Refused = { code: "bad_request", problem: "The head is not complete" };
const HOUR_MS = 3_600_000;

/** Counts and logs nothing that anybody sees. */
class Stage implements H1Environment {
  readonly limits: H1Environment["limits"];
  readonly maxBodyBytes: number;
  /** What asks looks at the length of the body, with the route. */
  readonly routesHaveTerms = true;
  readonly idleTimeoutMs = HOUR_MS;
  readonly headerTimeoutMs = HOUR_MS;
  readonly streamTimeoutMs = HOUR_MS;
  readonly bodyPace: H1Environment["bodyPace"] = { bytesPerSecond: 0, graceMs: HOUR_MS, mostMs: HOUR_MS };
  readonly sweep: Sweep = new Sweep();
  readonly metrics: Metrics = new Metrics();
  /** What is to be recorded says so in what is sent. */
  readonly tracing: Tracing | null;
  readonly errorPages: ErrorPages = new ErrorPages();
  readonly draining = false;
  dispatched: H1Exchange | null = null;
  refused: Refused | null = null;

  constructor({ maxHeaderBytes, maxBodyBytes }: ReadingLimits, tracing: Tracing | null) {
    this.tracing = tracing;
    this.limits = { maxHeadBytes: maxHeaderBytes, maxFields: MAX_FIELDS, maxTargetBytes: MAX_TARGET_BYTES };
    this.maxBodyBytes = maxBodyBytes;
  }

  dispatch(exchange: H1Exchange): void {
    this.dispatched = exchange;
  }

  exchangeEnded({ code, problem }: H1Exchange): void {
    if (code !== null) this.refused ??= { code, problem };
  }

  connectionClosed(): void {}
}

/** Takes everything. */
class DeadSocket implements Socket {
  handler!: SocketSink;
  bulk = false;
  readonly remoteAddress: string;
  readonly pendingBytes = 0;
  readonly settled = true;

  constructor(remoteAddress: string) {
    this.remoteAddress = remoteAddress;
  }

  write(): boolean {
    return true;
  }

  writeCopied(): boolean {
    return true;
  }

  end(): void {}
  destroy(): void {}
  reset(): void {}
  pause(): void {}
  resume(): void {}
}
