/** Services of policies: their endpoints with what is known of each, and what operators have ordered. */
import { z } from "zod";
import type { Policies } from "../table/policies.ts";
import { ownEndpoints } from "../table/policies.ts";
import type { DrainPolicy, MaintenancePolicy, PolicyRoute, ServiceEndpoint, ServiceRecord } from "../table/policy.ts";
import { drainShare, orderNameOf } from "../table/policy-order.ts";
import type { EndpointUse } from "../upstream/endpoint-state.ts";
import { CORDON, cordonView } from "./cordons-api.ts";
import type { AdminDeps } from "./deps.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { MAINTENANCE, maintenanceView, ORDER, orderView, roundedShare } from "./policy-orders-api.ts";
import { badAfter, problem } from "./problem.ts";

const BREAKER_STATE = z.enum(["closed", "half-open", "open"]);

const SERVICE = z.object({
  name: z.string(),
  domain: z.string().nullable().describe("Whose policy says so; null: the routes file"),
  balance: z.string(),
  endpoints: z.int(),
  healthy: z.int().describe("Endpoints that have passed their check, or are never probed"),
  cordoned: z.int(),
  ejected: z.int().describe("Out for a time, or on trial, because of what real requests saw"),
  in_flight: z.int().describe("Attempts under way, over all workers"),
  breaker: BREAKER_STATE.nullable().describe(
    "Of one for the whole service, else the worst of its endpoints'; null: none has had requests",
  ),
  maintenance: MAINTENANCE.nullable().describe("In force: as ordered, else as the policy says; null: not in maintenance"),
  share: z.number().describe("Of its clients that it takes: below 1 while it drains, by order or policy"),
  order: ORDER.nullable().describe("Of an operator"),
});
const DETAILS = SERVICE.extend({
  routes: z.array(z.string()).describe("That lead there, up to 100: ids; of a domain's policy `DOMAIN/ID`"),
  members: z.array(z.object({
    key: z.string().describe("For `/api/endpoints/:key`, also to cordon it"),
    address: z.string(),
    port: z.int(),
    region: z.string(),
    weight: z.number(),
    verdict: z.enum(["unprobed", "healthy", "unhealthy"]).nullable().describe("null: never probed, or not in use"),
    reason: z.string(),
    in_flight: z.int(),
    hindrance: z.string().nullable().describe("What of its policy keeps requests away: ejected, trial, open, full, busy"),
    breaker: BREAKER_STATE.nullable().describe("null: it has none, or has had no requests"),
    cordon: CORDON.nullable(),
  })),
  policy: z.record(z.string(), z.unknown()).describe("With every default"),
});

const QUERY = listQuery(["name"], "name", {});
const PARAMS = z.object({ name: z.string().describe("`/` written %2F; the VMs of a domain under its name") });
const MOST_ROUTES = 100;
const EJECTED: ReadonlySet<string> = new Set(["ejected", "trial"]);

export const LIST_SERVICES = adminPath({
  method: "GET",
  path: "/api/services",
  tag: "policies",
  summary: "Services of the routes file and of the policies of domains, with their state and what operators have ordered",
  query: QUERY,
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, services: z.array(SERVICE), next: NEXT }) } },
  answer: listServices,
});

export const SHOW_SERVICE = adminPath({
  method: "GET",
  path: "/api/services/:name",
  tag: "policies",
  summary: "One service with its endpoints, the routes that lead there and its policy",
  params: PARAMS,
  answers: { 200: { meaning: "All that is known", schema: DETAILS }, 404: { meaning: "There is no such service" } },
  answer: showService,
});

type BreakerState = z.output<typeof BREAKER_STATE>;

/** What workers know, by endpoint or service. */
interface Live {
  readonly uses: ReadonlyMap<string, EndpointUse>;
  readonly breakers: ReadonlyMap<string, BreakerState>;
}

interface Listed {
  readonly record: ServiceRecord;
  readonly domain: string | null;
}

async function listServices(
  c: AdminContext,
  deps: AdminDeps,
  { query }: Given<unknown, z.output<typeof QUERY>, unknown>,
): Promise<Response> {
  const q = query.q.toLowerCase();
  const suiting = servicesOf(deps.policies().policies).filter(({ record: { name } }) => name.toLowerCase().includes(q));
  const list = listPage(suiting, query, { name: ({ record }) => record.name }, ({ record }) => record.name);
  if (list === null) return badAfter(c);
  const keys = list.page.flatMap((each) => membersOf(each, deps).map(({ key }) => key));
  const live = await liveOf(keys, deps);
  return c.json({ total: list.total, services: list.page.map((each) => serviceView(each, live, deps)), next: list.next });
}

