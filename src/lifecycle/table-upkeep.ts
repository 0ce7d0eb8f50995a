/*  A worker's table, kept up to date: what the control plane sends is worked in, and what nothing leads to any more is let go. Both go in
 *  slices, between which clients have most of the time.
 */
import type { Metrics } from "../observation/metrics.ts";
import { collectGarbage } from "../runtime/garbage.ts";
import { later } from "../runtime/later.ts";
import type { Timers } from "../runtime/timers.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import { PolicyExpiry } from "./policy-expiry.ts";
import { PolicyReceiver } from "./policy-receiver.ts";
import { RouteExpiry } from "./route-expiry.ts";
import { RouteReceiver } from "./route-receiver.ts";
import type { DownMessage, UpMessage } from "./worker-channel.ts";

export interface TableUpkeepOptions {
  readonly table: RoutingTable;
  /** What clients have sent. */
  readonly metrics: Pick<Metrics, "bytesIn">;
  readonly timers: Timers;
  send(message: UpMessage): void;
  /** Other policies are in force. */
  policiesChanged(): void;
  /** Of all endpoints that are known, those under a policy. */
  policed(): readonly string[];
  /** Nothing leads to these endpoints any more, and nothing has for a while. */
  forget(keys: readonly string[]): void;
}

/**
 * Between two slices of a delta, while clients send. With 1,000 requests a second and 200,000 changed routes: p99 5.4 -> 3.0 ms (2.5
 * without any change), in force after 2.2 s instead of 1.7 (with the table as maps).
 */
const REST_MS = 2;

export class TableUpkeep {
  readonly #options: TableUpkeepOptions;
  readonly #routes: RouteReceiver;
  readonly #policies: PolicyReceiver;
  readonly #routeExpiry: RouteExpiry;
  readonly #policyExpiry: PolicyExpiry;
  /** What clients had sent at the last slice. */
  #bytesSeen = 0;

  constructor(options: TableUpkeepOptions) {
    const { table, timers, send } = options;
    const inPeace = (run: () => void): void => this.#inPeace(run);
    this.#options = options;
    this.#routes = new RouteReceiver({
      table,
      committed: () => this.#routeExpiry.arm(),
      send,
      later: inPeace,
      nowMs: () => timers.nowMs(),
      tidy: collectGarbage,
    });
    this.#policies = new PolicyReceiver({ table, committed: () => this.#policiesCommitted(), send });
    const { policed, forget } = options;
    this.#routeExpiry = new RouteExpiry({
      table,
      forget: (keys) => forget([...keys, ...this.#policyExpiry.alsoGone(keys)]),
      later: inPeace,
      timers,
    });
    this.#policyExpiry = new PolicyExpiry({ table, policed, forget, timers });
  }

  receive(message: Extract<DownMessage, { type: "routes" | "policies" }>): void {
    if (message.type === "routes") this.#routes.receive(message);
    else this.#policies.receive(message);
  }

  /** Lets go of nothing any more. */
  stop(): void {
    this.#routeExpiry.stop();
    this.#policyExpiry.stop();
  }

  #policiesCommitted(): void {
    this.#options.policiesChanged();
    this.#policyExpiry.arm();
  }

  /** While there is traffic, it has most of the time between two slices; without a table nobody is served. */
  #inPeace(run: () => void): void {
    const { table, metrics: { bytesIn }, timers } = this.#options;
    if (bytesIn === this.#bytesSeen || table.revision === 0) return later(run);
    this.#bytesSeen = bytesIn;
    timers.after(REST_MS, run);
  }
}
