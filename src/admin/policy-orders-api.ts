/** Maintenance and drains of routes and services, as operators order them while the proxy runs. */
import { z } from "zod";
import { type MaintenancePolicy, OWN_VMS } from "../table/policy.ts";
import { drainShare, type OrderedKind, orderNameOf, type PolicyOrder } from "../table/policy-order.ts";
import { clientOf } from "./auth.ts";
import type { AdminDeps } from "./deps.ts";
import { EXPIRY, TIME } from "./fields.ts";
import { type AdminContext, type AdminPath, adminPath, type Given } from "./path.ts";
import { problem } from "./problem.ts";
import { timeText } from "./time-text.ts";

export const MAINTENANCE = z.object({
  enabled: z.boolean().describe("false: not in maintenance, whatever the policy says"),
  service: z.string().nullable().describe("That answers instead; null: the answer below"),
  status: z.int(),
  body: z.string().describe("Empty: the proxy's own page"),
});
export const DRAIN_ORDER = z.object({
  started: TIME,
  over_seconds: z.number(),
  share: z.number().describe("Of its clients that it still takes, 1 to 0"),
});
export const ORDER = z.object({
  kind: z.enum(["route", "service"]),
  name: z.string(),
  maintenance: MAINTENANCE.nullable().describe("null: as the policy says"),
  drain: DRAIN_ORDER.nullable().describe("null: as the policy says"),
  since: TIME,
  until: TIME.nullable().describe("null: until it is taken back"),
  reason: z.string(),
  by: z.string().describe("Address of who wanted it, or `unix socket`"),
});

const COMMON = {
  expires: EXPIRY.optional().describe("Then it ends by itself: a duration such as 2h, at most 7d. Without it: never"),
  reason: z.string().max(500).default("").describe("For other operators"),
};
const MAINTENANCE_BODY = z.strictObject({
  enabled: z.boolean().default(true).describe("false: out of maintenance, whatever the policy says"),
  service: z.string().max(500).optional().describe("Name of a service that answers instead"),
  status: z.int().min(200).max(599).default(503),
  body: z.string().max(16_384).default("").describe("Of the answer; without it the proxy's own page"),
  content_type: z.string().regex(/^[\x20-\x7e]{1,200}$/).default("text/plain; charset=utf-8"),
  retry_after: z.int().min(1).max(86_400).optional().describe("Seconds, for the field Retry-After"),
  ...COMMON,
});
const DRAIN_BODY = z.strictObject({
  over: EXPIRY.prefault("10m").describe("How long until it takes nobody any more: a duration such as 10m, at most 7d"),
  ...COMMON,
});
const CLEARED = z.object({ name: z.string(), cleared: z.boolean().describe("There was such an order") });

export const LIST_ORDERS = adminPath({
  method: "GET",
  path: "/api/policies/orders",
  tag: "policies",
  summary: "What operators have ordered of routes and services: maintenance, drains with the share that is left",
  answers: { 200: { meaning: "All of them", schema: z.object({ orders: z.array(ORDER) }) } },
  answer: (c, deps) => c.json({ orders: deps.policyOrders.list().map((order) => orderView(order, deps.nowMs())) }),
});

interface Target {
  readonly kind: OrderedKind;
  readonly path: string;
  readonly params: z.ZodType<{ readonly name: string }>;
}

const ROUTE: Target = {
  kind: "route",
  path: "/api/policies/routes/:name",
  params: z.object({ name: z.string().describe("Its id; of a domain's policy `DOMAIN/ID` with `/` written %2F") }),
};
const SERVICE: Target = {
  kind: "service",
  path: "/api/services/:name",
  params: z.object({ name: z.string().describe("`/` written %2F; the VMs of a domain under its name") }),
};

/** Orders of both kinds. */
export const ORDER_PATHS: readonly AdminPath[] = [ROUTE, SERVICE].flatMap((target) => [
  setMaintenance(target),
  clear(target, "maintenance"),
  setDrain(target),
  clear(target, "drain"),
]);

function unknown({ kind }: Target) {
  return { meaning: `There is no such ${kind}` };
}

function setMaintenance(target: Target): AdminPath {
  return adminPath({
    method: "POST",
    path: `${target.path}/maintenance`,
    action: `${target.kind}-maintenance`,
    tag: "policies",
    summary: `Put a ${target.kind} into maintenance, or out of it; answers when it is in force in every worker`,
    params: target.params,
    body: MAINTENANCE_BODY,
    answers: {
      200: { meaning: "What is ordered of it now", schema: ORDER },
      400: { meaning: "No such service to answer instead" },
      404: unknown(target),
      409: { meaning: "There are 1000 orders already" },
    },
    answer: (c, deps, { params: { name }, body }: Given<{ readonly name: string }, unknown, z.output<typeof MAINTENANCE_BODY>>) => {
      const { service = null } = body;
      if (service !== null && deps.policies().policies.service(service) === undefined) {
        return problem(c, 400, "bad_body", `service: there is no service ${JSON.stringify(service)}`);
      }
      if (target.kind === "service" && service === name) return problem(c, 400, "bad_body", "service: must be another one");
      return order(c, deps, target.kind, name, { maintenance: maintenanceOf(body), ...wishOf(c, body) });
    },
  });
}

