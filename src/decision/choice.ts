/*  Which endpoint of a service takes a request: see `decide` for the order in which they are looked at. Under a policy the service's
 *  balancer orders those that can take it, a sticky client comes first, and there are more ways of being out: ejected, an open breaker,
 *  full, weight 0.
 */
import { endpointIn, ownEndpoints, type PolicyService } from "../table/policies.ts";
import type { ServiceEndpoint } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { Service } from "../table/services.ts";
import { takesTurns } from "../upstream/balance/balancer.ts";
import { byLot } from "./breaker-lot.ts";
import type { Decision } from "./decision.ts";
import { pseudonym } from "./loop.ts";
import type { MatchedRoute } from "./match-route.ts";
import { type Finder, NOTHING, type Offer, offerOf } from "./offer.ts";
import { balanceKey } from "./request-keys.ts";
import type { Asked, Surroundings } from "./surroundings.ts";
import type { Finding, Trace, When } from "./trace.ts";

/** A service under a policy, for one request. */
interface UnderPolicy {
  readonly service: PolicyService;
  readonly matched: MatchedRoute;
}

const UNHEALTHY: Decision = { kind: "refuse", code: "vm_unhealthy" };
const CORDONED: Decision = { kind: "refuse", code: "vm_cordoned" };
const BREAKER_OPEN: Decision = { kind: "refuse", code: "breaker_open" };
const QUEUE_FULL: Decision = { kind: "refuse", code: "queue_full" };
const TABLE_FIRST: Decision = { kind: "table-first" };
const NONE: readonly EndpointRecord[] = [];

/** Endpoints up to which a look at all of them costs no more than a draw. */
const FEW = 8;

/** Of an endpoint for one request. */
export class Choice implements Finder {
  readonly #asked: Asked;
  readonly #edges: readonly string[];
  readonly #around: Surroundings;
  readonly #trace: Trace | undefined;
  readonly #policy: UnderPolicy | null;
  /** Those whose breaker is open, and fails fast. */
  #shut: Set<string> | null = null;
  /** One of those drawn has been looked at. */
  #hasDrawn: boolean = false;

  constructor(
    asked: Asked,
    edges: readonly string[],
    around: Surroundings,
    trace: Trace | undefined,
    policy: UnderPolicy | null = null,
  ) {
    this.#asked = asked;
    this.#edges = edges;
    this.#around = around;
    this.#trace = trace;
    this.#policy = policy;
  }

