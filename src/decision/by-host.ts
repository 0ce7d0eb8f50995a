/** The decision on a request without a policy: between the VMs of its host, as the routing table says. */
import type { Service } from "../table/services.ts";
import { Choice } from "./choice.ts";
import type { Decision } from "./decision.ts";
import type { Asked, Surroundings } from "./surroundings.ts";
import type { Trace } from "./trace.ts";

const NO_ROUTE: Decision = { kind: "refuse", code: "no_route" };

export function decideByHost(asked: Asked, edges: readonly string[], around: Surroundings, trace?: Trace): Decision {
  const service = around.table.find(asked.host);
  if (service === undefined) {
    trace?.({ kind: "no-route", host: asked.host });
    return NO_ROUTE;
  }
  trace?.({ kind: "route", route: around.table.match(asked.host) ?? "", endpoints: service.endpoints.length });
  return chooseEndpoint(service, asked, edges, around, trace);
}

function chooseEndpoint(service: Service, asked: Asked, edges: readonly string[], around: Surroundings, trace?: Trace): Decision {
  // The usual case without lists: one VM, here
  const only = service.endpoints[0]!;
  if (service.endpoints.length === 1 && asked.tried === null && trace === undefined && only.kind === "vm") {
    if (around.availability(only) === "available") return { kind: "forward", endpoint: only };
  }
  return new Choice(asked, edges, around, trace).among(service.endpoints);
}
