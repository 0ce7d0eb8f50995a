/** What the admin app may see and do of endpoints. */
import type { Cordon } from "../observation/cordon.ts";
import type { DrainPolicy } from "../table/policy.ts";
import type { OrderedKind, PolicyOrder } from "../table/policy-order.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { BreakerView } from "../upstream/breaker-view.ts";
import type { EndpointUse } from "../upstream/endpoint-state.ts";
import type { ProbeHistory } from "../upstream/probe-history.ts";
import type { EndpointHealth } from "../upstream/endpoint-findings.ts";

export interface EndpointDeps {
  readonly health: (key: string) => EndpointHealth | undefined;
  readonly history: (key: string) => Pick<ProbeHistory, "probes" | "changes"> | undefined;
  /** One that the table leads to. */
  readonly find: (key: string) => EndpointRecord | undefined;
  /** Those of other regions. */
  readonly regions: () => readonly EndpointRecord[];
  readonly routesTo: (key: string) => number;
  /** Some of the hosts that lead there, in order. */
  readonly hostsOf: (key: string, most: number) => Promise<readonly string[]>;
  /** What all workers have to do with these, by key; null: with all that have attempts under way. */
  readonly uses: (keys: readonly string[] | null) => Promise<ReadonlyMap<string, EndpointUse>>;
}

export interface BreakerDeps {
  readonly list: () => Promise<readonly BreakerView[]>;
  /** Resolves when it is closed for all workers; false: there is none. */
  readonly reset: (name: string) => Promise<boolean>;
}

export interface CordonDeps {
  readonly list: () => readonly Cordon[];
  readonly find: (key: string) => Cordon | undefined;
  /** Both resolve when what they have changed is in force in every worker; null: there are too many already. */
  readonly set: (
    key: string,
    wish: { readonly forMs: number; readonly reason: string; readonly by: string },
  ) => Promise<Cordon | null>;
  /** Whether there was one. */
  readonly clear: (key: string) => Promise<boolean>;
}

export interface PolicyOrderDeps {
  readonly list: () => readonly PolicyOrder[];
  readonly find: (kind: OrderedKind, name: string) => PolicyOrder | undefined;
  /** Both resolve when what they have changed is in force in every worker; null: there are too many already. */
  readonly set: (
    kind: OrderedKind,
    name: string,
    wish: Partial<Pick<PolicyOrder, "maintenance">> & {
      /** From now on. */
      readonly drain?: Pick<DrainPolicy, "overMs"> | null;
      readonly forMs: number | null;
      readonly reason: string;
      readonly by: string;
    },
  ) => Promise<PolicyOrder | null>;
  /** Whether there was one. */
  readonly clear: (kind: OrderedKind, name: string, what: "maintenance" | "drain") => Promise<boolean>;
}
