/** What policies do as a whole, for metrics and the admin address. */
import type { AdminDeps } from "../admin/deps.ts";
import { policedNow } from "../observation/policed-figures.ts";
import type { PolicedFigures } from "../observation/policy-metrics.ts";
import { type PolicyFindings, policyFindings } from "../table/policy-findings.ts";
import { partsOfKey } from "../table/policies.ts";
import type { FilePolicies, PolicyRoute } from "../table/policy.ts";
import { drainShare } from "../table/policy-order.ts";
import { systemTimers } from "../runtime/timers.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Cordons } from "./cordons.ts";
import type { PolicyOrders } from "./policy-orders.ts";

export interface FindingSources extends Pick<AdminDeps, "workers"> {
  readonly cordons: Cordons;
  readonly policyOrders: PolicyOrders;
}

/** For who asks again and again: several dashboards, balancers that ask for readiness. */
const KEPT_MS = 500;

export function findingsKept(control: ControlPlane, sources: FindingSources): () => PolicyFindings {
  let kept: PolicyFindings | null = null;
  let untilMs = -Infinity;
  return () => {
    const nowMs = performance.now();
    if (kept === null || nowMs >= untilMs) {
      kept = findingsOf(control, sources);
      untilMs = nowMs + KEPT_MS;
    }
    return kept;
  };
}

function findingsOf(control: ControlPlane, { workers, cordons, policyOrders }: FindingSources): PolicyFindings {
  const { troubles } = policedNow(workers().map(({ policed }) => policed));
  const shut = new Map(troubles.flatMap(({ name, kind }) => kind === "breaker_open" || kind === "ejected" ? [[name, kind]] : []));
  return policyFindings({
    policies: control.policies.snapshot.policies,
    routes: control.table,
    orders: policyOrders.list(),
    hindrance: ({ key, service }) => {
      if (cordons.find(key) !== undefined || cordons.find(partsOfKey(key).bare) !== undefined) return "cordoned";
      if (control.healthOf(key)?.verdict === "unhealthy") return "unhealthy";
      const why = shut.get(key) ?? shut.get(service);
      return why === undefined ? null : why === "ejected" ? "ejected" : "breaker open";
    },
  });
}

/** Of the splits of a file. */
const MOST_SHARES = 1000;

export function policedFigures(control: ControlPlane, sources: FindingSources): PolicedFigures {
  const findings = findingsOf(control, sources);
  const nowMs = systemTimers.nowMs();
  const { file } = control.policies.snapshot.policies;
  const orders = sources.policyOrders.list();
  return {
    ...policedNow(sources.workers().map(({ policed }) => policed)),
    targets: control.targets.series(),
    shares: sharesOf(file),
    maintained: countOf(findings.maintained),
    drained: countOf(findings.drained.filter(({ drain }) => drainShare(drain, nowMs) < 1)),
    oldestOrderAtMs: orders.length === 0 ? null : Math.min(...orders.map(({ sinceAtMs }) => sinceAtMs)),
    orders: orders.length,
    unusable: findings.unusable.map(({ name }) => name),
    hidden: findings.hidden.length,
  };
}

function sharesOf({ routes }: FilePolicies): PolicedFigures["shares"] {
  const shares: PolicedFigures["shares"][number][] = [];
  for (const { id, split } of routes) {
    if (split.length < 2) continue;
    const all = allOf(split);
    for (const { service, share } of split) {
      if (shares.length < MOST_SHARES) shares.push({ route: id, service, share: share / all });
    }
  }
  return shares;
}

function allOf(split: PolicyRoute["split"]): number {
  return Math.max(1, split.reduce((sum, { share }) => sum + share, 0));
}

function countOf(suspended: readonly { readonly kind: "route" | "service" }[]): Readonly<Record<"route" | "service", number>> {
  const routes = suspended.filter(({ kind }) => kind === "route").length;
  return { route: routes, service: suspended.length - routes };
}
