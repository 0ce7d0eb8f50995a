/** How the policies stand to where they come from: what readiness, metrics and the admin API show. */
import type { Policies } from "../table/policies.ts";
import type { ConfigFileStatus } from "./config-file.ts";

export interface PolicyStatus {
  /** In force; 0: there have never been any. */
  readonly revision: number;
  readonly policies: Policies;
  /** null: none is configured. */
  readonly file: ConfigFileStatus | null;
  /** Host names of endpoints. */
  readonly names: readonly NameStatus[];
}

export interface NameStatus {
  readonly name: string;
  /** As it was last resolved. */
  readonly addresses: readonly string[];
  /** null: the last question was answered. */
  readonly error: string | null;
}
