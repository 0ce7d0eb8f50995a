/*  A row of `route_policies`: what is said of one domain becomes records, by the same schema as the routes file.
 *
 *  The fields of a route are the bare route's, those of a service its own VMs', and `services` and `routes` are the domain's alone. What may
 *  be said of both a route and a service (timeouts, maintenance, drain) is the route's: so the VMs keep the state that they have.
 */
import { isIP } from "node:net";
import { type DomainPolicy, OWN_VMS, type PolicyRoute, type ServiceRecord } from "../table/policy.ts";
import { patternStepsWithin } from "./pattern-size.ts";
import { placeName, type PolicyProblem, PolicyProblems } from "./policy-problems.ts";
import { endpointPolicy, type PolicySurroundings, routeRecord, type ServiceNames } from "./policy-records.ts";
import { isReserved } from "./reserved-addresses.ts";
import { RouteIds } from "./route-identity.ts";
import { bareRouteSchema, domainPolicySchema, domainRouteSchema, ownVmsSchema } from "./policy-schema.ts";
import { treatmentKeys } from "./policy-schema-routes.ts";
import { endpointPolicyKeys } from "./policy-schema-services.ts";
import { entriesOf, itemsOf, readRoutes, readServices } from "./policy-sets.ts";
import { mapping } from "./policy-values.ts";
import { z } from "zod";

export type DomainPolicyReading =
  | {
    readonly policy: DomainPolicy;
    readonly notes: readonly string[];
    /** Services that it leads to and that are none of its own: the routes file's, if that has them. */
    readonly fileServices: readonly string[];
  }
  | { readonly problems: readonly string[] };

const MOST_PROBLEMS = 20;
/** All names wait for each other in the resolver. */
const MOST_NAMES = 32;
const RESERVED = "must not be this proxy, link-local or a metadata service: only the routes file may name those";
/** Of all patterns of a domain: a request may have to be matched against each, and other domains' requests wait meanwhile. */
const MOST_PATTERN_STEPS = 5000;
const anything = z.unknown().optional();
const outerSchema = mapping(Object.fromEntries(Object.keys(domainPolicySchema.shape).map((key) => [key, anything])));
const EVERYTHING = {
  path: { kind: "prefix", value: "/" },
  methods: [],
  headers: [],
  cookies: [],
  query: [],
  routeKey: null,
} as const;

/** `host` as `normaliseDomain` gives it; `value` is what the JSON says. */
export function parseDomainPolicy(
  host: string,
  value: unknown,
  { regionId, ownPorts = [] }: PolicySurroundings,
): DomainPolicyReading {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { problems: ["must be a JSON object"] };
  if (patternStepsWithin(value) > MOST_PATTERN_STEPS) {
    return { problems: ["its patterns are too large together: simpler or fewer ones"] };
  }
  const problems = new PolicyProblems();
  const fileServices = new Set<string>();
  const policy = readPolicy(
    host,
    value as Record<string, unknown>,
    { regionId, ownPorts, readFile: noFile },
    fileServices,
    problems,
  );
  if (problems.problems.length > 0) return { problems: textsOf(problems.problems) };
  return { policy, notes: textsOf(problems.notes), fileServices: [...fileServices] };
}

/** Who may write rows need not be somebody who may have files of this machine read. */
function noFile(): never {
  throw new Error("only the routes file can name files");
}

function readPolicy(
  host: string,
  value: Record<string, unknown>,
  around: PolicySurroundings,
  fileServices: Set<string>,
  problems: PolicyProblems,
): DomainPolicy {
  problems.read(outerSchema, value, []);
  const written = entriesOf(value["services"], ["services"], problems);
  const own = new Set(written.map(([name]) => name));
  const names: ServiceNames = {
    full: (name) => {
      if (own.has(name)) return `${host}/${name}`;
      fileServices.add(name);
      return name;
    },
    all: [...own, OWN_VMS],
  };
  const services = readServices(written, (name) => `${host}/${name}`, names, around, problems);
  for (const service of services) refuseReserved(service, service.name.slice(host.length + 1), around.ownPorts ?? [], problems);
  if (namesIn(services).size > MOST_NAMES) {
    problems.add(["services"], `must not name more than ${MOST_NAMES} hosts that are no addresses`);
  }
  const origin = `route_policies ${host}`;
  const ids = new RouteIds();
  ids.take(host);
  const setting = { schema: domainRouteSchema, hosts: [host], ownTarget: OWN_VMS, origin: `${origin} `, names, ids };
  const routes = readRoutes(itemsOf(value["routes"], ["routes"], problems), setting, problems);
  return {
    host,
    services: [...ownVms(host, value, problems), ...services],
    routes: [...routes, ...bareRoute(host, value, origin, names, problems)],
  };
}

/** What names resolve to is looked at when it is known, see lifecycle/endpoint-names. */
function refuseReserved({ endpoints }: ServiceRecord, name: string, ownPorts: readonly number[], problems: PolicyProblems): void {
  for (const [index, { address, port }] of (endpoints ?? []).entries()) {
    if (isReserved(address, port, ownPorts)) problems.add(["services", name, "endpoints", index, "url"], RESERVED);
  }
}

function namesIn(services: readonly ServiceRecord[]): Set<string> {
  const addresses = services.flatMap(({ endpoints }) => endpoints ?? []).map(({ address }) => address);
  return new Set(addresses.filter((address) => isIP(address) === 0));
}

function ownVms(host: string, value: Record<string, unknown>, problems: PolicyProblems): ServiceRecord[] {
  const said = partOf(value, endpointPolicyKeys);
  if (Object.keys(said).length === 0) return [];
  const read = problems.read(ownVmsSchema, said, []);
  return read === null ? [] : [{ name: host, endpoints: null, policy: endpointPolicy(host, read) }];
}

/** Also where only its VMs are spoken of: by it requests find them. */
function bareRoute(
  host: string,
  value: Record<string, unknown>,
  origin: string,
  names: ServiceNames,
  problems: PolicyProblems,
): PolicyRoute[] {
  const said = partOf(value, treatmentKeys);
  if (Object.keys(said).length === 0 && Object.keys(partOf(value, endpointPolicyKeys)).length === 0) return [];
  const read = problems.read(bareRouteSchema, said, []);
  if (read === null) return [];
  const frame = { id: host, origin, hosts: [host], match: EVERYTHING, priority: 0, ownTarget: OWN_VMS };
  return [routeRecord(frame, read, [], names, problems)];
}

function partOf(value: Record<string, unknown>, keys: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => Object.hasOwn(keys, key)));
}

function textsOf(problems: readonly PolicyProblem[]): string[] {
  const texts = [...new Set(problems.map(({ path, message }) => path.length === 0 ? message : `${placeName(path)}: ${message}`))];
  return texts.length <= MOST_PROBLEMS ? texts : [...texts.slice(0, MOST_PROBLEMS), `and ${texts.length - MOST_PROBLEMS} more`];
}
