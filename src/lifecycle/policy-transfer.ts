/*  What differs between two sets of policies, on its way to a worker: cut into batches one by one, as the worker takes them.
 *
 *  The routes file goes whole where it has changed, its records dealt out over the batches; a domain's policy is one record. So no message
 *  holds up a worker for long, however large the file is.
 */
import { hostChanges } from "../table/host-map.ts";
import type { Policies, PolicyDelta } from "../table/policies.ts";
import type { DomainPolicy, FilePolicies, PolicyRoute, SandboxPolicy, ServiceRecord } from "../table/policy.ts";
import type { DownMessage } from "./worker-channel.ts";

/** Policies that do not change any more. */
export interface PolicySnapshot {
  /** 0: there have never been any. */
  readonly revision: number;
  readonly policies: Policies;
}

/** `file`: the next of its records; absent where it stays. */
export interface PolicyBatch {
  readonly file?: FilePolicies;
  readonly upserts: readonly DomainPolicy[];
  readonly removals: readonly string[];
}

type PoliciesMessage = Extract<DownMessage, { type: "policies" }>;

/** Records per message: some 0.2 ms to read. */
export const POLICY_BATCH = 100;

export class PolicyTransfer {
  readonly #before: PolicySnapshot;
  readonly #after: PolicySnapshot;
  readonly #sandbox: SandboxPolicy | null;
  readonly #services: readonly ServiceRecord[];
  readonly #routes: readonly PolicyRoute[];
  readonly #upserts: readonly DomainPolicy[];
  readonly #removals: readonly string[];
  #first = true;
  /** How many records of all have been sent. */
  #sent = 0;

  constructor(before: PolicySnapshot, after: PolicySnapshot) {
    this.#before = before;
    this.#after = after;
    const { file } = after.policies;
    const fileChanged = file !== before.policies.file;
    this.#sandbox = fileChanged ? file.sandbox : null;
    this.#services = fileChanged ? file.services : [];
    this.#routes = fileChanged ? file.routes : [];
    const { upserts, removals } = changesBetween(before.policies, after.policies);
    this.#upserts = upserts;
    this.#removals = removals;
  }

  get over(): boolean {
    return !this.#first && this.#sent >= this.#total;
  }

  next(): PoliciesMessage {
    const from = this.#sent;
    const first = this.#first;
    this.#first = false;
    this.#sent = Math.min(this.#total, from + POLICY_BATCH);
    const batch = this.#batch(from, this.#sent);
    return { type: "policies", revision: this.#after.revision, base: this.#before.revision, first, last: this.over, ...batch };
  }

  get #total(): number {
    return this.#services.length + this.#routes.length + this.#upserts.length + this.#removals.length;
  }

  /** The records as one list: services, routes, upserts, removals. */
  #batch(from: number, to: number): PolicyBatch {
    let start = 0;
    const part = <Item>(items: readonly Item[]): readonly Item[] => {
      const taken = items.slice(Math.max(0, from - start), Math.max(0, to - start));
      start += items.length;
      return taken;
    };
    const services = part(this.#services), routes = part(this.#routes);
    const batch = { upserts: part(this.#upserts), removals: part(this.#removals) };
    return this.#sandbox === null ? batch : { file: { services, routes, sandbox: this.#sandbox }, ...batch };
  }
}

function changesBetween(before: Policies, after: Policies): Omit<PolicyDelta, "file"> {
  const upserts: DomainPolicy[] = [], removals: string[] = [];
  for (const change of hostChanges(before.domains, after.domains)) {
    if (change.after === undefined) removals.push(change.host);
    else upserts.push(change.after);
  }
  return { upserts, removals };
}
