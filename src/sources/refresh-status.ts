/** How the table stands to its source. */
import type { DurationSums } from "../observation/duration-counts.ts";
import type { ExclusionCounts } from "./exclusion-report.ts";
import type { KeptPolicies } from "./policy-outage.ts";
import type { Following, RegionRow } from "./source.ts";

/** What readiness, metrics and the admin API show. */
export interface RefreshStatus {
  /** 0 before the first table. */
  readonly revision: number;
  readonly routes: number;
  readonly following: Following;
  readonly server: string | null;
  /** When everything was last compared; null where each reading compares everything, and before the first. */
  readonly comparedAtMs: number | null;
  /** Where the routes come from: the source's name, or the last good table; null before the first. */
  readonly tableSource: string | null;
  /** The old revision that is served instead of what the source says. */
  readonly pinned: { readonly revision: number; readonly sinceAtMs: number; readonly untilAtMs: number } | null;
  /** When the served table was last known to be what the source says. */
  readonly lastSuccessAtMs: number | null;
  readonly lastAttemptAtMs: number | null;
  /** null while all is well. */
  readonly lastError: string | null;
  readonly refreshes: number;
  readonly failures: number;
  /** Routes that a held reading would remove; 0 = nothing is held. */
  readonly held: number;
  /** Policies of domains that one would remove, likewise. */
  readonly heldPolicies: number;
  /** Those that stay in force although their table cannot be read any more; null: it can, or there are none. */
  readonly keptPolicies: KeptPolicies | null;
  /** Conflicts count, too. */
  readonly badRows: number;
  readonly excluded: ExclusionCounts;
  readonly lastDurationMs: number;
  /** Of all readings that succeeded. */
  readonly durations: DurationSums;
  readonly regions: readonly RegionRow[];
}

/** Whether the last reading of the database has succeeded; null: none has ended yet, or there is no database. */
export function isReadable({ following, lastAttemptAtMs, lastError }: RefreshStatus): boolean | null {
  return lastAttemptAtMs === null || !hasDatabase({ following }) ? null : lastError === null;
}

export function hasDatabase({ following }: Pick<RefreshStatus, "following">): boolean {
  return following !== "nothing";
}
