/** What operators have decided, as a worker obeys it: each new message replaces all of it. */
import { OrdersInForce } from "../decision/orders-in-force.ts";
import { ErrorPages } from "../downstream/error-page.ts";
import type { DownstreamListener } from "../downstream/listener.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { Endpoints } from "../upstream/endpoint-state.ts";
import type { StandingOrders } from "./worker-channel.ts";

/** How often is looked whether a cordon is over: the wall clock may be set. */
const CORDON_LOOK_MS = 30_000;

export interface ObedienceOptions {
  readonly endpoints: Pick<Endpoints, "cordon">;
  readonly listener: () => Pick<DownstreamListener, "errorPages">;
  readonly timers: Timers;
}

export class Obedience {
  /** Of routes and services. */
  readonly policies: OrdersInForce = new OrdersInForce();
  readonly #options: ObedienceOptions;
  /** Of the error pages. */
  #pagesRevision = 0;
  #cancelCordons: CancelTimer = () => {};

  constructor(options: ObedienceOptions) {
    this.#options = options;
  }

  obey({ cordoned, policies, errorPages }: StandingOrders): void {
    this.policies.take(policies);
    this.#cordonUntilOver(cordoned);
    if (errorPages.revision === this.#pagesRevision) return;
    this.#pagesRevision = errorPages.revision;
    this.#options.listener().errorPages = new ErrorPages(errorPages.files);
  }

  stop(): void {
    this.#cancelCordons();
  }

  /** They end by themselves, too: nobody may be there to say so. */
  #cordonUntilOver(cordoned: StandingOrders["cordoned"]): void {
    const { endpoints, timers } = this.#options;
    this.#cancelCordons();
    const nowMs = Date.now();
    const left = cordoned.filter(({ untilAtMs }) => untilAtMs > nowMs);
    endpoints.cordon(new Set(left.map(({ key }) => key)));
    if (left.length === 0) return;
    const nextMs = Math.min(CORDON_LOOK_MS, ...left.map(({ untilAtMs }) => untilAtMs - nowMs));
    this.#cancelCordons = timers.after(nextMs, () => this.#cordonUntilOver(left));
  }
}
