/*  What checks and live traffic have found out about one endpoint, and the verdict that follows from it. When checks run is the prober's.
 *
 *  Of a service with a policy of its own so many results in a row turn the verdict. The first result counts at once. What a passive failure
 *  has put out the next good result heals (contract, section 6), a VM that restarts would be out for two intervals else; but once so many
 *  bad results in a row would have put it out, too, so many good ones are wanted.
 */
import type { HealthPolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { HealthVerdict } from "./availability.ts";
import type { ProbeResult } from "./probe.ts";
import { ProbeHistory } from "./probe-history.ts";

/** What workers are told. `reason`: of an unhealthy one, in a few words. */
export type Verdict = readonly [key: string, verdict: HealthVerdict, reason?: string];

/** What is known of one watched endpoint, for people. */
export interface EndpointHealth {
  readonly endpoint: EndpointRecord;
  readonly verdict: HealthVerdict;
  readonly state: "queued" | "probing" | "resting";
  /** When the verdict last changed. */
  readonly sinceAtMs: number;
  /** Of the last probe; null before the first. */
  readonly lastProbeAtMs: number | null;
  readonly latencyMs: number | null;
  /** What the last probe or passive failure said: `status 200`, `connection refused`. */
  readonly reason: string;
  /** Results in a row that said the same as the last. */
  readonly consecutive: number;
  /** null while a probe is queued or running. */
  readonly nextProbeAtMs: number | null;
}

/** The verdict has turned. */
export interface Turn {
  readonly before: HealthVerdict;
  /** How long the one before was in force. */
  readonly lastedMs: number;
}

/** Of what workers are told. */
const MOST_REASON_LENGTH = 100;

export class EndpointFindings {
  readonly endpoint: EndpointRecord;
  readonly history: ProbeHistory = new ProbeHistory();
  /** In force at the last probe. */
  health: HealthPolicy | null;
  verdict: HealthVerdict = "unprobed";
  /** When the verdict last changed. */
  sinceAtMs: number;
  /** What the last probe or passive failure said. */
  reason = "";
  lastProbeAtMs: number | null = null;
  latencyMs: number | null = null;
  /** Results in a row that said the same as the last. */
  consecutive = 0;
  /** A connection failed, and no checks have condemned the endpoint since: what the next probe says is the verdict. */
  doubted = false;
  #lastHealthy: boolean | null = null;

  constructor(endpoint: EndpointRecord, health: HealthPolicy | null, nowMs: number) {
    this.endpoint = endpoint;
    this.health = health;
    this.sinceAtMs = nowMs;
  }

  /** A probe has said this, whether or not it counts. */
  record(result: ProbeResult, nowMs: number): void {
    this.lastProbeAtMs = nowMs;
    this.history.probed(result, nowMs);
    this.latencyMs = result.latencyMs;
    this.consecutive = this.#lastHealthy === result.healthy ? this.consecutive + 1 : 1;
    this.#lastHealthy = result.healthy;
  }

  /** The last result counts. null: the verdict stays. */
  settle(result: ProbeResult, nowMs: number): Turn | null {
    const { verdict, reason } = this;
    const early = this.#isEarly(result);
    // What we lack is no news of a VM; were it gone, requests would tell
    const keeps = early || (result.ours === true && verdict === "healthy");
    this.doubted = this.doubted && !result.healthy && this.consecutive < (this.health?.unhealthyAfter ?? 0);
    const next = result.healthy ? "healthy" : "unhealthy";
    return this.judge(keeps ? verdict : next, early && verdict === "unhealthy" ? reason : result.reason, nowMs);
  }

  /** null: it was the verdict already. */
  judge(verdict: HealthVerdict, reason: string, nowMs: number): Turn | null {
    const before = this.verdict;
    this.reason = reason;
    if (before === verdict) return null;
    const lastedMs = Math.round(nowMs - this.sinceAtMs);
    this.verdict = verdict;
    this.sinceAtMs = nowMs;
    this.history.changed({ atMs: nowMs, verdict, reason });
    return { before, lastedMs };
  }

  /** Its service wants to see more in a row before that turns the verdict. */
  #isEarly({ healthy }: ProbeResult): boolean {
    const { health, doubted, verdict, consecutive } = this;
    if (health === null || doubted || verdict === "unprobed" || healthy === (verdict === "healthy")) return false;
    return consecutive < (healthy ? health.healthyAfter : health.unhealthyAfter);
  }
}

export function verdictOf({ endpoint: { key }, verdict, reason }: EndpointFindings): Verdict {
  return verdict === "unhealthy" ? [key, verdict, reason.slice(0, MOST_REASON_LENGTH)] : [key, verdict];
}
