/** What a worker says, once a second, of its requests under policies. Plain JSON; next to nothing where there are none. */
import { type HostReport, NOTHING_COUNTED } from "./host-figures.ts";

/** What keeps requests away from an endpoint, or from a service: its breaker, or that live traffic has put it out (`trial`: may be tried). */
export const TROUBLES = ["breaker_open", "breaker_half_open", "ejected", "trial"] as const;
export type TroubleKind = (typeof TROUBLES)[number];

export interface Trouble {
  /** Of the endpoint, or of the service where there is one breaker for all. */
  readonly name: string;
  readonly service: string;
  readonly kind: TroubleKind;
}

/** Requests that wait for a place at an endpoint of a service. */
export interface QueueLength {
  readonly service: string;
  /** In this worker. */
  readonly waiting: number;
  /** How many may, over all workers. */
  readonly places: number;
}

export interface PolicedReport {
  /** What it has counted since it last said so, by `targetKey`. */
  readonly targets: HostReport;
  /** As of now; the first of them. */
  readonly troubles: readonly Trouble[];
  readonly queues: readonly QueueLength[];
}

export const NOTHING_POLICED: PolicedReport = { targets: NOTHING_COUNTED, troubles: [], queues: [] };

/** As of now, over all workers. */
export interface PolicedNow {
  readonly troubles: readonly Trouble[];
  readonly queues: readonly QueueLength[];
}

/** Workers that share their memory tell of the same trouble, mostly; those that count alone may differ, then the worst of it counts. */
export function policedNow(reports: readonly (Omit<PolicedReport, "targets"> | null)[]): PolicedNow {
  const troubles = new Map<string, Trouble>();
  const queues = new Map<string, QueueLength>();
  for (const report of reports) {
    for (const trouble of report?.troubles ?? []) {
      const name = `${trouble.name} ${isBreaker(trouble)}`;
      const other = troubles.get(name);
      if (other === undefined || TROUBLES.indexOf(trouble.kind) < TROUBLES.indexOf(other.kind)) troubles.set(name, trouble);
    }
    for (const { service, waiting, places } of report?.queues ?? []) {
      queues.set(service, { service, waiting: waiting + (queues.get(service)?.waiting ?? 0), places });
    }
  }
  return { troubles: [...troubles.values()], queues: [...queues.values()] };
}

export function isBreaker({ kind }: Trouble): boolean {
  return kind === "breaker_open" || kind === "breaker_half_open";
}
