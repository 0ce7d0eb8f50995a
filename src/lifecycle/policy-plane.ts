/*  The control plane of policies: what the routes file and the domains say, in force in every worker.
 *
 *    routes file --> resolved names --.
 *                                      >--> in force: revision by revision, to the workers (`PoliciesInForce`)
 *    policies of domains -------------'
 */
import type { EventLog } from "../observation/event-log.ts";
import type { Log } from "../observation/log.ts";
import type { Timers } from "../runtime/timers.ts";
import { ConfigFile, type GoodFile } from "../sources/config-file.ts";
import type { PolicyStatus } from "../sources/policy-status.ts";
import type { Policies } from "../table/policies.ts";
import type { DomainPolicy, FilePolicies } from "../table/policy.ts";
import { PoliciesInForce } from "./policies-in-force.ts";
import type { PolicySnapshot } from "./policy-transfer.ts";
import type { Settings } from "./settings.ts";

export interface PolicyPlaneOptions {
  readonly settings: Pick<Settings, "configFile" | "regionId">;
  /** As it was read at the start; null: there is none. */
  readonly file: GoodFile | null;
  readonly log: Log;
  readonly events: EventLog;
  readonly timers: Timers;
  /** There is a new revision. */
  changed(after: Policies): void;
  /** Resolves when a revision is in force in every worker that answers. */
  applied(revision: number): Promise<unknown>;
}

export class PolicyPlane {
  readonly #options: PolicyPlaneOptions;
  readonly #inForce: PoliciesInForce;
  readonly #file: ConfigFile | null;
  /** What was last said of domains. */
  #taken: ReadonlyMap<string, DomainPolicy> | null = null;
  #takenWhole: ReadonlyMap<string, DomainPolicy> | null = null;

  constructor(options: PolicyPlaneOptions) {
    const { settings, file, log, events, changed, timers } = options;
    this.#options = options;
    this.#inForce = new PoliciesInForce({
      log,
      changed: (_before, after) => {
        changed(after);
        this.#tell();
      },
    });
    this.#file = file === null ? null : new ConfigFile({
      path: settings.configFile,
      context: { regionId: settings.regionId },
      first: file,
      log,
      timers,
      taken: (policies, reason) => this.#takeFile(policies, reason),
      tell: (state, problem) => events.publish({ type: "policies", state, ...this.#counts, problem }),
    });
  }

  get snapshot(): PolicySnapshot {
    return this.#inForce.snapshot;
  }

  get status(): PolicyStatus {
    const { revision, policies } = this.snapshot;
    return { revision, policies, file: this.#file?.status ?? null };
  }

  start(): void {
    const { file } = this.#options;
    if (file !== null) this.#takeFile(file.policies, "start");
    this.#file?.start();
  }

  /** What the source says of domains. `whole`: those that it does not name have none any more. */
  takeDomains(policies: ReadonlyMap<string, DomainPolicy>, whole: boolean, reason: string): void {
    const { domains } = this.snapshot.policies;
    if (this.#taken === policies && !whole || this.#takenWhole === policies) return;
    this.#taken = policies;
    this.#takenWhole = whole ? policies : null;
    const upserts = [...policies.values()].filter((policy) => domains.get(policy.host) !== policy);
    const removals = whole ? [...domains.keys()].filter((host) => !policies.has(host)) : [];
    this.#inForce.take({ upserts, removals }, reason);
  }

  /** Reads the file; resolves when what it says is in force in every worker that answers. */
  async reload(reason: string): Promise<void> {
    await this.#file?.reload(reason);
    await this.#options.applied(this.snapshot.revision);
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  #takeFile(file: FilePolicies, reason: string): void {
    this.#inForce.take({ file, upserts: [], removals: [] }, reason);
  }

  get #counts(): { readonly revision: number; readonly services: number; readonly routes: number; readonly domains: number } {
    const { revision, policies: { file, domains } } = this.snapshot;
    return { revision, services: file.services.length, routes: file.routes.length, domains: domains.size };
  }

  #tell(): void {
    this.#options.events.publish({ type: "policies", state: "changed", ...this.#counts, problem: "" });
  }
}
