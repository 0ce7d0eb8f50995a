/** What an operator should know of policies as a whole: what never applies, what is switched off for now, what leads nowhere. */
import type { Policies } from "./policies.ts";
import {
  type DrainPolicy,
  type FilePolicies,
  OWN_VMS,
  type PolicyRoute,
  type ServiceEndpoint,
  type ServiceRecord,
} from "./policy.ts";
import { type OrderedKind, orderNameOf, type PolicyOrder } from "./policy-order.ts";
import type { Routes } from "./routes.ts";
import { matcherCount, pathRank } from "./rule.ts";

/** A route of the file that the bare route of the database goes before. */
export interface HiddenRoute {
  readonly id: string;
  readonly origin: string;
  readonly host: string;
}

/** A route or service that requests do not go to as usual. */
export interface Suspended {
  readonly kind: OrderedKind;
  readonly name: string;
  /** Since when an operator has wanted it so; null: its policy says so. */
  readonly orderedAtMs: number | null;
}

export interface Drained extends Suspended {
  readonly drain: DrainPolicy;
}

export interface UnusableService {
  readonly name: string;
  readonly why: string;
}

export interface PolicyFindings {
  /** The first of them. */
  readonly hidden: readonly HiddenRoute[];
  readonly maintained: readonly Suspended[];
  readonly drained: readonly Drained[];
  /** Of those that a route leads to, the first. */
  readonly unusable: readonly UnusableService[];
}

/** More are for a search, not for a first screen. */
const MOST = 100;
/** Names that are looked for in the routing table; files with more than these have a hundred findings before. */
const MOST_HOSTS = 20_000;

export interface FindingParts {
  readonly policies: Policies;
  readonly routes: Pick<Routes, "get">;
  readonly orders: readonly PolicyOrder[];
  /** Whether an endpoint can take requests, as far as is known; else why not. */
  hindrance(endpoint: ServiceEndpoint): string | null;
}

export function policyFindings({ policies, routes, orders, hindrance }: FindingParts): PolicyFindings {
  const said = saidBy(policies);
  const ordered = new Map(orders.map((order) => [`${order.kind} ${order.name}`, order]));
  return {
    hidden: hiddenAmong(said.plain, routes),
    maintained: maintainedOf(said, ordered),
    drained: drainedOf(said, ordered),
    unusable: [...unusableAmong(said.led, hindrance), ...said.nowhere].slice(0, MOST),
  };
}

/** What does not change while the same policies are in force, which may be those of 100,000 domains. */
interface Said {
  /** Routes of the file for whole hosts. */
  readonly plain: readonly PolicyRoute[];
  readonly maintained: readonly Suspended[];
  readonly drained: readonly Drained[];
  /** Services of the file that one of its routes leads to. */
  readonly led: readonly ServiceRecord[];
  /** Services of domains without any endpoint that takes requests. */
  readonly nowhere: readonly UnusableService[];
}

const saidOf: WeakMap<Policies, Said> = new WeakMap();

function saidBy(policies: Policies): Said {
  let said = saidOf.get(policies);
  if (said === undefined) saidOf.set(policies, said = gather(policies));
  return said;
}

function gather(policies: Policies): Said {
  const { file, domains } = policies;
  const maintained: Suspended[] = [];
  const drained: Drained[] = [];
  const nowhere: UnusableService[] = [];
  const note = (kind: OrderedKind, name: string, { maintenance, drain }: Pick<PolicyRoute, "maintenance" | "drain">): void => {
    if (maintenance?.enabled === true) maintained.push({ kind, name, orderedAtMs: null });
    if (drain !== null) drained.push({ kind, name, orderedAtMs: null, drain });
  };
  for (const { services, routes } of [file, ...domains.values()]) {
    for (const { name, policy } of services) note("service", name, policy);
    for (const route of routes) note("route", orderNameOf(route), route);
  }
  for (const [domain, { routes, services }] of domains) {
    if (routes.length === 1 && services.length === 0) continue; // the usual case: its own VMs, in another way
    for (const name of ledTo(routes)) {
      if (name === OWN_VMS) continue;
      const service = policies.service(name, domain);
      if (service?.endpoints === null || service?.endpoints.some(takes) === true) continue;
      nowhere.push({
        name,
        why: service === undefined ? `nobody knows it, but ${domain} leads there` : whyNobody(service.endpoints!),
      });
      if (nowhere.length >= MOST) break;
    }
  }
  const led = ledTo(file.routes);
  return {
    plain: plainOf(file),
    maintained,
    drained,
    led: file.services.filter(({ name }) => led.has(name)),
    nowhere,
  };
}

