/** Lets go of endpoints that a worker knows under policies, once nothing leads to them any more. */
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import { partsOfKey } from "../table/policies.ts";
import type { RoutingTable } from "../table/routing-table.ts";

export interface PolicyExpiryOptions {
  readonly table: Pick<RoutingTable, "policies">;
  /** Of all endpoints that are known, those under a policy. */
  policed(): readonly string[];
  forget(keys: readonly string[]): void;
  readonly timers: Timers;
}

/** Requests that were decided by the policies before are under way, and those policies may come back. */
const REST_MS = 15_000;

export class PolicyExpiry {
  readonly #options: PolicyExpiryOptions;
  #cancel: CancelTimer | null = null;

  constructor(options: PolicyExpiryOptions) {
    this.#options = options;
  }

  /** The policies have changed. Not put off by those that change all the time. */
  arm(): void {
    const { policed, forget, timers } = this.#options;
    this.#cancel ??= timers.after(REST_MS, () => {
      this.#cancel = null;
      const gone = policed().filter((key) => !this.#isLedTo(key));
      if (gone.length > 0) forget(gone);
    });
  }

  /** Of VMs that no route leads to any more: what they are under policies for the VMs of a host, which are gone with them. */
  alsoGone(vms: readonly string[]): readonly string[] {
    const policed = this.#options.policed();
    if (policed.length === 0) return [];
    const gone = new Set(vms);
    return policed.filter((key) => gone.has(partsOfKey(key).bare) && this.#endpointsOf(key) === null);
  }

  stop(): void {
    this.#cancel?.();
  }

  #isLedTo(key: string): boolean {
    const endpoints = this.#endpointsOf(key);
    return endpoints === null || endpoints?.some((endpoint) => endpoint.key === key) === true;
  }

  /** null: the VMs of a host. undefined: there is no such service. */
  #endpointsOf(key: string) {
    return this.#options.table.policies.service(partsOfKey(key).service ?? "")?.endpoints;
  }
}
