/*  The policies in force in a worker, compiled: which of them apply to a host, and the services that they name. Like the routes they are
 *  immutable to readers: another set is made aside and comes into force by one assignment (`RoutingTable.policies`).
 */
import { keyHash } from "../wire/key-hash.ts";
import { ANY_HOST, domainRules, type FileRules, fileRules, type PolicyService } from "./compiled-policies.ts";
import { DEFAULT_SANDBOX, type DomainPolicy, type FilePolicies, NO_FILE, OWN_VMS, PLAIN_SERVICE, wantsRouteKey } from "./policy.ts";
import type { SandboxPolicy, ServiceEndpoint } from "./policy.ts";
import { hostChanges, HostMap } from "./host-map.ts";
import type { EndpointRecord } from "./record.ts";
import type { RuleSet } from "./rule-set.ts";
import type { Service } from "./services.ts";

export type { PolicyService };

/** The routes that may apply to a host: of its name, of the wildcards above it, of any host. Those of the first set win at equal priority. */
export type HostRules = readonly RuleSet[];

/** What changes from one set to the next. `file`: absent when it stays. */
export interface PolicyDelta {
  readonly file?: FilePolicies;
  readonly upserts: readonly DomainPolicy[];
  readonly removals: readonly string[];
}

interface KnownRules {
  readonly domain: string | null;
  readonly rules: HostRules | null;
}

/** Clients may ask for any host. */
const MAX_KNOWN = 4096;

/** Of the policies of domains: how many are of wildcards, and have routes for a route key. Counted so that a change costs what it changes. */
interface Tally {
  wildcards: number;
  keyed: number;
}

function tallyOf(policies: Iterable<DomainPolicy>): Tally {
  const tally = { wildcards: 0, keyed: 0 };
  for (const policy of policies) count(policy, 1, tally);
  return tally;
}

function count(policy: DomainPolicy | undefined, step: 1 | -1, tally: Tally): void {
  if (policy === undefined) return;
  if (policy.host.startsWith(ANY_HOST)) tally.wildcards += step;
  if (policy.routes.some(({ match }) => wantsRouteKey(match))) tally.keyed += step;
}

export class Policies {
  static readonly none: Policies = new Policies(NO_FILE, HostMap.none);
  readonly file: FilePolicies;
  readonly domains: HostMap<DomainPolicy>;
  readonly #ofFile: FileRules;
  readonly #ofDomains: Tally;
  /** Some are about wildcards, or any host. */
  readonly #wide: boolean;
  /** Some are for a route key, which preview hosts may carry. */
  readonly #keyed: boolean;
  /** Of hosts that have been asked for, as long as the routing table finds them under the same domain. */
  readonly #known: Map<string, KnownRules> = new Map();

  constructor(
    file: FilePolicies,
    domains: ReadonlyMap<string, DomainPolicy>,
    ofDomains: Tally = tallyOf(domains.values()),
  ) {
    this.file = file;
    this.domains = HostMap.of(domains);
    this.#ofFile = fileRules(file);
    this.#ofDomains = ofDomains;
    this.#wide = this.#ofFile.wide || ofDomains.wildcards > 0;
    this.#keyed = this.#ofFile.keyed || ofDomains.keyed > 0;
  }

  /** No request can be concerned. */
  get empty(): boolean {
    return this.file.routes.length === 0 && this.domains.size === 0;
  }

  get sandbox(): SandboxPolicy {
    return this.file === NO_FILE ? DEFAULT_SANDBOX : this.file.sandbox;
  }

  with({ file, upserts, removals }: PolicyDelta): Policies {
    return this.replaced(file ?? this.file, this.domains.with(upserts.map((policy) => [policy.host, policy]), removals));
  }

