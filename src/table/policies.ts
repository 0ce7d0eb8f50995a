/*  The policies in force in a worker, compiled: which of them apply to a host, and the services that they name. Like the routes they are
 *  immutable to readers: another set is made aside and comes into force by one assignment (`RoutingTable.policies`).
 */
import {
  DEFAULT_SANDBOX,
  type DomainPolicy,
  type FilePolicies,
  NO_FILE,
  type SandboxPolicy,
  type ServiceEndpoint,
} from "./policy.ts";
import type { PolicyRoute, ServicePolicy } from "./policy.ts";
import type { Service } from "./services.ts";

/** A service under a policy. */
export interface PolicyService {
  readonly name: string;
  readonly policy: ServicePolicy;
  /** null: the VMs of the requested host, see `ownEndpoints`. */
  readonly endpoints: readonly ServiceEndpoint[] | null;
}

/** The routes that may apply to a host, best first. */
export interface HostRules {
  readonly routes: readonly PolicyRoute[];
}

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

  constructor(file: FilePolicies, domains: ReadonlyMap<string, DomainPolicy>) {
    this.file = file;
    this.domains = domains;
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

  /** null: none; the host's bare route is all there is. */
  rulesOf(_host: string): HostRules | null {
    return null;
  }

  service(_name: string): PolicyService | undefined {
    return undefined;
  }
}

/** The VMs of a host as endpoints of a service that has a policy for them; the same objects each time. */
export function ownEndpoints(service: PolicyService, vms: Service): readonly ServiceEndpoint[] {
  return vms.endpoints.map((endpoint) => ({
    ...endpoint,
    key: serviceKey(endpoint.key, service.name),
    service: service.name,
    weight: 1,
  }));
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
