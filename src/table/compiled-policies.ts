/** Policies made ready for requests, once per record: a set of policies that follows another shares what has not changed. */
import {
  type DomainPolicy,
  type FilePolicies,
  type PolicyRoute,
  type ServiceEndpoint,
  type ServicePolicy,
  type ServiceRecord,
  wantsRouteKey,
} from "./policy.ts";
import { RuleSet } from "./rule-set.ts";

/** Stands where a host's name would. */
export const ANY_HOST = "*";

/** A service under a policy. */
export interface PolicyService {
  readonly name: string;
  readonly policy: ServicePolicy;
  /** null: the VMs of the requested host, see `ownEndpoints`. */
  readonly endpoints: readonly ServiceEndpoint[] | null;
  /** The VMs of a host of which no policy says anything: they keep their identity, and everything is as without a policy. */
  readonly plain: boolean;
}

/** What a routes file says, compiled. */
export interface FileRules {
  readonly byHost: RulesByHost;
  readonly services: ReadonlyMap<string, PolicyService>;
  readonly wide: boolean;
  readonly keyed: boolean;
}

/**
 * By name, wildcard, or ANY_HOST. Made when a host is first asked for: a file of 12,000 routes would hold up the requests of a worker for
 * 0.1 s with every reading.
 */
export class RulesByHost {
  readonly #routes: Map<string, PolicyRoute[]> = new Map();
  readonly #sets: Map<string, RuleSet> = new Map();

  constructor(routes: readonly PolicyRoute[]) {
    for (const route of routes) {
      if (route.hosts.length === 0) this.#add(ANY_HOST, route);
      else for (const host of route.hosts) this.#add(host, route);
    }
  }

  has(host: string): boolean {
    return this.#routes.has(host);
  }

  get(host: string): RuleSet | undefined {
    const known = this.#sets.get(host);
    if (known !== undefined) return known;
    const routes = this.#routes.get(host);
    if (routes === undefined) return undefined;
    const set = new RuleSet(host, routes, false);
    this.#sets.set(host, set);
    return set;
  }

  hosts(): Iterable<string> {
    return this.#routes.keys();
  }

  #add(host: string, route: PolicyRoute): void {
    const those = this.#routes.get(host);
    if (those === undefined) this.#routes.set(host, [route]);
    else those.push(route);
  }
}

/** As long as the file does not change, whatever domains do. */
const rulesOfFiles: WeakMap<FilePolicies, FileRules> = new WeakMap();

export function fileRules(file: FilePolicies): FileRules {
  let rules = rulesOfFiles.get(file);
  if (rules === undefined) rulesOfFiles.set(file, rules = compiledFile(file));
  return rules;
}

function compiledFile({ routes, services }: FilePolicies): FileRules {
  const byHost = new RulesByHost(routes);
  return {
    byHost,
    services: servicesByName(services),
    wide: [...byHost.hosts()].some((host) => host.startsWith(ANY_HOST)),
    keyed: routes.some(({ match }) => wantsRouteKey(match)),
  };
}

function servicesByName(records: readonly ServiceRecord[]): ReadonlyMap<string, PolicyService> {
  return new Map(records.map((record) => [record.name, { ...record, plain: false }]));
}

export interface DomainRules {
  readonly rules: RuleSet;
  readonly services: ReadonlyMap<string, PolicyService>;
}

/** Of those that requests have asked for. */
const rulesOfDomains: WeakMap<DomainPolicy, DomainRules> = new WeakMap();

export function domainRules(policy: DomainPolicy): DomainRules {
  let found = rulesOfDomains.get(policy);
  if (found === undefined) {
    found = { rules: new RuleSet(policy.host, policy.routes, true), services: servicesByName(policy.services) };
    rulesOfDomains.set(policy, found);
  }
  return found;
}
