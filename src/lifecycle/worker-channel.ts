/*  The typed messages between the planes, plain JSON each. In one process they are method calls;
 *  over IPC they will be sent as they are, so there is one code path.
 *
 *  control  -- routes, health, collect, drain -->  worker
 *  control  <-- stats, failed, wanted -----------  worker
 */
import type { MetricsSnapshot } from "../observation/metrics.ts";
import type { RouteRecord } from "../table/record.ts";
import type { HealthVerdict } from "../upstream/availability.ts";

/** Control to worker. */
export type DownMessage =
  /** A delta, possibly in several batches: `last` commits them as `revision`. `whole` on the first batch: replaces everything. */
  | {
    readonly type: "routes";
    readonly revision: number;
    readonly whole: boolean;
    readonly upserts: readonly RouteRecord[];
    readonly removals: readonly string[];
    readonly last: boolean;
  }
  /** Verdicts of probes by endpoint key; `unprobed` makes the worker forget and ask again at the next use. */
  | { readonly type: "health"; readonly verdicts: readonly (readonly [key: string, verdict: HealthVerdict])[] }
  /** Send `stats` now. */
  | { readonly type: "collect" }
  /** Begin nothing new, let work finish within `graceMs`. */
  | { readonly type: "drain"; readonly graceMs: number };

/** Worker to control. */
export type UpMessage =
  /** Once a second, and after `collect`. `used`: keys of VM endpoints that had traffic since the last message. */
  | { readonly type: "stats"; readonly metrics: MetricsSnapshot; readonly used: readonly string[] }
  /** Live traffic saw this endpoint refuse or break a connection: probe it now. */
  | { readonly type: "failed"; readonly key: string; readonly error: string }
  /** A request waits for the first verdict on this endpoint. */
  | { readonly type: "wanted"; readonly key: string };

/** One end of the channel. */
export interface Channel<Out, In> {
  send(message: Out): void;
  /** Set once by the owner of this end, before the first message arrives. */
  onMessage: (message: In) => void;
}

/** Two ends in one process; messages are delivered at once, in order. */
export function inProcessChannel(): { control: Channel<DownMessage, UpMessage>; worker: Channel<UpMessage, DownMessage> } {
  const control: Channel<DownMessage, UpMessage> = {
    send: (message) => worker.onMessage(message),
    onMessage: () => {},
  };
  const worker: Channel<UpMessage, DownMessage> = {
    send: (message) => control.onMessage(message),
    onMessage: () => {},
  };
  return { control, worker };
}
