/** Policies made ready for requests, once per record: a set of policies that follows another shares what has not changed. */
import type { DomainPolicy, FilePolicies, PolicyRoute, ServiceEndpoint, ServicePolicy, ServiceRecord } from "./policy.ts";
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
  /** By name, wildcard, or ANY_HOST. */
  readonly byHost: ReadonlyMap<string, RuleSet>;
  readonly services: ReadonlyMap<string, PolicyService>;
  readonly wide: boolean;
  readonly keyed: boolean;
}

/** As long as the file does not change, whatever domains do. */
const rulesOfFiles: WeakMap<FilePolicies, FileRules> = new WeakMap();

export function fileRules(file: FilePolicies): FileRules {
  let rules = rulesOfFiles.get(file);
  if (rules === undefined) rulesOfFiles.set(file, rules = compiledFile(file));
  return rules;
}

function compiledFile({ routes, services }: FilePolicies): FileRules {
  const routesByHost = new Map<string, PolicyRoute[]>();
  for (const route of routes) {
    for (const host of route.hosts.length === 0 ? [ANY_HOST] : route.hosts) {
      const those = routesByHost.get(host);
      if (those === undefined) routesByHost.set(host, [route]);
      else those.push(route);
    }
  }
  const byHost = new Map([...routesByHost].map(([host, those]) => [host, new RuleSet(host, those, false)]));
  return {
    byHost,
    services: servicesByName(services),
    wide: [...byHost.keys()].some((host) => host.startsWith(ANY_HOST)),
    keyed: [...byHost.values()].some(({ keyed }) => keyed),
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
