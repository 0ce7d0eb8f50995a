/** What HTTP/1.1 connections of clients need from whoever accepted them. */
import type { Metrics } from "../observation/metrics.ts";
import type { Tracing } from "../observation/tracing.ts";
import type { Sweep } from "../runtime/clock.ts";
import type { HeadLimits } from "../wire/h1/message-head.ts";
import type { PaceLimit } from "./body-pace.ts";
import type { ErrorPages } from "./error-page.ts";
import type { H1Connection } from "./h1-connection.ts";
import type { H1Exchange } from "./h1-exchange.ts";

/** One object for all connections of a worker. */
export interface H1Environment {
  readonly limits: HeadLimits;
  /** 0 = no limit. */
  readonly maxBodyBytes: number;
  /** Routes may say otherwise of bodies: how long one may be is known only with the route. */
  readonly routesHaveTerms: boolean;
  readonly idleTimeoutMs: number;
  readonly headerTimeoutMs: number;
  readonly streamTimeoutMs: number;
  /** Of request bodies. */
  readonly bodyPace: PaceLimit;
  readonly sweep: Sweep;
  readonly metrics: Metrics;
  /** null: nothing is recorded, and no trace that begins here says that it should be. */
  readonly tracing: Tracing | null;
  /** For people; others may take their place at any time. */
  readonly errorPages: ErrorPages;
  /** True while the process drains: answers say `Connection: close`. */
  readonly draining: boolean;
  /** Answers the exchange, now or later. */
  dispatch(exchange: H1Exchange): void;
  /** Its record is complete. */
  exchangeEnded(exchange: H1Exchange): void;
  connectionClosed(connection: H1Connection): void;
}