  among(endpoints: readonly EndpointRecord[]): Decision {
    const stuck = this.stuckTo(endpoints);
    if (stuck !== null) return stuck;
    const many = this.#manyOf(endpoints);
    const drawn = many === null ? null : this.#drawn(many);
    if (drawn !== null) return this.#to(drawn);
    const now = offerOf(endpoints, "now", this);
    if (many !== null) this.#around.hooks.looked(many, now.overdue);
    const hashed = this.#hashed(now);
    if (hashed !== null) {
      return now.unprobed.includes(hashed) ? { kind: "probe-first", endpoints: [hashed], patient: true } : this.#to(hashed);
    }
    if (now.available.length > 0 && !this.#awaitsTurns(now)) return this.#to(this.#one(now.available));
    if (now.available.length > 0) return { kind: "probe-first", endpoints: now.unprobed, patient: false };
    if (now.unprobed.length === 0 && now.regions.length > 0) return this.#to(this.#one(now.regions));
    return this.#withPrevious(now, endpoints);
  }

  find(endpoint: EndpointRecord, when: When): Finding {
    const finding = this.#find(endpoint);
    this.#trace?.({ kind: "endpoint", endpoint, when, finding });
    return finding;
  }

  mayBeChosenShut({ key }: EndpointRecord): boolean {
    if (this.#policy?.service.policy.breaker?.strategy === "retry-elsewhere") return false;
    (this.#shut ??= new Set()).add(key);
    return true;
  }

  /**
   * Where the client's cookie leads, as long as it can take the request; also with weight 0, which only takes nobody new, and although
   * others are less busy. Its first verdict is waited for: after a start, or a connection that broke, sessions must not be shuffled.
   */
  stuckTo(endpoints: readonly EndpointRecord[]): Decision | null {
    if (this.#policy === null || this.#policy.service.policy.sticky === null) return null;
    const { service, matched } = this.#policy;
    const key = this.#around.hooks.stickyKey(matched, service);
    const endpoint = key === null ? undefined : endpointIn(endpoints, key);
    if (endpoint === undefined) return null;
    const finding = this.#triedOrPassed(endpoint) ?? this.#around.availability(endpoint);
    const takes = finding === "available" || finding === "busy";
    const awaited = finding === "unprobed" || finding === "overdue";
    this.#trace?.({ kind: "sticky", endpoint, finding, takes });
    if (!takes && !awaited) return null;
    this.#trace?.({ kind: "endpoint", endpoint, when: "now", finding });
    return takes ? forward(endpoint) : { kind: "probe-first", endpoints: [endpoint], patient: true };
  }

  /** So many that a request should not look at all; null: few, or all have to be looked at. */
  #manyOf(endpoints: readonly EndpointRecord[]): readonly ServiceEndpoint[] | null {
    if (endpoints.length <= FEW || this.#policy === null) return null;
    return this.#asked.tried === null && this.#trace === undefined ? endpoints as readonly ServiceEndpoint[] : null;
  }

  #drawn(many: readonly ServiceEndpoint[]): ServiceEndpoint | null {
    const { service, matched } = this.#policy!;
    return this.#around.hooks.draw(service, many, matched, (endpoint) => this.#isUsable(endpoint));
  }

  /**
   * As `offerOf` sees VMs that have a weight, when there are others like it. The first one is drawn by weight alone: if it is shut, that is
   * its share (see `byLot`).
   */
  #isUsable(endpoint: ServiceEndpoint): boolean {
    const finding = this.#around.availability(endpoint);
    const isFirst = !this.#hasDrawn;
    this.#hasDrawn = true;
    if (finding === "open" && this.#policy?.service.policy.breaker?.strategy !== "retry-elsewhere") {
      if (!isFirst && this.#goesByLoad()) return false;
      (this.#shut ??= new Set()).add(endpoint.key);
      return true;
    }
    return finding === "available";
  }

  #goesByLoad(): boolean {
    if (this.#policy === null) return false;
    const { service: { policy }, matched: { view, routeKey } } = this.#policy;
    return !takesTurns(policy.balance) && balanceKey(policy, view, routeKey) === null;
  }

  /**
   * Where its key leads, while some have no verdict yet; null: nothing is hashed. It is waited for as for the endpoint of a sticky client:
   * whoever was probed first would get the keys of all others meanwhile.
   */
  #hashed({ available, unprobed }: Offer): EndpointRecord | null {
    if (this.#policy === null || unprobed.length === 0 || available.length === 0) return null;
    const { service: { policy }, matched: { view, routeKey } } = this.#policy;
    return balanceKey(policy, view, routeKey) === null ? null : this.#one([...available, ...unprobed]);
  }

  /** Turns begin when it is known who takes part, or after a moment: or each worker would begin with whoever was probed first. */
  #awaitsTurns({ unprobed, overdue }: Offer): boolean {
    return unprobed.length > 0 && !overdue && this.#policy !== null && takesTurns(this.#policy.service.policy.balance);
  }

  /** None of the endpoints of now can take it at once. */
  #withPrevious(now: Offer, endpoints: readonly EndpointRecord[]): Decision {
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
    if (endpoints.length > 0 && now.passed === endpoints.length) return TABLE_FIRST;
    return this.#lastResort(now);
  }

  /** A breaker that fails fast keeps nobody from choosing its endpoint: who does is refused. */
  #to(endpoint: EndpointRecord): Decision {
    return this.#shut?.has(endpoint.key) === true ? this.#breakerOpen() : forward(endpoint);
  }

  #breakerOpen(): Decision {
    const breaker = this.#policy?.service.policy.breaker ?? null;
    const answer = breaker?.strategy === "fallback" ? breaker.fallback : null;
    return answer === null ? BREAKER_OPEN : { kind: "respond", answer, why: "breaker" };
  }

