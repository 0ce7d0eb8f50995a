/** The worker's end of the policies: gathers the batches of a set, and puts it into force with the last. */
import { Policies } from "../table/policies.ts";
import type { DomainPolicy, FilePolicies, PolicyRoute, SandboxPolicy, ServiceRecord } from "../table/policy.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import { EqualParts } from "../table/equal-parts.ts";
import type { DownMessage, UpMessage } from "./worker-channel.ts";

type PoliciesMessage = Extract<DownMessage, { type: "policies" }>;

export interface PolicyReceiverOptions {
  readonly table: Pick<RoutingTable, "policies">;
  /** Another set is in force. */
  committed(before: Policies, after: Policies): void;
  send(message: UpMessage): void;
}

/** A set that is being gathered. */
interface Gathering {
  readonly before: Policies;
  sandbox: SandboxPolicy | null;
  readonly services: ServiceRecord[];
  readonly routes: PolicyRoute[];
  readonly upserts: DomainPolicy[];
  readonly removals: string[];
}

export class PolicyReceiver {
  readonly #options: PolicyReceiverOptions;
  readonly #parts: EqualParts = new EqualParts();
  #revision = 0;
  #gathering: Gathering | null = null;

  constructor(options: PolicyReceiverOptions) {
    this.#options = options;
  }

  receive(message: PoliciesMessage): void {
    if (message.first) this.#gathering = this.#begin(message.base);
    const gathering = this.#gathering;
    if (gathering === null) return this.#answer(null);
    this.#gather(gathering, message);
    if (message.last) this.#commit(gathering, message.revision);
    this.#answer(this.#revision);
  }

  /** null: it applies to another revision than ours. */
  #begin(base: number): Gathering | null {
    if (base !== 0 && base !== this.#revision) return null;
    const before = base === 0 ? Policies.none : this.#options.table.policies;
    return { before, sandbox: null, services: [], routes: [], upserts: [], removals: [] };
  }

  #commit({ before, sandbox, services, routes, upserts, removals }: Gathering, revision: number): void {
    const { table, committed } = this.#options;
    const file: FilePolicies | null = sandbox === null ? null : { services, routes, sandbox };
    const policies = before.with({ ...file !== null && { file }, upserts, removals });
    const was = table.policies;
    table.policies = policies;
    this.#revision = revision;
    this.#gathering = null;
    committed(was, policies);
  }

  #answer(revision: number | null): void {
    this.#options.send({ type: "policies-taken", revision });
  }

  #gather(gathering: Gathering, { file, upserts, removals }: PoliciesMessage): void {
    if (file !== undefined) {
      gathering.sandbox = file.sandbox;
      gathering.services.push(...file.services);
      gathering.routes.push(...file.routes);
    }
    for (const policy of upserts) gathering.upserts.push(this.#parts.of(policy));
    gathering.removals.push(...removals);
  }
}
