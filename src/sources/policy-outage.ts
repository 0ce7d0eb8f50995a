/*  A table of policies that has been read and cannot be any more. What it said stays in force (`policy-table`); here it is told: when it
 *  begins, every ten minutes while it lasts, and when it is over.
 */
import type { Log } from "../observation/log.ts";
import type { Timers } from "../runtime/timers.ts";
import type { PolicyTableState } from "./policy-table.ts";
import type { TellState } from "./source-health.ts";

/** Policies of domains that nobody can read any more. */
export interface KeptPolicies {
  /** Rows. */
  readonly count: number;
  readonly problem: string;
  readonly sinceAtMs: number;
}

const REMINDER_MS = 10 * 60_000;

export class PolicyOutage {
  readonly #log: Log;
  readonly #timers: Pick<Timers, "nowMs">;
  readonly #tell: TellState;
  #kept: KeptPolicies | null = null;
  #toldAtMs = 0;

  constructor(log: Log, timers: Pick<Timers, "nowMs">, tell: TellState) {
    this.#log = log;
    this.#timers = timers;
    this.#tell = tell;
  }

  /** null: all is well. */
  get kept(): KeptPolicies | null {
    return this.#kept;
  }

  /** As a reading has found it. */
  take({ problem, kept: count, letGo }: PolicyTableState): void {
    const before = this.#kept;
    const nowMs = this.#timers.nowMs();
    this.#kept = problem === null || count === 0 ? null : { count, problem, sinceAtMs: before?.sinceAtMs ?? nowMs };
    if (this.#kept !== null) return this.#tellKept(this.#kept, before, nowMs);
    if (before === null) return;
    const fields = { "outage_seconds": Math.round((nowMs - before.sinceAtMs) / 1000), policies: before.count };
    if (letGo) this.#log.warn("policies of a table that cannot be read are let go", { reason: before.problem, ...fields });
    else this.#log.info("table of policies can be read again", fields);
    this.#tell("released", "");
  }

  #tellKept({ count: policies, problem: reason }: KeptPolicies, before: KeptPolicies | null, nowMs: number): void {
    if (before?.problem === reason && nowMs - this.#toldAtMs < REMINDER_MS) return;
    this.#toldAtMs = nowMs;
    this.#log.error("cannot read the table of policies: what it said stays in force", { reason, policies });
    if (before?.problem !== reason) this.#tell("held", `${reason}: its ${policies} policies stay in force`);
  }
}
