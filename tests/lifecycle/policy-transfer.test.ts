/** Policies on their way to a worker: batches, deltas, and what happens when the two ends do not agree. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PolicyReceiver } from "../../src/lifecycle/policy-receiver.ts";
import { POLICY_BATCH, type PolicySnapshot } from "../../src/lifecycle/policy-transfer.ts";
import type { DownMessage } from "../../src/lifecycle/worker-channel.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import { Policies, type PolicyDelta } from "../../src/table/policies.ts";
import type { DomainPolicy } from "../../src/table/policy.ts";
import { domainPolicy, filePolicies, policyRoute, service } from "../fixtures/policies.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

type PoliciesMessage = Extract<DownMessage, { type: "policies" }>;

/** Both ends, with what is on the way between them. */
class Stage {
  readonly table: { policies: Policies } = { policies: Policies.none };
  readonly sent: DownMessage[] = [];
  snapshot: PolicySnapshot = { revision: 0, policies: Policies.none };
  commits = 0;
  readonly link: WorkerLink = new WorkerLink({
    send: (message) => this.sent.push(structuredClone(message)),
    snapshot: () => ({ revision: 1, routes: routesOf([route("app.example.com", vm("10.0.0.1"))]) }),
    policies: () => this.snapshot,
  });
  receiver: PolicyReceiver = this.#newReceiver();

  change(delta: Partial<PolicyDelta>): void {
    const policies = this.snapshot.policies.with({ upserts: [], removals: [], ...delta });
    this.snapshot = { revision: this.snapshot.revision + 1, policies };
    this.link.routesChanged();
  }

  /** Answers the messages in the order in which they came. */
  deliver(): PoliciesMessage[] {
    const delivered: PoliciesMessage[] = [];
    for (let message = this.sent.shift(); message !== undefined; message = this.sent.shift()) {
      if (message.type !== "policies") continue;
      delivered.push(message);
      this.receiver.receive(message);
    }
    return delivered;
  }

  /** The worker's end loses what it has. */
  forget(): void {
    this.table.policies = Policies.none;
    this.receiver = this.#newReceiver();
  }

  assertLevel(): void {
    assert.deepEqual(this.table.policies.file, this.snapshot.policies.file);
    assert.deepEqual(new Map(this.table.policies.domains), new Map(this.snapshot.policies.domains));
    assert.equal(this.link.appliedPolicies, this.snapshot.revision);
  }

  #newReceiver(): PolicyReceiver {
    return new PolicyReceiver({
      table: this.table,
      committed: () => this.commits++,
      send: (message) => this.link.receive(message),
    });
  }
}

function domains(count: number, from = 0): DomainPolicy[] {
  return Array.from({ length: count }, (_, index) => domainPolicy(`d${from + index}.example.com`));
}

test("a new worker is told the policies before the first routes", () => {
  const stage = new Stage();
  stage.change({ file: filePolicies([service("users", ["10.0.0.5:80"])], [policyRoute("r", "users")]), upserts: domains(250) });
  stage.link.start();
  const kinds = (): string[] => stage.sent.map(({ type }) => type);
  assert.deepEqual(kinds(), ["policies", "policies", "policies", "routes"]);
  stage.deliver();
  stage.assertLevel();
  assert.equal(stage.commits, 1);
});

test("a worker without policies hears nothing of them", () => {
  const stage = new Stage();
  stage.link.start();
  assert.deepEqual(stage.sent.map(({ type }) => type), ["routes"]);
});

test("only a few batches are on the way to a worker that does not read", () => {
  const stage = new Stage();
  stage.link.start();
  const routes = Array.from({ length: 12 * POLICY_BATCH }, (_, index) => policyRoute(`r${index}`, "users"));
  stage.change({ file: filePolicies([service("users", ["10.0.0.5:80"])], routes) });
  assert.equal(stage.sent.filter(({ type }) => type === "policies").length, 4);
  const delivered = stage.deliver();
  assert.equal(delivered.length, 13);
  assert.equal(stage.commits, 1); // never half a set
  stage.assertLevel();
});

test("a change of one domain sends that one alone, and the file stays", () => {
  const stage = new Stage();
  stage.link.start();
  stage.change({ file: filePolicies([], [policyRoute("r", "vms")]), upserts: domains(300) });
  stage.deliver();
  stage.change({ upserts: domains(1, 7), removals: ["d9.example.com"] });
  const [message, ...more] = stage.deliver();
  assert.equal(more.length, 0);
  assert.deepEqual([message?.file, message?.upserts.length, message?.removals], [undefined, 1, ["d9.example.com"]]);
  stage.assertLevel();
});

test("changes while a set is on the way reach the worker as one more delta", () => {
  const stage = new Stage();
  stage.link.start();
  stage.change({ upserts: domains(1000) });
  stage.change({ upserts: domains(5, 2000) });
  stage.change({ removals: ["d1.example.com"], file: filePolicies([], [policyRoute("x", "vms")]) });
  stage.deliver();
  stage.assertLevel();
  assert.equal(stage.commits, 2);
});

test("a worker that has another revision is sent the whole set", () => {
  const stage = new Stage();
  stage.link.start();
  stage.change({ upserts: domains(250) });
  stage.deliver();
  stage.forget();
  stage.change({ upserts: domains(950, 1000) });
  stage.deliver();
  stage.assertLevel();
  stage.change({ removals: ["d0.example.com"] });
  assert.equal(stage.deliver().length, 1);
  stage.assertLevel();
});
