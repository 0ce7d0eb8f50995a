/** The policies that the workers are to have, revision by revision. */
import type { Log } from "../observation/log.ts";
import { hostChanges, type HostMap } from "../table/host-map.ts";
import { Policies } from "../table/policies.ts";
import type { DomainPolicy, FilePolicies } from "../table/policy.ts";
import type { PolicySnapshot } from "./policy-transfer.ts";

export interface PoliciesInForceOptions {
  readonly log: Log;
  /** There is a new revision. */
  readonly changed: (before: Policies, after: Policies) => void;
}

export class PoliciesInForce {
  readonly #options: PoliciesInForceOptions;
  #snapshot: PolicySnapshot = { revision: 0, policies: Policies.none };

  constructor(options: PoliciesInForceOptions) {
    this.#options = options;
  }

  get snapshot(): PolicySnapshot {
    return this.#snapshot;
  }

  get policies(): Policies {
    return this.#snapshot.policies;
  }

  /** Whether there is anything that differs. */
  take(file: FilePolicies, domains: HostMap<DomainPolicy>, reason: string): boolean {
    const before = this.#snapshot.policies;
    let changedCount = 0, removedCount = 0;
    for (const { after } of hostChanges(before.domains, domains)) {
      if (after === undefined) removedCount++;
      else changedCount++;
    }
    if (file === before.file && changedCount + removedCount === 0) return false;
    const after = before.replaced(file, domains);
    this.#snapshot = { revision: this.#snapshot.revision + 1, policies: after };
    const { log, changed } = this.#options;
    changed(before, after);
    log.info("policies changed", {
      revision: this.#snapshot.revision,
      reason,
      services: after.file.services.length,
      routes: after.file.routes.length,
      domains: after.domains.size,
      domains_changed: changedCount,
      domains_removed: removedCount,
    });
    return true;
  }
}
