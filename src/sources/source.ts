/*  Where routes come from. A source keeps what it has last read to itself, and answers each `read` with everything it says now: it knows
 *  best what a reading may leave out (a change feed, digests, files that have not changed). `refresh` decides when to read, compares
 *  with what is served, and publishes the difference.
 */
import type { DomainPolicy } from "../table/policy.ts";
import type { PolicyRows, PolicyTableState } from "./policy-table.ts";
import type { Routes } from "../table/routes.ts";

/** A row of the platform's regions, for the admin API. */
export interface RegionRow {
  readonly id: string;
  /** null when the row has none. */
  readonly publicIpv4: string | null;
}

/** A domain that is not served, or not as its row says. */
export interface Exclusion {
  /** As the source spells it. */
  readonly domain: string;
  /** Normalised; null when it is no host name. */
  readonly host: string | null;
  /**
   * `bad_row`: it cannot be used. `conflict`: another row has the host. `flapping`: it changes too often. `bad_policy`: its
   * policy (`route_policies`) is wrong, and nobody is to be served without it.
   */
  readonly code: "bad_row" | "conflict" | "flapping" | "bad_policy";
  readonly reason: string;
}

export interface SourceReading {
  /** All of them; the same object as in the reading before when nothing has changed. */
  readonly routes: Routes;
  /** Also those that `routes` leaves out because their policy is wrong. */
  readonly allRoutes: Routes;
  /** The first of them; `excludedCount` counts all. The same list as before when nothing has changed. */
  readonly excluded: readonly Exclusion[];
  readonly excludedCount: number;
  readonly regions: readonly RegionRow[];
  /** Of domains, by host; the same map as before when nothing has changed. Absent: the source has none. */
  readonly policies?: ReadonlyMap<string, DomainPolicy>;
  /** The rows that say so, also those that are wrong; by domain; likewise the same map. */
  readonly policyRows?: PolicyRows;
  /** How the table of policies itself stands; absent: the source has none. */
  readonly policyTable?: PolicyTableState;
  /** Everything was compared, not only what a feed has named. */
  readonly whole: boolean;
}

/** How changes are learned: the source is told, it asks its log, or it compares the tables. */
export type ChangesFollowed = "notifications" | "change log" | "tables";
/** `nothing`: there is no database whose changes there could be. */
export type Following = ChangesFollowed | "nothing";

export interface Source {
  /** For logs and status: `postgres`. */
  readonly name: string;
  readonly following: Following;
  /** Which server answers, for people: `db1:5432 (standby)`; null while there is none. */
  readonly server: string | null;
  /** When everything was last compared, where changes are told one by one; else null. */
  readonly comparedAtMs: number | null;
  /** When to read again without being told, in ms; null: at the interval. */
  readonly pollMs: number | null;
  /** Set by who reads: something may have changed. */
  onChange: () => void;
  /** Set by who reads: what is good now. A source that has read nothing yet shares with it what is the same. */
  like?: () => Routes;
  /** Rejects when the source cannot be read. `whole`: compare everything, whatever a feed says. Never called twice at once. */
  read(how: { readonly whole: boolean }, signal: AbortSignal): Promise<SourceReading>;
  /**
   * Compares everything beside the readings, which go on meanwhile; the next `read` then answers with what it has found, and is whole.
   * Rejects when that fails. null where each reading compares everything anyway.
   */
  readonly compare: ((signal: AbortSignal) => Promise<void>) | null;
  /** What stays of a table of policies that cannot be read any more goes with the next reading: somebody says that this is meant. */
  letPoliciesGo?(): void;
  /** Gives everything back; nothing is read afterwards. */
  close(): Promise<void>;
}