function ledTo(routes: readonly PolicyRoute[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { split, maintenance } of routes) {
    for (const { service, share } of split) if (share > 0) names.add(service);
    if (maintenance?.enabled === true && maintenance.service !== null) names.add(maintenance.service);
  }
  return names;
}

function takes({ weight }: ServiceEndpoint): boolean {
  return weight > 0;
}

function whyNobody(endpoints: readonly ServiceEndpoint[]): string {
  return endpoints.length === 0 ? "it has no endpoint (host names without an address are none)" : "all its endpoints have weight 0";
}

/** As `match-route` decides: the bare route has the priority 0, no path and no matcher, and is older than the file. */
export function hiddenRoutes(file: FilePolicies, routes: Pick<Routes, "get">): HiddenRoute[] {
  return hiddenAmong(plainOf(file), routes);
}

function plainOf({ routes }: FilePolicies): PolicyRoute[] {
  return routes.filter((route) => route.priority === 0 && pathRank(route.match.path) === 0 && matcherCount(route) === 0);
}

function hiddenAmong(plain: readonly PolicyRoute[], routes: Pick<Routes, "get">): HiddenRoute[] {
  const hidden: HiddenRoute[] = [];
  let looked = 0;
  for (const { id, origin, hosts } of plain) {
    for (const host of hosts) {
      if (++looked > MOST_HOSTS) return hidden;
      if (routes.get(host) === undefined) continue;
      if (hidden.push({ id, origin, host }) >= MOST) return hidden;
    }
  }
  return hidden;
}

/** What operators order comes before what policies say. */
function maintainedOf({ maintained }: Said, ordered: ReadonlyMap<string, PolicyOrder>): Suspended[] {
  const byPolicy = maintained.filter(({ kind, name }) => (ordered.get(`${kind} ${name}`)?.maintenance ?? null) === null);
  const byOrder = [...ordered.values()].filter(({ maintenance }) => maintenance?.enabled === true);
  return [...byOrder.map(({ kind, name, sinceAtMs }) => ({ kind, name, orderedAtMs: sinceAtMs })), ...byPolicy];
}

function drainedOf({ drained }: Said, ordered: ReadonlyMap<string, PolicyOrder>): Drained[] {
  const byPolicy = drained.filter(({ kind, name }) => (ordered.get(`${kind} ${name}`)?.drain ?? null) === null);
  const byOrder = [...ordered.values()].flatMap(({ kind, name, drain, sinceAtMs }): Drained[] =>
    drain === null ? [] : [{ kind, name, drain, orderedAtMs: sinceAtMs }]
  );
  return [...byOrder, ...byPolicy];
}

function unusableAmong(services: readonly ServiceRecord[], hindrance: FindingParts["hindrance"]): UnusableService[] {
  const unusable: UnusableService[] = [];
  for (const { name, endpoints } of services) {
    if (endpoints === null) continue;
    const taking = endpoints.filter(takes);
    const whys = new Set<string>();
    if (
      taking.some((endpoint) => {
        const why = hindrance(endpoint);
        if (why !== null) whys.add(why);
        return why === null;
      })
    ) continue;
    unusable.push({
      name,
      why: taking.length === 0 ? whyNobody(endpoints) : `${taking.length} endpoint(s): ${[...whys].join(", ")}`,
    });
    if (unusable.length >= MOST) break;
  }
  return unusable;
}
