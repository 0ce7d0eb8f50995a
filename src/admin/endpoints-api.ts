/** Endpoints: health as the prober sees it, use as the workers see it, what operators want of them. */
import { z } from "zod";
import type { EndpointRecord } from "../table/record.ts";
import type { EndpointUse } from "../upstream/endpoint-state.ts";
import type { EndpointHealth } from "../upstream/endpoint-findings.ts";
import { HINDRANCES } from "../upstream/endpoint-watch.ts";
import { CORDON, cordonView, isKnown, NO_ENDPOINT, OF_ENDPOINT, unknownEndpoint } from "./cordons-api.ts";
import type { AdminDeps } from "./deps.ts";
import { flag, TIME } from "./fields.ts";
import { type Columns, listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { badAfter } from "./problem.ts";
import { latencyMs, timeText } from "./time-text.ts";

/** Hosts that the page of an endpoint names. */
const MOST_HOSTS = 100;
const VERDICTS = ["unprobed", "healthy", "unhealthy"] as const;

const ENDPOINT = z.object({
  key: z.string().describe(
    "`vm/ADDRESS:PORT`, or `region/ADDRESS:PORT` for another region's edge; with `@SERVICE` under the policy of a service",
  ),
  kind: z.enum(["vm", "region"]),
  address: z.string(),
  port: z.int(),
  region: z.string(),
  verdict: z.enum(VERDICTS).nullable().describe(
    "null: not watched; a VM out of use, or another region's edge, which is never probed",
  ),
  since: TIME.nullable().describe("When the verdict last changed"),
  reason: z.string().describe("What the last probe or broken connection said"),
  consecutive: z.int().describe("Results in a row that said the same as the last"),
  latency_ms: z.number().nullable().describe("Of the last probe"),
  last_probe: TIME.nullable(),
  next_probe: TIME.nullable(),
  routes: z.int().describe("How many lead there"),
  in_flight: z.int().describe("Attempts under way, over all workers"),
  idle_connections: z.int().describe("Connections at rest, over all workers"),
  last_failure: z.object({ time: TIME, reason: z.string() }).nullable().describe("The last connection that requests saw fail"),
  hindrance: z.enum(HINDRANCES).nullable().describe(
    "What of its policy keeps requests away: `ejected`, or due for a `trial`; its breaker is `open`; it is `full`, or `busy`; null: nothing",
  ),
  share: z.number().describe("Of its weight: less than 1 while it starts slowly after a recovery"),
  cordon: CORDON.nullable(),
});

const DETAILS = ENDPOINT.extend({
  probes: z.array(z.object({ time: TIME, healthy: z.boolean(), latency_ms: z.number(), reason: z.string() }))
    .describe("The last 50, newest first"),
  changes: z.array(z.object({ time: TIME, verdict: z.enum(VERDICTS), reason: z.string() }))
    .describe("The last 20 changes of the verdict, newest first"),
  hosts: z.array(z.string()).describe("Up to 100 that lead there; `routes` says how many there are"),
});

/** What there is to say of an endpoint. */
interface Found {
  readonly record: EndpointRecord;
  readonly health: EndpointHealth | undefined;
}

const COLUMN_NAMES = ["key", "latency", "since", "in_flight", "routes"] as const;
type Column = (typeof COLUMN_NAMES)[number];

const LIST_QUERY = listQuery(COLUMN_NAMES, "key", {
  verdict: z.enum(VERDICTS).optional(),
  region: z.string().optional().describe("UUID of the region"),
  kind: z.enum(["vm", "region"]).optional(),
  cordoned: flag(),
});

export const LIST_ENDPOINTS = adminPath({
  method: "GET",
  path: "/api/endpoints",
  tag: "endpoints",
  summary: "Endpoints in use, other regions' edges, and all that are cordoned",
  query: LIST_QUERY,
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, endpoints: z.array(ENDPOINT), next: NEXT }) } },
  answer: listEndpoints,
});

export const SHOW_ENDPOINT = adminPath({
  method: "GET",
  path: "/api/endpoints/:key",
  tag: "endpoints",
  summary: "One endpoint, in use or not, with its last probes and some of the hosts that lead there",
  params: OF_ENDPOINT,
  answers: { 200: { meaning: "All that is known", schema: DETAILS }, 404: NO_ENDPOINT },
  answer: showEndpoint,
});

