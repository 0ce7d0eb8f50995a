/*  The guard against a `route_policies` that has been emptied, or was restored in part: a reading that would take away most of the
 *  domains' policies must be said twice (`blast-radius`, as for routes). Away is what has no row any more, a policy that says nothing
 *  (`{}`), and one that is wrong, which would take its domain out.
 *
 *  Only what a held reading takes away is held: routes are followed, and so are policies that are new or say something else, since no route
 *  is to be served without its policy. A domain whose policy has become wrong is served on under the one before.
 */
import type { Log } from "../observation/log.ts";
import { inSlices } from "../runtime/in-slices.ts";
import { hostChanges, HostMap } from "../table/host-map.ts";
import type { DomainPolicy } from "../table/policy.ts";
import type { Routes } from "../table/routes.ts";
import { type BlastRadius, OPEN, step } from "./blast-radius.ts";
import type { TellState } from "./source-health.ts";
import type { SourceReading } from "./source.ts";

/** By host. */
export type PoliciesByHost = ReadonlyMap<string, DomainPolicy>;

export interface PolicyGuardOptions {
  /** What the source has said of domains and the guard has let pass; at first what was in force before this process. */
  readonly good: () => PoliciesByHost;
  readonly log: Log;
  readonly tell: TellState;
}

export class PolicyGuard {
  readonly #options: PolicyGuardOptions;
  #guard: BlastRadius<PoliciesByHost> = OPEN;
  /** What `#withKept` has last answered, and of what: a held reading may come again each second. */
  #kept: { readonly of: PoliciesByHost; readonly policies: PoliciesByHost } | null = null;

  constructor(options: PolicyGuardOptions) {
    this.#options = options;
  }

  /** Policies that a held reading would take away; 0 = nothing is held. */
  get held(): number {
    return this.#guard.state === "holding" ? this.#guard.removals : 0;
  }

  /** What is held; null: nothing. */
  get heldReading(): PoliciesByHost | null {
    return this.#guard.state === "holding" ? this.#guard.reading : null;
  }

  /**
   * The reading as it is to be taken. `fresh`: everything was read, long enough after a reading that is held; a table of policies that
   * could not be read confirms nothing. Those that somebody lets go need no second word.
   */
  async judge(reading: SourceReading, fresh: boolean): Promise<SourceReading> {
    const { policies, policyTable } = reading;
    if (policies === undefined) return reading;
    const good = this.#options.good();
    const removals = policies === good ? 0 : await countMissing(good, policies);
    const bringsBack = removals > 0 && await this.#bringsBack(policies, good);
    const said = { reading: policies, removals, bringsBack, fresh: fresh && (policyTable?.problem ?? null) === null };
    const { guard, apply } = policyTable?.letGo === true ? { guard: OPEN, apply: true } : step(this.#guard, good.size, said);
    if (!apply && guard !== this.#guard) this.#tellHeld(removals, good.size);
    if (apply && this.#guard.state === "holding") this.#options.tell("released", "");
    this.#guard = guard;
    if (!apply) return await this.#withKept(reading, policies, good);
    this.#kept = null;
    return reading;
  }

  /** Those of the reading, also of domains whose policy was good before it became wrong. */
  routesKept({ allRoutes, excluded }: SourceReading): Routes {
    const good = this.#options.good();
    const draft = allRoutes.draft();
    for (const { code, host } of excluded) if (code === "bad_policy" && host !== null && !good.has(host)) draft.remove(host);
    return draft.finish();
  }

  async #bringsBack(policies: PoliciesByHost, good: PoliciesByHost): Promise<boolean> {
    const { heldReading } = this;
    if (heldReading === null || heldReading === policies) return false;
    let back = false;
    await inSlices(hostChanges(heldReading, policies), ({ host, before, after }) => {
      if (!saysNothing(after) && saysNothing(before) && good.has(host)) back = true;
    });
    return back;
  }

  /** What is good stays where the reading takes it away, and its domain with it. */
  async #withKept(reading: SourceReading, policies: PoliciesByHost, good: PoliciesByHost): Promise<SourceReading> {
    const { excluded, excludedCount } = reading;
    if (this.#kept?.of !== policies || this.#kept.policies !== good) {
      const said: [string, DomainPolicy][] = [];
      await inSlices(hostChanges(good, policies), ({ host, after }) => {
        if (after !== undefined && !saysNothing(after)) said.push([host, after]);
      });
      this.#kept = { of: policies, policies: HostMap.of(good).with(said, []) };
    }
    const left = excluded.filter(({ code, host }) => code !== "bad_policy" || host === null || !good.has(host));
    return {
      ...reading,
      routes: this.routesKept(reading),
      excluded: left,
      excludedCount: excludedCount - (excluded.length - left.length),
      policies: this.#kept.policies,
    };
  }

  #tellHeld(removed: number, policies: number): void {
    this.#options.tell("held", `would remove ${removed} of ${policies} policies`);
    this.#options.log.warn("refresh held back: it would remove most of the policies", { removed, policies });
  }
}

/** Those of `before` that `after` takes away. Costs what differs, where one descends from the other. */
async function countMissing(before: PoliciesByHost, after: PoliciesByHost): Promise<number> {
  let missing = 0;
  await inSlices(hostChanges(before, after), (change) => {
    if (saysNothing(change.after) && !saysNothing(change.before)) missing++;
  });
  return missing;
}

function saysNothing(policy: DomainPolicy | undefined): boolean {
  return policy === undefined || policy.services.length === 0 && policy.routes.length === 0;
}
