/** The policies that the workers are to have, revision by revision. */
import type { Log } from "../observation/log.ts";
import { Policies, type PolicyDelta } from "../table/policies.ts";
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
  take(delta: PolicyDelta, reason: string): boolean {
    const before = this.#snapshot.policies;
    const upserts = delta.upserts.filter((policy) => before.domains.get(policy.host) !== policy);
    const removals = delta.removals.filter((host) => before.domains.has(host));
    const { file = before.file } = delta;
    if (file === before.file && upserts.length + removals.length === 0) return false;
    const after = before.with({ file, upserts, removals });
    this.#snapshot = { revision: this.#snapshot.revision + 1, policies: after };
    const { log, changed } = this.#options;
    changed(before, after);
    log.info("policies changed", {
      revision: this.#snapshot.revision,
      reason,
      services: after.file.services.length,
      routes: after.file.routes.length,
      domains: after.domains.size,
      domains_changed: upserts.length,
      domains_removed: removals.length,
    });
    return true;
  }
}
