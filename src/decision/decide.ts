/*  The decision, a pure function: request + table + availability + chance give one value. `edgeproxy explain` tells what
 *  this same function says, and the steps of its `trace`.
 *
 *      loop? -> table loaded? -> route? -> VMs here: available -> one of them (two at random, the less busy)
 *                                                    unprobed  -> probe first
 *                                          else regions not passed yet -> one of them
 *                                          else refuse
 *
 *  A route that has just moved has a fall-back: what the host led to in the last seconds (`previous`). It is looked at only where the
 *  endpoints of now cannot take the request, and those that are in both count as endpoints of now:
 *
 *      VMs of now                regions of now            before                  the request goes
 *      ------------------------  ------------------------  ----------------------  -------------------------------------------
 *      unprobed                  any                       VM here, available      to a VM of now if its probe passes within a
 *                                                                                  moment, else to that VM
 *      unprobed                  any                       else                    nowhere before the probe
 *      none, unhealthy or tried  some                      any                     to one of these regions
 *      none, unhealthy or tried  none, tried or passed     VM here, available      to that VM
 *      none, unhealthy or tried  none, tried or passed     VM here, unprobed       to that VM if its probe passes
 *      none, unhealthy or tried  none, tried or passed     region, not passed yet  to that region
 *      none                      all passed                else                    nowhere before our table has had time to change,
 *                                                                                  then it is a loop
 *      unhealthy or tried        none, tried or passed     else                    nowhere: unhealthy
 *
 *  All passed: the request comes from where our table says that the VM is, so theirs says that it is here. While a VM moves between
 *  the regions, one of the two tables is behind, mostly by milliseconds. If theirs is, our VM of before takes the request; if ours is,
 *  it knows better soon.
 *
 *  Before: where the host led last, if there is a VM that is available; if not, where it led before that, and so on.
 *
 *  A region is no fall-back for a VM here that is unprobed: whatever it answers is the answer, while the probe mostly passes.
 *
 *  An endpoint that is cordoned (draining) counts as one that is not there; where it would have been the last hope, the request is refused
 *  for that reason.
 */
import type { EndpointRecord } from "../table/record.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import type { Service } from "../table/services.ts";
import type { Availability } from "../upstream/availability.ts";
import { decideByPolicy } from "./by-policy.ts";
import type { Decision } from "./decision.ts";
import { edgesPassed, isLoop, pseudonym } from "./loop.ts";
import type { MatchedRoute } from "./match-route.ts";
import type { Finding, Trace, When } from "./trace.ts";

/** What of a request matters. */
export interface Asked {
  /** Normalised. */
  readonly host: string;
  /** The joined Via field; null without one. */
  readonly via: string | null;
  /** Endpoints that have been tried for this request. */
  readonly tried: ReadonlySet<string> | null;
  /** null: no policy applies. */
  readonly matched: MatchedRoute | null;
}

/** What the decision looks at besides the request. */
export interface Surroundings {
  readonly table: RoutingTable;
  /** What the host led to before, as far as that has changed in the last seconds; the last one first. */
  previous(host: string): readonly Service[];
  /** This region's pseudonym in Via. */
  readonly pseudonym: string;
  availability(endpoint: EndpointRecord): Availability;
  /** Attempts under way at an endpoint. */
  load(endpoint: EndpointRecord): number;
  /** In [0, 1). */
  random(): number;
}

/** Endpoints by what can be done with them. */
interface Offer {
  /** VMs here. */
  readonly available: readonly EndpointRecord[];
  readonly unprobed: readonly EndpointRecord[];
  /** Nobody needs to wait for the verdict on any of the unprobed ones: it has been waited for. */
  readonly overdue: boolean;
  /** Those that have just failed only if there are no others. */
  readonly regions: readonly EndpointRecord[];
  /** How many are regions which the request comes from. */
  readonly passed: number;
  readonly cordoned: number;
}

const NO_ROUTE: Decision = { kind: "refuse", code: "no_route" };
const NO_TABLE: Decision = { kind: "refuse", code: "no_table" };
const UNHEALTHY: Decision = { kind: "refuse", code: "vm_unhealthy" };
const CORDONED: Decision = { kind: "refuse", code: "vm_cordoned" };
const LOOP: Decision = { kind: "refuse", code: "loop" };
const TABLE_FIRST: Decision = { kind: "table-first" };
const NO_EDGES: readonly string[] = [];
const NONE: readonly EndpointRecord[] = [];
const NOTHING: Offer = { available: NONE, unprobed: NONE, overdue: true, regions: NONE, passed: 0, cordoned: 0 };

export function decide(asked: Asked, around: Surroundings, trace?: Trace): Decision {
  const edges = asked.via === null ? NO_EDGES : edgesPassed(asked.via);
  if (edges.length > 0) {
    const loop = isLoop(edges, around.pseudonym);
    trace?.({ kind: "edges-passed", edges, loop });
    if (loop) return LOOP;
  }
  if (!around.table.loaded) {
    trace?.({ kind: "no-table" });
    return NO_TABLE;
  }
  if (asked.matched !== null) {
    const decision = decideByPolicy(asked.matched, asked, edges, around, trace);
    if (decision !== null) return decision;
  }
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
    if (around.availability(only) === "available") return forward(only);
  }
  return new Choice(asked, edges, around, trace).among(service);
}

