/** Which endpoint of a service takes a request, as its policy says: its balancer, and the cookie by which a client sticks to one. */
import type { MatchedRoute } from "../decision/match-route.ts";
import type { PolicyHooks } from "../decision/policy-hooks.ts";
import { balanceKey } from "../decision/request-keys.ts";
import { isEdge, ownEndpoints, type PolicyService } from "../table/policies.ts";
import type { ServiceEndpoint, ServicePolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import { Balancers, type BalanceView, type Told } from "../upstream/balance/balancer.ts";
import { StickyCookies, type Stuck } from "../upstream/balance/sticky.ts";
import type { CellTable } from "../upstream/cell-table.ts";
import type { Endpoints } from "../upstream/endpoint-state.ts";
import { cookieValues } from "../wire/cookies.ts";
import { keyHash } from "../wire/key-hash.ts";

export interface BalancingParts {
  readonly table: RoutingTable;
  readonly endpoints: Endpoints;
  /** Where turns are kept. */
  readonly cells: CellTable;
  readonly secret: string;
  /** In [0, 1). */
  random(): number;
  /** As endpoints measure time. */
  nowMs(): number;
  /** Requests under way in all workers, of a service that counts them. */
  placesOf(key: string): number;
}

type BalancingHooks = Pick<PolicyHooks, "balance" | "stickyKey" | "draw" | "looked">;

/** Of a cookie that names a region, whose edge names the VM in one of its own. */
const OF_REGION = "-region";
const NOBODY: readonly ServiceEndpoint[] = [];
/** All endpoints of a service are looked at so often: to be looked at is use, without which nobody is probed. */
const LOOK_MS = 1000;

export class Balancing {
  readonly #parts: BalancingParts;
  readonly #balancers: Balancers;
  readonly #cookies: StickyCookies;
  /** When all of these were looked at, and nobody had to wait for a verdict. */
  readonly #lookedAtMs: WeakMap<readonly ServiceEndpoint[], number> = new WeakMap();
  readonly hooks: BalancingHooks;
  /** For who only looks. */
  readonly onlookers: BalancingHooks;

  constructor(parts: BalancingParts) {
    this.#parts = parts;
    this.#balancers = new Balancers(parts.cells);
    this.#cookies = new StickyCookies(parts.secret);
    this.hooks = this.#hooks(false);
    this.onlookers = this.#hooks(true);
  }

  /** The line that the answer of this endpoint is to have, so that the client comes back to it; empty: none. */
  stickyField(matched: MatchedRoute, record: EndpointRecord, secure: boolean): string {
    const service = this.#serviceOf(record);
    const sticky = service?.policy.sticky ?? null;
    if (service === undefined || sticky === null) return "";
    const endpoint = record as ServiceEndpoint;
    const nowMs = Date.now();
    const stuck = this.#stuck(matched, service);
    if (stuck !== null && stuck.endpoint.key === endpoint.key) {
      // One that takes nobody new keeps whom it has, until their cookies end
      if (endpoint.weight === 0 || stuck.expiresAtMs - nowMs > sticky.ttlMs / 2) return "";
    }
    const name = isEdge(record, service) ? sticky.cookie + OF_REGION : sticky.cookie;
    const value = this.#cookies.valueFor(endpoint, nowMs + sticky.ttlMs);
    const age = Math.ceil(sticky.ttlMs / 1000);
    return `Set-Cookie: ${name}=${value}; Path=/; Max-Age=${age}; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}\r\n`;
  }

  #hooks(onlooker: boolean): BalancingHooks {
    const { endpoints, random, nowMs, placesOf } = this.#parts;
    const loadHere = ({ key }: ServiceEndpoint) => endpoints.loadOf(key);
    const loadOfAll = ({ key }: ServiceEndpoint) => placesOf(key);
    const whole = ({ weight }: ServiceEndpoint) => weight;
    const startedSlowly = ({ weight, key }: ServiceEndpoint) => weight * endpoints.shareOf(key, nowMs());
    const viewOf = ({ policy }: PolicyService, matched: MatchedRoute): BalanceView => {
      const load = policy.balance === "least-connections" ? loadOfAll : loadHere;
      const weight = (policy.health?.slowStartMs ?? 0) === 0 ? whole : startedSlowly;
      return { keyHash: hashOf(policy, matched), onlooker, weight, load, random };
    };
    return {
      balance: (service: PolicyService, offer: readonly ServiceEndpoint[], matched: MatchedRoute, told?: Told) =>
        this.#balancers.choose(service.policy, offer, viewOf(service, matched), told),
      draw: (service, all, matched, usable) => {
        if (onlooker || !(nowMs() - (this.#lookedAtMs.get(all) ?? -Infinity) < LOOK_MS)) return null;
        return this.#balancers.draw(service.policy, all, viewOf(service, matched), usable);
      },
      looked: (all, judged) => {
        if (!onlooker) this.#lookedAtMs.set(all, judged ? nowMs() : -Infinity);
      },
      stickyKey: (matched, service) => this.#stuck(matched, service)?.endpoint.key ?? null,
    };
  }

  #stuck(matched: MatchedRoute, service: PolicyService): Stuck | null {
    const { sticky } = service.policy;
    if (sticky === null) return null;
    return this.#named(sticky.cookie, matched, service) ??
      (service.endpoints === null ? this.#named(sticky.cookie + OF_REGION, matched, service) : null);
  }

  #named(cookie: string, matched: MatchedRoute, service: PolicyService): Stuck | null {
    const values = cookieValues(matched.view.fields, cookie);
    return values.length === 0
      ? null
      : this.#cookies.read(values, service.name, this.#endpointsOf(service, matched.host), Date.now());
  }

  #endpointsOf(service: PolicyService, host: string): readonly ServiceEndpoint[] {
    if (service.endpoints !== null) return service.endpoints;
    const vms = this.#parts.table.find(host);
    return vms === undefined ? NOBODY : ownEndpoints(service, vms);
  }

  #serviceOf(record: EndpointRecord): PolicyService | undefined {
    return "service" in record ? this.#parts.table.policies.service((record as ServiceEndpoint).service, null) : undefined;
  }
}

/** Only what the service balances by. */
function hashOf(policy: ServicePolicy, { view, routeKey }: MatchedRoute): number | null {
  const key = balanceKey(policy, view, routeKey);
  return key === null ? null : keyHash(key);
}