async function showService(
  c: AdminContext,
  deps: AdminDeps,
  { params: { name } }: Given<z.output<typeof PARAMS>, unknown, unknown>,
): Promise<Response> {
  const { policies } = deps.policies();
  const listed = servicesOf(policies).find(({ record }) => record.name === name);
  if (listed === undefined) {
    return problem(c, 404, "no_service", `There is no service ${JSON.stringify(name)}. /api/services lists them`);
  }
  const members = membersOf(listed, deps);
  const live = await liveOf(members.map(({ key }) => key), deps);
  const details: z.output<typeof DETAILS> = {
    ...serviceView(listed, live, deps),
    routes: routesTo(listed, policies).slice(0, MOST_ROUTES).map(orderNameOf),
    members: members.map((member) => memberView(member, live, deps)),
    policy: { ...listed.record.policy },
  };
  return c.json(details);
}

/** The file's first, then the domains' by name. */
function servicesOf({ file, domains }: Policies): Listed[] {
  const ofDomains = [...domains].sort(([a], [b]) => a < b ? -1 : 1);
  return [
    ...file.services.map((record) => ({ record, domain: null })),
    ...ofDomains.flatMap(([domain, { services }]) => services.map((record) => ({ record, domain }))),
  ];
}

/** VMs of a domain as the table says now. */
function membersOf({ record, domain }: Listed, deps: AdminDeps): readonly ServiceEndpoint[] {
  if (record.endpoints !== null) return record.endpoints;
  const service = deps.policies().policies.service(record.name);
  const vms = domain === null ? undefined : deps.routes().get(domain);
  return service === undefined || vms === undefined ? [] : ownEndpoints(service, vms);
}

function routesTo({ record, domain }: Listed, { file, domains }: Policies): PolicyRoute[] {
  const own = domain === null ? undefined : domains.get(domain);
  const leads = (route: PolicyRoute, name: string): boolean => route.split.some(({ service }) => service === name);
  return [
    ...file.routes.filter((route) => leads(route, record.name)),
    ...[...domains.values()].flatMap(({ routes }) => routes.filter((route) => leads(route, record.name))),
    // The own VMs are named in their own way
    ...record.endpoints === null ? own?.routes.filter((route) => leads(route, "vms")) ?? [] : [],
  ];
}

async function liveOf(keys: readonly string[], { endpoints, breakers }: AdminDeps): Promise<Live> {
  const [uses, list] = await Promise.all([endpoints.uses(keys), breakers.list()]);
  return { uses, breakers: new Map(list.map(({ name, state }) => [name, state])) };
}

function worst(states: readonly (BreakerState | undefined)[]): BreakerState | null {
  return BREAKER_STATE.options.findLast((state) => states.includes(state)) ?? null;
}

function serviceView(listed: Listed, live: Live, deps: AdminDeps): z.output<typeof SERVICE> {
  const { record: { name, policy }, domain } = listed;
  const members = membersOf(listed, deps);
  const order = deps.policyOrders.find("service", name) ?? null;
  const maintenance: MaintenancePolicy | null = order?.maintenance ?? policy.maintenance;
  const drain: DrainPolicy | null = order?.drain ?? policy.drain;
  return {
    name,
    domain,
    balance: policy.balance,
    endpoints: members.length,
    healthy: members.filter(({ key }) => (deps.endpoints.health(key)?.verdict ?? "healthy") === "healthy").length,
    cordoned: members.filter(({ key }) => deps.cordons.find(key) !== undefined).length,
    ejected: members.filter(({ key }) => EJECTED.has(live.uses.get(key)?.hindrance ?? "")).length,
    in_flight: members.reduce((sum, { key }) => sum + (live.uses.get(key)?.inFlight ?? 0), 0),
    breaker: worst([live.breakers.get(name), ...members.map(({ key }) => live.breakers.get(key))]),
    maintenance: maintenance?.enabled === true ? maintenanceView(maintenance) : null,
    share: drain === null ? 1 : roundedShare(drainShare(drain, deps.nowMs())),
    order: order === null ? null : orderView(order, deps.nowMs()),
  };
}

function memberView(
  { key, address, port, region, weight }: ServiceEndpoint,
  { uses, breakers }: Live,
  { endpoints, cordons }: AdminDeps,
): z.output<typeof DETAILS>["members"][number] {
  const health = endpoints.health(key);
  const cordon = cordons.find(key);
  return {
    key,
    address,
    port,
    region,
    weight,
    verdict: health?.verdict ?? null,
    reason: health?.reason ?? "",
    in_flight: uses.get(key)?.inFlight ?? 0,
    hindrance: uses.get(key)?.hindrance ?? null,
    breaker: breakers.get(key) ?? null,
    cordon: cordon === undefined ? null : cordonView(cordon),
  };
}
