/*  The endpoints that policies lead to, by identity: those that a service names, and the VMs of hosts whose domain has a policy for them
 *  (`vm/10.0.0.5:8080@app.example.com`), which exist as long as the VM does.
 *
 *  Like the table's, an endpoint that no service names any more is still found until it is released: workers need not have taken the
 *  change yet.
 */
import { hostChanges } from "../table/host-map.ts";
import { partsOfKey, Policies } from "../table/policies.ts";
import type { FilePolicies, ServiceEndpoint, ServicePolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";

export class PolicyEndpoints {
  #policies: Policies = Policies.none;
  readonly #named: Map<string, ServiceEndpoint> = new Map();
  /** Those that are named no more, and since when, longest first. */
  readonly #left: Map<string, { readonly endpoint: ServiceEndpoint; readonly sinceMs: number }> = new Map();

  /** Costs what differs: of 100,000 domains one may change at a time. */
  take(policies: Policies, nowMs: number): void {
    const { file, domains } = this.#policies;
    this.#policies = policies;
    const gone = file === policies.file ? [] : [...endpointsOf(file)];
    const named = file === policies.file ? [] : [...endpointsOf(policies.file)];
    for (const { before, after } of hostChanges(domains, policies.domains)) {
      gone.push(...endpointsOf(before));
      named.push(...endpointsOf(after));
    }
    for (const { key } of gone) this.#named.delete(key);
    for (const endpoint of named) {
      this.#named.set(endpoint.key, endpoint);
      this.#left.delete(endpoint.key);
    }
    for (const endpoint of gone) if (!this.#named.has(endpoint.key)) this.#left.set(endpoint.key, { endpoint, sinceMs: nowMs });
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

function* endpointsOf(set: Pick<FilePolicies, "services"> | undefined): Iterable<ServiceEndpoint> {
  for (const { endpoints } of set?.services ?? []) if (endpoints !== null) yield* endpoints;
}
