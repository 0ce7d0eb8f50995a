/** What is in force of the routes file and of the policies of domains, and what is wrong with the file. */
import { z } from "zod";
import type { ConfigFileStatus } from "../sources/config-file.ts";
import type { Policies } from "../table/policies.ts";
import type { FieldEdits, FixedResponse, PolicyRoute, ServicePolicy, ServiceRecord } from "../table/policy.ts";
import type { AdminDeps } from "./deps.ts";
import { TIME } from "./fields.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { badAfter } from "./problem.ts";
import { timeText } from "./time-text.ts";

const FILE = z.object({
  path: z.string(),
  ok: z.boolean().describe("false: the file is wrong, and the one before stays in force"),
  problems: z.array(z.string()).describe("Of the last reading, all of them: file, line, column, place and what is wrong"),
  warnings: z.array(z.string()).describe("Of what is in force"),
  loaded: TIME.describe("When what is in force was read first"),
  read: TIME.describe("The last reading"),
  bad_since: TIME.nullable(),
  reloads: z.object({ changed: z.int(), unchanged: z.int(), refused: z.int() }),
});

const MOST_UNKNOWN = 100;
const POLICIES = z.object({
  revision: z.int().describe("In force; grows with each change"),
  file: FILE.nullable().describe("null: none is configured"),
  sandbox: z.object({ route_key_header: z.string(), carriers: z.array(z.string()), trust: z.string() }),
  services: z.int().describe("Of the file"),
  routes: z.int().describe("Of the file"),
  domains: z.int().describe("With a policy of their own"),
  unknown_services: z.array(z.object({ domain: z.string(), service: z.string() })).describe(
    `What policies of domains lead to and nobody has, up to ${MOST_UNKNOWN}: such requests get no_endpoints`,
  ),
  hidden_routes: z.array(z.object({ id: z.string(), origin: z.string(), host: z.string() })).describe(
    "Routes of the file that never apply to a host, up to 100: the database has the host, and they say nothing more than its bare route",
  ),
  unusable_services: z.array(z.object({ name: z.string(), why: z.string() })).describe(
    "To which a route leads and which no endpoint can serve now, up to 100",
  ),
  names: z.array(z.object({ name: z.string(), addresses: z.array(z.string()), error: z.string().nullable() })).describe(
    "Host names of endpoints, as they were last resolved; one without an address is no endpoint",
  ),
  excluded: z.int().describe("Domains that are not served because their policy is wrong; /api/excluded?code=bad_policy lists them"),
});

const DOMAIN = z.string().nullable().describe("Whose policy says so; null: the routes file");
const RECORD = z.record(z.string(), z.unknown());
const SERVICE = z.object({
  name: z.string(),
  domain: DOMAIN,
  endpoints: z.int().nullable().describe("null: the VMs of the domain"),
  record: RECORD.describe("With every default; values of fields that tend to be secret are masked"),
});
const ROUTE = z.object({
  id: z.string(),
  domain: DOMAIN,
  origin: z.string().describe("Where it was written"),
  hosts: z.array(z.string()).describe("Empty: any host"),
  path: z.string().describe("A prefix; an exact path with = before it"),
  priority: z.int(),
  leads_to: z.string().describe("Services with their shares, `redirect` or `respond`"),
  record: RECORD.describe("With every default; values of fields that tend to be secret are masked"),
});

interface Listed<Item> {
  readonly item: Item;
  /** null: of the file. */
  readonly domain: string | null;
  /** In its set. */
  readonly place: number;
}

const ROUTES_QUERY = listQuery(["place", "id", "priority"], "place", {
  domain: z.string().optional().describe("Only of this domain's policy"),
});
const SERVICES_QUERY = listQuery(["name"], "name", { domain: z.string().optional().describe("Only of this domain's policy") });

export const SHOW_POLICIES = adminPath({
  method: "GET",
  path: "/api/policies",
  tag: "policies",
  summary: "The state of the routes file, with every problem, and how much is in force",
  answers: { 200: { meaning: "As of now", schema: POLICIES } },
  answer: (c, deps) => c.json(policiesView(deps)),
});

export const LIST_POLICY_ROUTES = adminPath({
  method: "GET",
  path: "/api/policies/routes",
  tag: "policies",
  summary: "Routes of the routes file and of the policies of domains, as they are in force",
  query: ROUTES_QUERY,
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, routes: z.array(ROUTE), next: NEXT }) } },
  answer: listRoutes,
});

export const LIST_POLICY_SERVICES = adminPath({
  method: "GET",
  path: "/api/policies/services",
  tag: "policies",
  summary: "Services of the routes file and of the policies of domains, as they are in force",
  query: SERVICES_QUERY,
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, services: z.array(SERVICE), next: NEXT }) } },
  answer: listServices,
});

function policiesView(deps: AdminDeps): z.output<typeof POLICIES> {
  const { revision, policies, file: status, names } = deps.policies();
  const { file, domains, sandbox } = policies;
  const { hidden, unusable } = deps.policyFindings();
  return {
    revision,
    file: status === null ? null : fileView(status),
    sandbox: { route_key_header: sandbox.routeKeyHeader, carriers: [...sandbox.carriers], trust: sandbox.trust },
    services: file.services.length,
    routes: file.routes.length,
    domains: domains.size,
    unknown_services: unknownServices(policies),
    hidden_routes: [...hidden],
    unusable_services: [...unusable],
    names: names.map(({ name, addresses, error }) => ({ name, addresses: [...addresses], error })),
    excluded: deps.refreshStatus().excluded.bad_policy,
  };
}

