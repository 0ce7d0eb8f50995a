/*  The policies in force in a worker, compiled: which of them apply to a host, and the services that they name. Like the routes they are
 *  immutable to readers: another set is made aside and comes into force by one assignment (`RoutingTable.policies`).
 */
import { DEFAULT_SANDBOX, type DomainPolicy, type FilePolicies, NO_FILE, OWN_VMS, PLAIN_SERVICE } from "./policy.ts";
import type { PolicyRoute, SandboxPolicy, ServiceEndpoint, ServicePolicy } from "./policy.ts";
import type { EndpointRecord } from "./record.ts";
import { RuleSet } from "./rule-set.ts";
import type { Service } from "./services.ts";

/** Stands where a host's name would. */
const ANY_HOST = "*";

/** A service under a policy. */
export interface PolicyService {
  readonly name: string;
  readonly policy: ServicePolicy;
  /** null: the VMs of the requested host, see `ownEndpoints`. */
  readonly endpoints: readonly ServiceEndpoint[] | null;
  /** The VMs of a host of which no policy says anything: they keep their identity, and everything is as without a policy. */
  readonly plain: boolean;
}

/** The routes that may apply to a host: of its name, of the wildcards above it, of any host. Those of the first set win at equal priority. */
export type HostRules = readonly RuleSet[];

/** What changes from one set to the next. `file`: absent when it stays. */
export interface PolicyDelta {
  readonly file?: FilePolicies;
  readonly upserts: readonly DomainPolicy[];
  readonly removals: readonly string[];
}

export class Policies {
  static readonly none: Policies = new Policies(NO_FILE, new Map());
  readonly file: FilePolicies;
  readonly domains: ReadonlyMap<string, DomainPolicy>;

  /** By name, wildcard, or ANY_HOST. */
  readonly #rulesOfFile: Map<string, RuleSet> = new Map();
  /** Some are about wildcards, or any host. */
  readonly #wide: boolean;
  /** Those that have been asked for. */
  readonly #services: Map<string, PolicyService> = new Map();

  constructor(file: FilePolicies, domains: ReadonlyMap<string, DomainPolicy>) {
    this.file = file;
    this.domains = domains;
    const byHost = new Map<string, PolicyRoute[]>();
    for (const route of file.routes) {
      for (const host of route.hosts.length === 0 ? [ANY_HOST] : route.hosts) {
        const routes = byHost.get(host);
        if (routes === undefined) byHost.set(host, [route]);
        else routes.push(route);
      }
    }
    this.#wide = [...byHost.keys(), ...domains.keys()].some((host) => host.startsWith("*"));
    for (const [host, routes] of byHost) this.#rulesOfFile.set(host, new RuleSet(host, routes, false));
  }

  /** No request can be concerned. */
  get empty(): boolean {
    return this.file.routes.length === 0 && this.domains.size === 0;
  }

  get sandbox(): SandboxPolicy {
    return this.file === NO_FILE ? DEFAULT_SANDBOX : this.file.sandbox;
  }

  with({ file, upserts, removals }: PolicyDelta): Policies {
    const domains = new Map(this.domains);
    for (const host of removals) domains.delete(host);
    for (const policy of upserts) domains.set(policy.host, policy);
    return new Policies(file ?? this.file, domains);
  }

  /** A quick look: false where no policy can apply to the host. */
  mayConcern(host: string): boolean {
    return this.#wide || this.domains.has(host) || this.#rulesOfFile.has(host);
  }

  /**
   * `domain`: the name or wildcard of the routing table that the host falls under; null: none, then policies of domains say nothing of it.
   * null: no rules, the host's bare route is all there is.
   */
  rulesOf(host: string, domain: string | null): HostRules | null {
    const own = domain === null ? undefined : this.domains.get(domain);
    if (own === undefined && this.file.routes.length === 0) return null;
    const sets: RuleSet[] = [];
    for (const name of namesOver(host)) {
      if (own !== undefined && name === domain) sets.push(rulesOfDomain(own));
      const routes = this.#rulesOfFile.get(name);
      if (routes !== undefined) sets.push(routes);
    }
    return sets.length === 0 ? null : sets;
  }

  /** A service by its name; `domain`: whose VMs `vms` means. */
  service(name: string, domain: string | null = null): PolicyService | undefined {
    if (name === OWN_VMS) return (domain === null ? undefined : this.#serviceOf(domain)) ?? PLAIN;
    return this.#serviceOf(name);
  }

  #serviceOf(name: string): PolicyService | undefined {
    const known = this.#services.get(name);
    if (known !== undefined) return known;
    const slash = name.indexOf("/");
    const domain = this.domains.get(slash < 0 ? name : name.slice(0, slash));
    const record = domain?.services.find((each) => each.name === name) ?? this.file.services.find((each) => each.name === name);
    if (record === undefined) return undefined;
    const service = { ...record, plain: false };
    this.#services.set(name, service);
    return service;
  }
}

/** Of the VMs of a host without a policy of their own. */
const PLAIN: PolicyService = { name: OWN_VMS, policy: PLAIN_SERVICE, endpoints: null, plain: true };

/** The host itself, the wildcards above it from the longest on, any host. */
function* namesOver(host: string): Generator<string> {
  yield host;
  for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) yield `*${host.slice(dot)}`;
  yield ANY_HOST;
}

const compiled: WeakMap<DomainPolicy, RuleSet> = new WeakMap();

function rulesOfDomain(policy: DomainPolicy): RuleSet {
  let rules = compiled.get(policy);
  if (rules === undefined) compiled.set(policy, rules = new RuleSet(policy.host, policy.routes, true));
  return rules;
}

const ownEndpointsOf: WeakMap<PolicyService, WeakMap<Service, readonly ServiceEndpoint[]>> = new WeakMap();

/** The VMs of a host as endpoints of a service that has a policy for them; the same objects each time. */
export function ownEndpoints(service: PolicyService, vms: Service): readonly ServiceEndpoint[] {
  let byVms = ownEndpointsOf.get(service);
  if (byVms === undefined) ownEndpointsOf.set(service, byVms = new WeakMap());
  let endpoints = byVms.get(vms);
  if (endpoints === undefined) byVms.set(vms, endpoints = vms.endpoints.map((endpoint) => underPolicy(endpoint, service)));
  return endpoints;
}

function underPolicy(endpoint: EndpointRecord, service: PolicyService): ServiceEndpoint {
  const key = service.plain ? endpoint.key : serviceKey(endpoint.key, service.name);
  return { ...endpoint, key, service: service.name, weight: 1 };
}

/** Identity of an endpoint under the policy of a service. */
export function serviceKey(endpointKey: string, service: string): string {
  return `${endpointKey}@${service}`;
}

/** Of an endpoint's identity: that of the address alone, and the service; null: under no policy. */
export function partsOfKey(key: string): { readonly bare: string; readonly service: string | null } {
  const at = key.indexOf("@");
  return at < 0 ? { bare: key, service: null } : { bare: key.slice(0, at), service: key.slice(at + 1) };
}