  /** Costs what differs, if the domains descend from these. */
  replaced(file: FilePolicies, domains: HostMap<DomainPolicy>): Policies {
    const tally = { ...this.#ofDomains };
    for (const { before, after } of hostChanges(this.domains, domains)) {
      count(before, -1, tally);
      count(after, 1, tally);
    }
    return new Policies(file, domains, tally);
  }

  /** A quick look: false where no policy can apply to the host. */
  mayConcern(host: string): boolean {
    return this.#wide || this.domains.has(host) || this.#ofFile.byHost.has(host) || this.#keyed && host.includes("--");
  }

  /** The file has routes for exactly this host. */
  names(host: string): boolean {
    return this.#ofFile.byHost.has(host);
  }

  /**
   * `domain`: the name or wildcard of the routing table that the host falls under; null: none, then policies of domains say nothing of it.
   * null: no rules, the host's bare route is all there is.
   */
  rulesOf(host: string, domain: string | null): HostRules | null {
    const known = this.#known.get(host);
    if (known !== undefined && known.domain === domain) return known.rules;
    const rules = this.#findRules(host, domain);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(host, { domain, rules });
    return rules;
  }

  #findRules(host: string, domain: string | null): HostRules | null {
    const own = domain === null ? undefined : this.domains.get(domain);
    const { byHost, wide } = this.#ofFile;
    const sets: RuleSet[] = [];
    const add = (name: string) => {
      if (own !== undefined && name === domain) sets.push(domainRules(own).rules);
      const rules = byHost.get(name);
      if (rules !== undefined) sets.push(rules);
    };
    add(host);
    if (wide || own !== undefined && domain !== host) {
      for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) add(`*${host.slice(dot)}`);
      add(ANY_HOST);
    }
    return sets.length === 0 ? null : sets;
  }

  /** A service by its name; `domain`: whose VMs `vms` means. */
  service(name: string, domain: string | null = null): PolicyService | undefined {
    if (name === OWN_VMS) return (domain === null ? undefined : this.#ofDomain(domain, domain)) ?? PLAIN;
    const slash = name.indexOf("/");
    return this.#ofFile.services.get(name) ?? this.#ofDomain(slash < 0 ? name : name.slice(0, slash), name);
  }

  /** As it is now, if it has endpoints of its own; one that is gone stays what it was. */
  serviceNow(service: PolicyService): PolicyService {
    return service.endpoints === null ? service : this.service(service.name) ?? service;
  }

  #ofDomain(host: string, name: string): PolicyService | undefined {
    const policy = this.domains.get(host);
    return policy === undefined ? undefined : domainRules(policy).services.get(name);
  }
}

/** Of the VMs of a host without a policy of their own. */
const PLAIN: PolicyService = { name: OWN_VMS, policy: PLAIN_SERVICE, endpoints: null, plain: true };

const ownEndpointsOf: WeakMap<PolicyService, WeakMap<Service, readonly ServiceEndpoint[]>> = new WeakMap();

/** The VMs of a host as endpoints of a service that has a policy for them; the same objects each time. */
export function ownEndpoints(service: PolicyService, vms: Service): readonly ServiceEndpoint[] {
  let byVms = ownEndpointsOf.get(service);
  if (byVms === undefined) ownEndpointsOf.set(service, byVms = new WeakMap());
  let endpoints = byVms.get(vms);
  if (endpoints === undefined) byVms.set(vms, endpoints = vms.endpoints.map((endpoint) => underPolicy(endpoint, service)));
  return endpoints;
}

const byKeyOf: WeakMap<readonly EndpointRecord[], ReadonlyMap<string, EndpointRecord>> = new WeakMap();

/** The one with that key; found without a look at all of them. `endpoints`: of a service under a policy, which are the same list each time. */
export function endpointIn(endpoints: readonly EndpointRecord[], key: string): EndpointRecord | undefined {
  let byKey = byKeyOf.get(endpoints);
  if (byKey === undefined) byKeyOf.set(endpoints, byKey = new Map(endpoints.map((endpoint) => [endpoint.key, endpoint])));
  return byKey.get(key);
}

function underPolicy(endpoint: EndpointRecord, service: PolicyService): ServiceEndpoint {
  const key = service.plain ? endpoint.key : serviceKey(endpoint.key, service.name);
  return { ...endpoint, key, service: service.name, weight: 1 };
}

/** Another region's edge, which has the same policy for its VMs; what a file names elsewhere is none. */
export function isEdge({ kind }: EndpointRecord, { endpoints }: PolicyService): boolean {
  return kind === "region" && endpoints === null;
}

/** By which clients stick, where its policy names none: services of one host would take each other's place in a cookie of one name. */
export function ownCookie(service: string): string {
  return `edge_sticky_${keyHash(service).toString(16).padStart(8, "0")}`;
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