/** Of an endpoint for one request. */
class Choice {
  readonly #asked: Asked;
  readonly #edges: readonly string[];
  readonly #around: Surroundings;
  readonly #trace: Trace | undefined;

  constructor(asked: Asked, edges: readonly string[], around: Surroundings, trace: Trace | undefined) {
    this.#asked = asked;
    this.#edges = edges;
    this.#around = around;
    this.#trace = trace;
  }

  among(service: Service): Decision {
    const now = this.#offer(service.endpoints, "now");
    if (now.available.length > 0) return forward(this.#lessBusy(now.available));
    if (now.unprobed.length === 0 && now.regions.length > 0) return forward(this.#lessBusy(now.regions));
    return this.#withPrevious(now, service);
  }

  /** None of the endpoints of now can take it at once. */
  #withPrevious(now: Offer, { endpoints }: Service): Decision {
    const before = this.#offerBefore(endpoints);
    const available = before.available.length > 0;
    if (now.unprobed.length > 0) {
      return available && now.overdue
        ? this.#fallBack(before.available, now.unprobed)
        : { kind: "probe-first", endpoints: now.unprobed, patient: !available };
    }
    if (available) return this.#fallBack(before.available, NONE);
    if (before.unprobed.length > 0) return { kind: "probe-first", endpoints: before.unprobed, patient: true };
    if (before.regions.length > 0) return this.#fallBack(before.regions, NONE);
    if (now.passed === endpoints.length) return TABLE_FIRST;
    return now.cordoned > 0 ? CORDONED : UNHEALTHY;
  }

  /** Those that the host led to a moment ago and does not lead to now: the last with an available VM, else the last of use. */
  #offerBefore(now: readonly EndpointRecord[]): Offer {
    let last = NOTHING;
    for (const { endpoints } of this.#around.previous(this.#asked.host)) {
      const left = endpoints.filter(({ key }) => !now.some((endpoint) => endpoint.key === key));
      this.#trace?.({ kind: "looked-back", endpoints: left.length });
      const offer = this.#offer(left, "before");
      if (offer.available.length > 0) return offer;
      if (last.unprobed.length + last.regions.length === 0) last = offer;
    }
    return last;
  }

  #offer(endpoints: readonly EndpointRecord[], when: When): Offer {
    const available: EndpointRecord[] = [], unprobed: EndpointRecord[] = [];
    const regions: EndpointRecord[] = [], failing: EndpointRecord[] = [];
    let passed = 0, cordoned = 0;
    let overdue = true;
    for (const endpoint of endpoints) {
      const finding = this.#find(endpoint);
      this.#trace?.({ kind: "endpoint", endpoint, when, finding });
      switch (finding) {
        case "available":
          (endpoint.kind === "vm" ? available : regions).push(endpoint);
          break;
        case "failing":
          failing.push(endpoint);
          break;
        case "unprobed":
          overdue = false;
          unprobed.push(endpoint);
          break;
        case "overdue":
          unprobed.push(endpoint);
          break;
        case "passed":
          passed++;
          break;
        case "draining":
          cordoned++;
          break;
        case "tried":
        case "unhealthy":
        case "ejected":
        case "open":
        case "full":
        case "trial":
        case "busy": // only under a policy, where this is not asked
      }
    }
    return { available, unprobed, overdue, regions: regions.length > 0 ? regions : failing, passed, cordoned };
  }

  #find(endpoint: EndpointRecord): Finding {
    if (this.#asked.tried?.has(endpoint.key)) return "tried";
    if (endpoint.kind === "region" && this.#edges.includes(pseudonym(endpoint.region))) return "passed";
    return this.#around.availability(endpoint);
  }

  #fallBack(endpoints: readonly EndpointRecord[], probe: readonly EndpointRecord[]): Decision {
    return { kind: "fall-back", endpoint: this.#lessBusy(endpoints), probe };
  }

  /** Power of two choices: two different ones at random, the one with fewer attempts under way. */
  #lessBusy(endpoints: readonly EndpointRecord[]): EndpointRecord {
    const around = this.#around;
    const count = endpoints.length;
    if (count === 1) return endpoints[0]!;
    const first = Math.floor(around.random() * count);
    const second = (first + 1 + Math.floor(around.random() * (count - 1))) % count;
    const a = endpoints[first]!, b = endpoints[second]!;
    const loadA = around.load(a), loadB = around.load(b);
    this.#trace?.({ kind: "drawn", among: count, drawn: [{ key: a.key, load: loadA }, { key: b.key, load: loadB }] });
    return loadB < loadA ? b : a;
  }
}

function forward(endpoint: EndpointRecord): Decision {
  return { kind: "forward", endpoint };
}
