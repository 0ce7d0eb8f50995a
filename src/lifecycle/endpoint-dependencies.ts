/** What the admin app may see and do of endpoints: the control plane knows of their health, the workers of their use. */
import type { BreakerDeps, CordonDeps, EndpointDeps, PolicyOrderDeps } from "../admin/endpoint-deps.ts";
import { piecesInSlices } from "../runtime/in-slices.ts";
import { mergedBreakers } from "../upstream/breaker-view.ts";
import type { EndpointUse } from "../upstream/endpoint-state.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Cordons } from "./cordons.ts";
import type { Generation } from "./generation.ts";
import type { PolicyOrders } from "./policy-orders.ts";

export function endpointDependencies(control: ControlPlane, generation: Pick<Generation, "ask">): EndpointDeps {
  return {
    health: (key) => control.healthOf(key),
    history: (key) => control.historyOf(key),
    find: (key) => control.endpoints.find(key),
    regions: () => control.endpoints.regions(),
    routesTo: (key) => control.endpoints.routesTo(key),
    hostsOf: async (key, most) => {
      const hosts: string[] = [];
      const routes = control.endpoints.routesTo(key);
      if (routes > 0) await piecesInSlices(control.table.gatherHosts(control.endpoints.leads(key), Math.min(most, routes), hosts));
      return hosts.sort();
    },
    uses: async (keys) => {
      const answers = await generation.ask<"endpoints">({ kind: "endpoints", keys });
      const sums = new Map<string, EndpointUse>();
      for (const { answer } of answers) for (const use of answer.uses) sums.set(use.key, sum(sums.get(use.key), use));
      return sums;
    },
  };
}

/** Of several workers as if they were one. */
function sum(one: EndpointUse | undefined, other: EndpointUse): EndpointUse {
  if (one === undefined) return other;
  const { key, inFlight, idle } = other;
  const hindrance = one.hindrance ?? other.hindrance;
  const share = Math.min(one.share, other.share);
  const later = (one.lastFailure?.atMs ?? 0) > (other.lastFailure?.atMs ?? 0) ? one : other;
  return { key, inFlight: one.inFlight + inFlight, idle: one.idle + idle, lastFailure: later.lastFailure, hindrance, share };
}

/** Where workers see the same numbers, one of them resets for all; where they do not, each for itself. */
export function breakerDependencies(generation: Pick<Generation, "ask">): BreakerDeps {
  return {
    list: async () => {
      const answers = await generation.ask<"breakers">({ kind: "breakers" });
      return [...mergedBreakers(answers.map(({ answer }) => answer.breakers)).values()];
    },
    reset: async (name) => {
      const answers = await generation.ask<"reset-breaker">({ kind: "reset-breaker", name });
      return answers.some(({ answer }) => answer.found);
    },
  };
}

export function cordonDependencies(cordons: Cordons, generation: Pick<Generation, "ask">): CordonDeps {
  // Who answers has heard what it was told before
  const inForce = () => generation.ask<"nothing">({ kind: "nothing" });
  return {
    list: () => cordons.list(),
    find: (key) => cordons.find(key),
    set: async (key, wish) => {
      const cordon = await cordons.set(key, wish);
      await inForce();
      return cordon;
    },
    clear: async (key) => {
      const cleared = await cordons.clear(key);
      await inForce();
      return cleared;
    },
  };
}

export function orderDependencies(orders: PolicyOrders, generation: Pick<Generation, "ask">): PolicyOrderDeps {
  const inForce = () => generation.ask<"nothing">({ kind: "nothing" });
  return {
    list: () => orders.list(),
    find: (kind, name) => orders.find(kind, name),
    set: async (kind, name, wish) => {
      const order = await orders.set(kind, name, wish);
      await inForce();
      return order;
    },
    clear: async (kind, name, what) => {
      const cleared = await orders.clear(kind, name, what);
      await inForce();
      return cleared;
    },
  };
}