function setDrain(target: Target): AdminPath {
  return adminPath({
    method: "POST",
    path: `${target.path}/drain`,
    action: `${target.kind}-drain`,
    tag: "policies",
    summary: `Let a ${target.kind} take fewer and fewer clients, from now on, until it takes none`,
    params: target.params,
    body: DRAIN_BODY,
    answers: {
      200: { meaning: "What is ordered of it now", schema: ORDER },
      404: unknown(target),
      409: { meaning: "There are 1000 orders already" },
    },
    answer: (c, deps, { params: { name }, body }: Given<{ readonly name: string }, unknown, z.output<typeof DRAIN_BODY>>) =>
      order(c, deps, target.kind, name, { drain: { overMs: body.over }, ...wishOf(c, body) }),
  });
}

function clear(target: Target, what: "maintenance" | "drain"): AdminPath {
  return adminPath({
    method: "DELETE",
    path: `${target.path}/${what}`,
    action: `${target.kind}-${what}-cleared`,
    tag: "policies",
    summary: `Take the order back: the ${what} of the ${target.kind} is as its policy says; fine also where there is none`,
    params: target.params,
    answers: { 200: { meaning: "Nothing is ordered", schema: CLEARED }, 404: unknown(target) },
    answer: async (c, deps, { params: { name } }: Given<{ readonly name: string }, unknown, unknown>) => {
      if (!isKnown(target.kind, name, deps)) return noSuch(c, target.kind, name);
      return c.json({ name, cleared: await deps.policyOrders.clear(target.kind, name, what) });
    },
  });
}

type Wish = Parameters<AdminDeps["policyOrders"]["set"]>[2];

async function order(c: AdminContext, deps: AdminDeps, kind: OrderedKind, name: string, wish: Wish): Promise<Response> {
  if (!isKnown(kind, name, deps)) return noSuch(c, kind, name);
  const given = await deps.policyOrders.set(kind, name, wish);
  return given === null ? problem(c, 409, "too_many", "There are 1000 orders already") : c.json(orderView(given, deps.nowMs()));
}

function wishOf(
  c: AdminContext,
  { expires = null, reason }: { readonly expires?: number | undefined | null; readonly reason: string },
) {
  return { forMs: expires, reason, by: clientOf(c) };
}

function maintenanceOf(body: z.output<typeof MAINTENANCE_BODY>): MaintenancePolicy {
  const retry: [string, string][] = body.retry_after === undefined ? [] : [["Retry-After", String(body.retry_after)]];
  const type: [string, string][] = body.body === "" ? [] : [["Content-Type", body.content_type]];
  return {
    enabled: body.enabled,
    service: body.service ?? null,
    answer: { status: body.status, body: body.body, headers: [...type, ...retry] },
  };
}

/** One that has left the policies may still have an order. */
function isKnown(kind: OrderedKind, name: string, { policies, policyOrders }: AdminDeps): boolean {
  if (policyOrders.find(kind, name) !== undefined) return true;
  const { policies: inForce } = policies();
  if (kind === "service") return name !== OWN_VMS && inForce.service(name) !== undefined;
  return [inForce.file, ...inForce.domains.values()].some(({ routes }) => routes.some((route) => orderNameOf(route) === name));
}

function noSuch(c: AdminContext, kind: OrderedKind, name: string): Response {
  const where = kind === "service" ? "/api/services" : "/api/policies/routes";
  return problem(c, 404, `no_${kind}`, `There is no ${kind} ${JSON.stringify(name)}. ${where} lists them`);
}

export function orderView({ kind, name, maintenance, drain, ...rest }: PolicyOrder, nowMs: number): z.output<typeof ORDER> {
  return {
    kind,
    name,
    maintenance: maintenance === null ? null : maintenanceView(maintenance),
    drain: drain === null
      ? null
      : { started: timeText(drain.startAtMs), over_seconds: drain.overMs / 1000, share: roundedShare(drainShare(drain, nowMs)) },
    since: timeText(rest.sinceAtMs),
    until: timeText(rest.untilAtMs),
    reason: rest.reason,
    by: rest.by,
  };
}

export function maintenanceView({ enabled, service, answer }: MaintenancePolicy): z.output<typeof MAINTENANCE> {
  return { enabled, service, status: answer.status, body: answer.body };
}

export function roundedShare(share: number): number {
  return Math.round(share * 10_000) / 10_000;
}
