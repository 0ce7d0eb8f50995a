/** What connections to endpoints need; one object for all of a worker. */
import type { Metrics } from "../observation/metrics.ts";
import type { Sweep } from "../runtime/clock.ts";
import type { HeadLimits } from "../wire/h1/message-head.ts";
import type { ConnectionLimit } from "./connection-limit.ts";

export interface UpstreamEnvironment {
  readonly limits: HeadLimits;
  readonly sweep: Sweep;
  readonly metrics: Metrics;
  readonly connections: ConnectionLimit;
}