  /** Nobody can take it now. */
  #lastResort(now: Offer): Decision {
    if (this.#policy !== null) {
      const { service } = this.#policy;
      if (now.onTrial.length > 0) return forward(this.#one(now.onTrial));
      const { limits } = service.policy;
      if (now.full.length > 0) {
        return limits === null || limits.queue === 0
          ? QUEUE_FULL
          : { kind: "queue", endpoints: now.full, timeoutMs: limits.queueTimeoutMs };
      }
      if (now.open > 0) return this.#breakerOpen();
    }
    return now.cordoned > 0 ? CORDONED : UNHEALTHY;
  }

  /** Those that the host led to a moment ago and does not lead to now: the last with an available VM, else the last of use. */
  #offerBefore(now: readonly EndpointRecord[]): Offer {
    let last = NOTHING;
    for (const endpoints of this.#previous()) {
      const left = endpoints.filter(({ key }) => !now.some((endpoint) => endpoint.key === key));
      this.#trace?.({ kind: "looked-back", endpoints: left.length });
      const offer = offerOf(left, "before", this);
      if (offer.available.length > 0) return offer;
      if (last.unprobed.length + last.regions.length === 0) last = offer;
    }
    return last;
  }

  /** Of services with endpoints of their own nothing is kept. */
  #previous(): readonly (readonly EndpointRecord[])[] {
    const policy = this.#policy;
    if (policy !== null && policy.service.endpoints !== null) return [];
    const services: readonly Service[] = this.#around.previous(this.#asked.host);
    return services.map((service) => policy === null ? service.endpoints : ownEndpoints(policy.service, service));
  }

  #find(endpoint: EndpointRecord): Finding {
    const gone = this.#triedOrPassed(endpoint);
    if (gone !== null) return gone;
    if (this.#policy !== null && (endpoint as ServiceEndpoint).weight === 0) return "weightless";
    return this.#around.availability(endpoint);
  }

  #triedOrPassed(endpoint: EndpointRecord): Finding | null {
    if (this.#asked.tried?.has(endpoint.key)) return "tried";
    return endpoint.kind === "region" && this.#edges.includes(pseudonym(endpoint.region)) ? "passed" : null;
  }

  #fallBack(endpoints: readonly EndpointRecord[], probe: readonly EndpointRecord[]): Decision {
    return { kind: "fall-back", endpoint: this.#one(endpoints), probe };
  }

  #one(all: readonly EndpointRecord[]): EndpointRecord {
    const shut = this.#shut;
    const endpoints = shut !== null && this.#goesByLoad()
      ? byLot(all as readonly ServiceEndpoint[], shut, this.#around.random)
      : all;
    const alone = endpoints.length === 1;
    if (this.#policy === null) return alone ? endpoints[0]! : this.#lessBusy(endpoints);
    const { service, matched } = this.#policy;
    if (alone && !takesTurns(service.policy.balance)) return endpoints[0]!;
    const trace = alone ? undefined : this.#trace;
    let why = "";
    const told = trace === undefined ? undefined : (text: string) => void (why = text);
    const chosen = this.#around.hooks.balance(service, endpoints as readonly ServiceEndpoint[], matched, told);
    if (chosen === null) return alone ? endpoints[0]! : this.#lessBusy(endpoints);
    trace?.({ kind: "balanced", by: service.policy.balance, among: endpoints.length, key: chosen.key, why });
    return chosen;
  }

  /** Power of two choices: two different ones at random, the one with fewer attempts under way. */
  #lessBusy(endpoints: readonly EndpointRecord[]): EndpointRecord {
    const around = this.#around;
    const count = endpoints.length;
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