async function listEndpoints(
  c: AdminContext,
  deps: AdminDeps,
  { query }: Given<unknown, z.output<typeof LIST_QUERY>, unknown>,
): Promise<Response> {
  const busy = query.sort.endsWith("in_flight") ? await deps.endpoints.uses(null) : null;
  const columns: Columns<Found, Column> = {
    key: ({ record }) => record.key,
    latency: ({ health }) => health?.latencyMs ?? null,
    since: ({ health }) => health?.sinceAtMs ?? null,
    "in_flight": ({ record }) => busy?.get(record.key)?.inFlight ?? 0,
    routes: ({ record }) => deps.endpoints.routesTo(record.key),
  };
  const suiting = everyEndpoint(deps).filter(({ record: { key, kind, region }, health }) => {
    if (query.verdict !== undefined && health?.verdict !== query.verdict) return false;
    if (query.cordoned !== undefined && (deps.cordons.find(key) !== undefined) !== query.cordoned) return false;
    return key.includes(query.q) && kind === (query.kind ?? kind) && region === (query.region?.toLowerCase() ?? region);
  });
  const found = listPage(suiting, query, columns, ({ record }) => record.key);
  if (found === null) return badAfter(c);
  const uses = await deps.endpoints.uses(found.page.map(({ record }) => record.key));
  return c.json({ total: found.total, endpoints: found.page.map((each) => endpointView(each, uses, deps)), next: found.next });
}

async function showEndpoint(
  c: AdminContext,
  deps: AdminDeps,
  { params: { key } }: Given<z.output<typeof OF_ENDPOINT>, unknown, unknown>,
): Promise<Response> {
  const { endpoints } = deps;
  if (!isKnown(key, deps)) return unknownEndpoint(c, key);
  const found: Found = { record: recordOf(key, deps), health: endpoints.health(key) };
  const [uses, hosts] = await Promise.all([endpoints.uses([key]), endpoints.hostsOf(key, MOST_HOSTS)]);
  const { probes = [], changes = [] } = endpoints.history(key) ?? {};
  const details: z.output<typeof DETAILS> = {
    ...endpointView(found, uses, deps),
    probes: probes.map(({ atMs, healthy, latencyMs: ms, reason }) => {
      return { time: timeText(atMs), healthy, latency_ms: latencyMs(ms) ?? 0, reason };
    }),
    changes: changes.map(({ atMs, verdict, reason }) => ({ time: timeText(atMs), verdict, reason })),
    hosts: [...hosts],
  };
  return c.json(details);
}

function everyEndpoint(deps: AdminDeps): Found[] {
  const found = new Map<string, Found>();
  for (const health of deps.endpointHealth()) found.set(health.endpoint.key, { record: health.endpoint, health });
  for (const record of deps.endpoints.regions()) found.set(record.key, { record, health: undefined });
  for (const { key } of deps.cordons.list()) {
    if (!found.has(key)) found.set(key, { record: recordOf(key, deps), health: undefined });
  }
  return [...found.values()];
}

/** Of one that has left the table, while it is cordoned, what its key says. */
function recordOf(key: string, { endpoints }: AdminDeps): EndpointRecord {
  const known = endpoints.find(key);
  if (known !== undefined) return known;
  const [, kind, address = "", port] = /^(vm|region)\/\[?(.*?)\]?:(\d+)(?:@.*)?$/.exec(key) ?? [];
  return { key, kind: kind === "region" ? "region" : "vm", address, port: Number(port), region: "" };
}

function endpointView(
  { record, health }: Found,
  uses: ReadonlyMap<string, EndpointUse>,
  { endpoints, cordons }: AdminDeps,
): z.output<typeof ENDPOINT> {
  const { key, kind, address, port, region } = record;
  const { inFlight = 0, idle = 0, lastFailure = null, hindrance = null, share = 1 } = uses.get(key) ?? {};
  const cordon = cordons.find(key);
  return {
    key,
    kind,
    address,
    port,
    region,
    verdict: health?.verdict ?? null,
    since: timeText(health?.sinceAtMs ?? null),
    reason: health?.reason ?? "",
    consecutive: health?.consecutive ?? 0,
    latency_ms: latencyMs(health?.latencyMs ?? null),
    last_probe: timeText(health?.lastProbeAtMs ?? null),
    next_probe: timeText(health?.nextProbeAtMs ?? null),
    routes: endpoints.routesTo(key),
    in_flight: inFlight,
    idle_connections: idle,
    last_failure: lastFailure === null ? null : { time: timeText(lastFailure.atMs), reason: lastFailure.reason },
    hindrance,
    share: Math.round(share * 1000) / 1000,
    cordon: cordon === undefined ? null : cordonView(cordon),
  };
}
