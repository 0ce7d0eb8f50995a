/** The links to all workers there are: what the control plane says to one it says to all. */
import type { Timers } from "../runtime/timers.ts";
import type { RouteDelta } from "../table/record.ts";
import type { Verdict } from "../upstream/prober.ts";
import type { Workers } from "./control-plane.ts";
import type { WorkerLink } from "./worker-link.ts";

/** How long anybody waits for a worker to take a revision. One that hangs is replaced sooner. */
const APPLIED_MS = 10_000;

export class WorkerLinks implements Workers {
  readonly #links: Set<WorkerLink> = new Set();
  readonly #timers: Timers;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  add(link: WorkerLink): void {
    this.#links.add(link);
  }

  /** Closes it: its worker is gone. */
  remove(link: WorkerLink): void {
    this.#links.delete(link);
    link.close();
  }

  routesChanged(delta: RouteDelta, revision: number): void {
    for (const link of this.#links) link.routesChanged(delta, revision);
  }

  healthChanged(verdicts: readonly Verdict[]): void {
    for (const link of this.#links) link.healthChanged(verdicts);
  }

  applied(revision: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const cancel = this.#timers.after(APPLIED_MS, () => resolve(false));
    void Promise.all([...this.#links].map((link) => link.applied(revision))).then(() => {
      cancel();
      resolve(true);
    });
    return promise;
  }
}
