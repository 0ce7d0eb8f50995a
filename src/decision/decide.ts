/*  The decision, a pure function: request + table + availability + chance give one value. `edgeproxy explain` prints what
 *  this same function says, through `trace`.
 *
 *      loop? -> table loaded? -> route? -> VMs here: available -> one of them (two at random, the less busy)
 *                                                    unprobed  -> probe first
 *                                          else regions not passed yet -> one of them
 *                                          else refuse: a loop if all were passed, else unhealthy
 */
import type { EndpointRecord, RouteRecord } from "../table/record.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import type { Availability } from "../upstream/availability.ts";
import type { Decision } from "./decision.ts";
import { edgesPassed, isLoop, pseudonym } from "./loop.ts";

/** What of a request matters. */
export interface Asked {
  /** Normalised. */
  readonly host: string;
  /** The joined Via field; null without one. */
  readonly via: string | null;
  /** Endpoints that have been tried for this request. */
  readonly tried: ReadonlySet<string> | null;
}

/** What the decision looks at besides the request. */
export interface Surroundings {
  readonly table: RoutingTable;
  /** This region's pseudonym in Via. */
  readonly pseudonym: string;
  availability(endpoint: EndpointRecord): Availability;
  /** Attempts under way at an endpoint. */
  load(endpoint: EndpointRecord): number;
  /** In [0, 1). */
  random(): number;
}

export type Trace = (step: string) => void;

const NO_ROUTE: Decision = { kind: "refuse", code: "no_route" };
const NO_TABLE: Decision = { kind: "refuse", code: "no_table" };
const UNHEALTHY: Decision = { kind: "refuse", code: "vm_unhealthy" };
const LOOP: Decision = { kind: "refuse", code: "loop" };
const NO_EDGES: readonly string[] = [];

export function decide(asked: Asked, around: Surroundings, trace?: Trace): Decision {
  const edges = asked.via === null ? NO_EDGES : edgesPassed(asked.via);
  if (edges.length > 0) {
    trace?.(`has passed ${edges.join(", ")}`);
    if (isLoop(edges, around.pseudonym)) return LOOP;
  }
  if (!around.table.loaded) return NO_TABLE;
  const route = around.table.find(asked.host);
  if (route === undefined) {
    trace?.(`no route for host ${asked.host}, neither by name nor by wildcard`);
    return NO_ROUTE;
  }
  trace?.(`route ${route.host} with ${route.endpoints.length} endpoint(s)`);
  return chooseEndpoint(route, asked, edges, around, trace);
}

function chooseEndpoint(route: RouteRecord, asked: Asked, edges: readonly string[], around: Surroundings, trace?: Trace): Decision {
  const only = route.endpoints[0]!;
  if (route.endpoints.length === 1 && asked.tried === null && trace === undefined && only.kind === "vm") {
    return decideOne(only, around);
  }
  const available: EndpointRecord[] = [];
  const unprobed: EndpointRecord[] = [];
  const regions: EndpointRecord[] = [];
  const failing: EndpointRecord[] = [];
  let passed = 0;
  for (const endpoint of route.endpoints) {
    if (asked.tried?.has(endpoint.key)) {
      trace?.(`${endpoint.key}: tried already`);
    } else if (endpoint.kind === "region" && edges.includes(pseudonym(endpoint.region))) {
      passed++;
      trace?.(`${endpoint.key}: the request comes from that region`);
    } else {
      const availability = around.availability(endpoint);
      trace?.(`${endpoint.key}: ${endpoint.kind === "vm" ? "VM here" : `region ${endpoint.region}`}, ${availability}`);
      if (endpoint.kind === "region") (availability === "failing" ? failing : regions).push(endpoint);
      else if (availability === "available") available.push(endpoint);
      else if (availability === "unprobed") unprobed.push(endpoint);
    }
  }
  if (available.length > 0) return forward(lessBusy(available, around));
  if (unprobed.length > 0) return { kind: "probe-first", endpoints: unprobed };
  if (regions.length > 0) return forward(lessBusy(regions, around));
  if (failing.length > 0) return forward(lessBusy(failing, around));
  // Their tables say "here", ours says "there": nobody is ill, the tables contradict each other
  return passed === route.endpoints.length ? LOOP : UNHEALTHY;
}

/** The usual case without lists: one VM, here. */
function decideOne(endpoint: EndpointRecord, around: Surroundings): Decision {
  switch (around.availability(endpoint)) {
    case "available":
    case "failing":
      return forward(endpoint);
    case "unprobed":
      return { kind: "probe-first", endpoints: [endpoint] };
    case "unhealthy":
      return UNHEALTHY;
  }
}

function forward(endpoint: EndpointRecord): Decision {
  return { kind: "forward", endpoint };
}

/** Power of two choices: two different ones at random, the one with fewer attempts under way. */
function lessBusy(endpoints: readonly EndpointRecord[], around: Surroundings): EndpointRecord {
  const count = endpoints.length;
  if (count === 1) return endpoints[0]!;
  const first = Math.floor(around.random() * count);
  const second = (first + 1 + Math.floor(around.random() * (count - 1))) % count;
  const a = endpoints[first]!, b = endpoints[second]!;
  return around.load(b) < around.load(a) ? b : a;
}
