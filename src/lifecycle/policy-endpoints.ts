/*  The endpoints that policies lead to, by identity: those that a service names, and the VMs of hosts whose domain has a policy for them
 *  (`vm/10.0.0.5:8080@app.example.com`), which exist as long as the VM does.
 *
 *  Like the table's, an endpoint that no service names any more is still found until it is released: workers need not have taken the
 *  change yet.
 */
import { partsOfKey, Policies } from "../table/policies.ts";
import type { ServiceEndpoint, ServicePolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";

export class PolicyEndpoints {
  #policies: Policies = Policies.none;
  #named: Map<string, ServiceEndpoint> = new Map();
  /** Those that are named no more, and since when, longest first. */
  readonly #left: Map<string, { readonly endpoint: ServiceEndpoint; readonly sinceMs: number }> = new Map();

  take(policies: Policies, nowMs: number): void {
    const before = this.#named;
    this.#policies = policies;
    this.#named = new Map();
    for (const endpoint of namedEndpoints(policies)) this.#named.set(endpoint.key, endpoint);
    for (const [key, endpoint] of before) if (!this.#named.has(key)) this.#left.set(key, { endpoint, sinceMs: nowMs });
    for (const key of this.#named.keys()) this.#left.delete(key);
  }

  /** `vm`: what the table knows of the address alone. */
  find(key: string, vm: (bare: string) => EndpointRecord | undefined): ServiceEndpoint | undefined {
    const named = this.#named.get(key) ?? this.#left.get(key)?.endpoint;
    if (named !== undefined) return named;
    const { bare, service } = partsOfKey(key);
    if (service === null || this.#policies.service(service)?.endpoints !== null) return undefined;
    const record = vm(bare);
    return record === undefined ? undefined : { ...record, key, service, weight: 1 };
  }

  /** null: it is under none. */
  policyOf(key: string): ServicePolicy | null {
    const { service } = partsOfKey(key);
    return service === null ? null : this.#policies.service(service)?.policy ?? null;
  }

  /** Since when there has been one that is named no more. */
  get leftSinceMs(): number | null {
    const [oldest] = this.#left.values();
    return oldest?.sinceMs ?? null;
  }

  /** Forgets those that were named no more from then on, or earlier. */
  release(sinceMs: number): void {
    for (const [key, left] of this.#left) {
      if (left.sinceMs > sinceMs) return;
      this.#left.delete(key);
    }
  }
}

function* namedEndpoints({ file, domains }: Policies): Iterable<ServiceEndpoint> {
  for (const { endpoints } of file.services) if (endpoints !== null) yield* endpoints;
  for (const { services } of domains.values()) {
    if (services.length === 0) continue;
    for (const { endpoints } of services) if (endpoints !== null) yield* endpoints;
  }
}