/** The routes file may be read after the row, so that this is not wrong in itself. */
function unknownServices(policies: Policies): z.output<typeof POLICIES>["unknown_services"] {
  const unknown: { domain: string; service: string }[] = [];
  for (const [domain, { routes }] of policies.domains) {
    const names = new Set(routes.flatMap(({ split, maintenance }) => [
      ...split.map(({ service }) => service),
      ...maintenance === null || maintenance.service === null ? [] : [maintenance.service],
    ]));
    for (const service of names) if (policies.service(service, domain) === undefined) unknown.push({ domain, service });
    if (unknown.length >= MOST_UNKNOWN) break;
  }
  return unknown.slice(0, MOST_UNKNOWN);
}

function fileView(status: ConfigFileStatus): z.output<typeof FILE> {
  const { path, problems, warnings, loadedAtMs, readAtMs, badSinceMs, results } = status;
  return {
    path,
    ok: problems.length === 0,
    problems: [...problems],
    warnings: [...warnings],
    loaded: timeText(loadedAtMs),
    read: timeText(readAtMs),
    bad_since: badSinceMs === null ? null : timeText(badSinceMs),
    reloads: { ...results },
  };
}

function listRoutes(c: AdminContext, deps: AdminDeps, { query }: Given<unknown, z.output<typeof ROUTES_QUERY>, unknown>): Response {
  const q = query.q.toLowerCase();
  const suits = ({ id, hosts, split }: PolicyRoute): boolean =>
    [id, ...hosts, ...split.map(({ service }) => service)].some((text) => text.toLowerCase().includes(q));
  const routes = listed(deps.policies().policies, query.domain, ({ routes }) => routes).filter(({ item }) => suits(item));
  const list = listPage(routes, query, {
    place: ({ place }) => place,
    id: ({ item }) => item.id,
    priority: ({ item }) => item.priority,
  }, ({ item, domain }) => `${domain ?? ""} ${item.id}`);
  return list === null ? badAfter(c) : c.json({ total: list.total, routes: list.page.map(routeView), next: list.next });
}

function listServices(
  c: AdminContext,
  deps: AdminDeps,
  { query }: Given<unknown, z.output<typeof SERVICES_QUERY>, unknown>,
): Response {
  const q = query.q.toLowerCase();
  const services = listed(deps.policies().policies, query.domain, ({ services }) => services)
    .filter(({ item }) => item.name.toLowerCase().includes(q));
  const list = listPage(services, query, { name: ({ item }) => item.name }, ({ item }) => item.name);
  return list === null ? badAfter(c) : c.json({ total: list.total, services: list.page.map(serviceView), next: list.next });
}

type Set = { readonly services: readonly ServiceRecord[]; readonly routes: readonly PolicyRoute[] };

/** The file's first, then the domains' by name. `domain` undefined: all. */
function listed<Item>({ file, domains }: Policies, domain: string | undefined, of: (set: Set) => readonly Item[]): Listed<Item>[] {
  const one = domain === undefined ? undefined : domains.get(domain);
  const sets: readonly (readonly [string | null, Set])[] = domain !== undefined
    ? one === undefined ? [] : [[domain, one]]
    : [[null, file], ...[...domains].sort(([a], [b]) => a < b ? -1 : 1)];
  return sets.flatMap(([name, set]) => of(set).map((item) => ({ item, domain: name })))
    .map((each, place) => ({ ...each, place }));
}

function routeView({ item, domain }: Listed<PolicyRoute>): z.output<typeof ROUTE> {
  const { id, origin, hosts, match: { path }, priority } = item;
  return {
    id,
    domain,
    origin,
    hosts: [...hosts],
    path: `${path.kind === "exact" ? "=" : ""}${path.value}`,
    priority,
    leads_to: leadsTo(item),
    record: { ...withoutSecrets(item) },
  };
}

function serviceView({ item, domain }: Listed<ServiceRecord>): z.output<typeof SERVICE> {
  return {
    name: item.name,
    domain,
    endpoints: item.endpoints?.length ?? null,
    record: { ...item, policy: probeMasked(item.policy) },
  };
}

/** Checks may need to log in. */
function probeMasked(policy: ServicePolicy): ServicePolicy {
  const { health } = policy;
  return health === null ? policy : { ...policy, health: { ...health, headers: health.headers.map(maskedField) } };
}

function leadsTo({ redirect, respond, split }: PolicyRoute): string {
  if (redirect !== null) return "redirect";
  if (respond !== null) return "respond";
  if (split.length === 1) return split[0]!.service;
  return split.map(({ service, share }) => `${service} ${share / 100} %`).join(", ");
}

const SECRET = /auth|cookie|token|secret|key|password/i;

function withoutSecrets(route: PolicyRoute): PolicyRoute {
  const { requestFields, responseFields, respond } = route;
  return {
    ...route,
    requestFields: masked(requestFields),
    responseFields: masked(responseFields),
    respond: respond === null ? null : maskedAnswer(respond),
  };
}

function masked({ set, add, remove }: FieldEdits): FieldEdits {
  return { set: set.map(maskedField), add: add.map(maskedField), remove };
}

function maskedAnswer(answer: FixedResponse): FixedResponse {
  return { ...answer, headers: answer.headers.map(maskedField) };
}

function maskedField([name, value]: readonly [string, string]): readonly [string, string] {
  return [name, SECRET.test(name) ? "***" : value];
}
