/*  The control side of one worker: what it is told of routes and verdicts, at the pace at which it takes them.
 *
 *               a table is there                   all batches sent                       the table changed
 *   created ----------------------> whole table ---------------------> level with the table ----------------> what differs
 *                                     ^                                   ^                                     |  |
 *                                     '---- resync -----------------------|-------------------------------------'  |
 *                                                                         '---------- all batches sent ------------'
 *   close: from any state, final
 *
 *  - A worker has at most ROUTES_CREDIT batches that it has not taken. The link remembers which revision it will have then; what has
 *    changed meanwhile is compared with that one when it is due. So a worker that does not read costs a few messages and one table.
 *  - Policies go the same way with a credit of their own, ahead of routes: no batch of routes is sent while one of policies is due.
 *  - Verdicts go their own way with their own credit: they never wait for routes. What waits is kept by endpoint, the last word counts.
 *  - Whoever owns the worker creates a link, passes on what the control plane tells all workers, calls `start` when
 *    the worker can be spoken to, gives every message of the worker to `receive` first, and calls `close` when the worker is gone.
 */
import { Policies } from "../table/policies.ts";
import { Routes } from "../table/routes.ts";
import type { Verdict } from "../upstream/endpoint-findings.ts";
import { type PolicySnapshot, PolicyTransfer } from "./policy-transfer.ts";
import { RouteTransfer, type Snapshot } from "./route-transfer.ts";
import type { DownMessage, UpMessage } from "./worker-channel.ts";

export interface WorkerLinkOptions {
  /** Must not throw. */
  send(message: DownMessage): void;
  /** The table as of now. */
  snapshot(): Snapshot;
  /** The policies as of now; absent: there are none. */
  policies?(): PolicySnapshot;
}

/** Messages with routes that a worker may have and not have answered. */
const ROUTES_CREDIT = 8;
const POLICIES_CREDIT = 4;
const HEALTH_CREDIT = 4;
/** Verdicts per message. */
const VERDICTS = 1000;
const NOTHING: Snapshot = { revision: 0, routes: Routes.none };
const NO_POLICIES: PolicySnapshot = { revision: 0, policies: Policies.none };

export class WorkerLink {
  readonly #options: WorkerLinkOptions;
  #state: "created" | "started" | "closed" = "created";
  /** What is being sent; the next message is its next batch. */
  #transfer: RouteTransfer | null = null;
  /** What the worker will have when it has taken all that was begun. */
  #begun: Snapshot = NOTHING;
  #routesOut = 0;
  #policyTransfer: PolicyTransfer | null = null;
  #policiesBegun: PolicySnapshot = NO_POLICIES;
  /** The last set that was begun is whole. */
  #policiesWhole = false;
  #policiesOut = 0;
  #appliedPolicies = 0;
  #healthOut = 0;
  #verdicts: Map<string, Verdict> = new Map();
  #sending = false;
  #appliedRevision = 0;

  constructor(options: WorkerLinkOptions) {
    this.#options = options;
  }

  /** The revision in force in the worker, as far as it has said. */
  get appliedRevision(): number {
    return this.#appliedRevision;
  }

  /** Likewise of the policies. */
  get appliedPolicies(): number {
    return this.#appliedPolicies;
  }

  /** From now on the worker is told. */
  start(): void {
    if (this.#state !== "created") return;
    this.#state = "started";
    this.#pump();
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#state = "closed";
    this.#transfer = null;
    this.#begun = NOTHING;
    this.#policyTransfer = null;
    this.#policiesBegun = NO_POLICIES;
    this.#verdicts.clear();
  }

  /** There is a new revision of routes or policies. */
  routesChanged(): void {
    this.#pump();
  }

  healthChanged(verdicts: readonly Verdict[]): void {
    if (this.#state !== "started") return; // who has no table has no endpoints
    for (const verdict of verdicts) this.#verdicts.set(verdict[0], verdict);
    this.#pump();
  }

  /** Whether the message was for the link alone. */
  receive(message: UpMessage): boolean {
    switch (message.type) {
      case "taken":
        this.#routesOut--;
        this.#appliedRevision = message.revision;
        this.#pump();
        return true;
      case "policies-taken":
        this.#policiesOut--;
        if (message.revision !== null) this.#appliedPolicies = message.revision;
        else this.#resyncPolicies();
        this.#pump();
        return true;
      case "judged":
        this.#healthOut--;
        this.#pump();
        return true;
      case "resync":
        this.#transfer = null;
        this.#begun = NOTHING;
        this.#pump();
        return true;
      case "wanted":
      case "failed":
        if (this.#state === "started") this.#options.send({ type: "heard", key: message.key });
        return false;
      case "stats":
      case "seen":
      case "answer":
      case "listening":
      case "failed-to-start":
      case "turned":
      case "contradicted":
      case "leaving":
      case "drained":
        return false;
    }
  }

  /** Sends what there is credit for. In one process an answer comes while its message is being sent: the loop below then goes on. */
  #pump(): void {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#sendVerdicts() || this.#sendPolicies() || this.#sendRoutes());
    } finally {
      this.#sending = false;
    }
  }

  #sendVerdicts(): boolean {
    if (this.#state !== "started" || this.#verdicts.size === 0 || this.#healthOut >= HEALTH_CREDIT) return false;
    const verdicts: Verdict[] = [];
    for (const [key, verdict] of this.#verdicts) {
      verdicts.push(verdict);
      this.#verdicts.delete(key);
      if (verdicts.length === VERDICTS) break;
    }
    this.#healthOut++;
    this.#options.send({ type: "health", verdicts });
    return true;
  }

  #sendPolicies(): boolean {
    if (this.#state !== "started" || this.#policiesOut >= POLICIES_CREDIT) return false;
    const transfer = this.#policyTransfer ??= this.#nextPolicies();
    if (transfer === null) return false;
    const message = transfer.next();
    if (transfer.over) this.#policyTransfer = null;
    this.#policiesOut++;
    this.#options.send(message);
    return true;
  }

  get #policiesDue(): boolean {
    return this.#policyTransfer !== null || this.#policiesNow.revision !== this.#policiesBegun.revision;
  }

  get #policiesNow(): PolicySnapshot {
    return this.#options.policies?.() ?? NO_POLICIES;
  }

  #nextPolicies(): PolicyTransfer | null {
    const snapshot = this.#policiesNow;
    if (snapshot.revision === this.#policiesBegun.revision) return null;
    const transfer = new PolicyTransfer(this.#policiesBegun, snapshot);
    this.#policiesWhole = this.#policiesBegun.revision === 0;
    this.#policiesBegun = snapshot;
    return transfer;
  }

  /** What was on the way is answered in the same manner: only the first answer counts. */
  #resyncPolicies(): void {
    if (this.#policiesWhole) return;
    this.#policyTransfer = null;
    this.#policiesBegun = NO_POLICIES;
    this.#policiesWhole = true;
  }

  #sendRoutes(): boolean {
    if (this.#state !== "started" || this.#routesOut >= ROUTES_CREDIT || this.#policiesDue) return false;
    const transfer = this.#transfer ??= this.#nextTransfer();
    if (transfer === null) return false;
    const message = transfer.next();
    if (transfer.over) this.#transfer = null;
    this.#routesOut++;
    this.#options.send(message);
    return true;
  }

  #nextTransfer(): RouteTransfer | null {
    const snapshot = this.#options.snapshot();
    if (snapshot.revision === this.#begun.revision) return null;
    const transfer = new RouteTransfer(this.#begun, snapshot);
    this.#begun = snapshot;
    return transfer;
  }
}
