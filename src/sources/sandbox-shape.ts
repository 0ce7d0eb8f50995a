/*  The sandbox router's own file, understood as it is: `routing` with a target per route key, and `server` with ports that are ours to set.
 *
 *  A rule becomes a route on any host for each of its path prefixes. Its priority is between 0 and 1: above the routes that say none, and
 *  so above the bare routes of the database, which know their host better; below every route that claims a priority; and each above the
 *  rules after it, for the first that fits is meant and not the most specific.
 */
import { endpointKey } from "../table/record.ts";
import { serviceKey } from "../table/policies.ts";
import { type PathMatch, PLAIN_SERVICE, type PolicyRoute, type ServicePolicy, type ServiceRecord } from "../table/policy.ts";
import type { PolicyProblems } from "./policy-problems.ts";
import { namedAddress, type RouteFrame, routeRecord, USUAL_TLS } from "./policy-records.ts";
import {
  bareRouteSchema,
  healthSchema,
  routingKeys,
  sandboxRuleSchema,
  serverSchema,
  type WrittenSandboxRule,
} from "./policy-schema.ts";
import { entriesOf, itemsOf } from "./policy-sets.ts";
import { type EndpointAddress, mapping } from "./policy-values.ts";
import { z } from "zod";

export interface SandboxShape {
  readonly services: readonly ServiceRecord[];
  /** Before all others and in order. */
  readonly rules: readonly PolicyRoute[];
  /** After all others; null: no default. */
  readonly fallback: PolicyRoute | null;
  readonly routeKeyHeader: string | null;
}

const EVERYTHING: PathMatch = { kind: "prefix", value: "/" };
const NO_CONDITION = { path: EVERYTHING, methods: [], headers: [], cookies: [], query: [], routeKey: null };
const routingSchema = mapping({ ...routingKeys, rules: z.unknown().optional() });
const PLAIN_TREATMENT = bareRouteSchema.parse({});
/** Its router asks targets for nothing that they need not have, such as a page at `/`, and its file cannot say what they have. */
const SANDBOX_SERVICE: ServicePolicy = { ...PLAIN_SERVICE, health: healthSchema.parse({ type: "tcp" }) };

export function readSandboxShape(routing: unknown, regionId: string, problems: PolicyProblems): SandboxShape {
  const none = { services: [], rules: [], fallback: null, routeKeyHeader: null };
  if (routing === undefined || routing === null) return none;
  const written = problems.read(routingSchema, withoutEmpty(routing), ["routing"]);
  const rules = itemsOf((routing as { rules?: unknown }).rules, ["routing", "rules"], problems)
    .map((rule, index) => problems.read(sandboxRuleSchema, withoutEmpty(rule), ["routing", "rules", index]));
  if (written === null) return none;
  const services = new Map<string, ServiceRecord>();
  const serviceOf = (target: EndpointAddress, name: string): string => {
    const address = `${target.secure} ${endpointKey("vm", target.address, target.port)}`;
    const service = services.get(address) ?? sandboxService(name, target, regionId);
    services.set(address, service);
    return service.name;
  };
  const routes = rules.flatMap((rule, index) => {
    if (rule === null) return [];
    const priority = (rules.length - index) / (rules.length + 1);
    return ruleRoutes(rule, index, priority, serviceOf(rule.targetService, `sandbox-${index + 1}`), problems);
  });
  noteUnreachable(rules, problems);
  const fallback = written.defaultTarget === undefined
    ? null
    : fallbackRoute(serviceOf(written.defaultTarget, "sandbox-default"), problems);
  return {
    services: [...services.values()],
    rules: routes,
    fallback,
    routeKeyHeader: written.routeKeyHeader?.toLowerCase() ?? null,
  };
}

/** A key with nothing behind it is as good as none to the sandbox router. */
function withoutEmpty(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== null));
}

function sandboxService(name: string, target: EndpointAddress, region: string): ServiceRecord {
  const { address, port, secure } = target;
  const key = serviceKey(endpointKey("vm", address, port), name);
  const endpoint = { ...namedAddress(target), key, kind: "vm" as const, port, region, service: name, weight: 1 };
  return { name, endpoints: [endpoint], policy: secure ? { ...SANDBOX_SERVICE, tls: USUAL_TLS } : SANDBOX_SERVICE };
}

function ruleRoutes(
  rule: WrittenSandboxRule,
  index: number,
  priority: number,
  service: string,
  problems: PolicyProblems,
): PolicyRoute[] {
  const headers = (rule.headerMatchers ?? []).map(([name, value]) => ({
    name: name.toLowerCase(),
    matcher: { kind: "equal" as const, value },
  }));
  const paths = rule.pathPrefixes.length === 0 ? [EVERYTHING] : rule.pathPrefixes;
  return paths.map((path, part) => {
    const id = `sandbox-rule-${index + 1}${paths.length === 1 ? "" : `-${part + 1}`}`;
    const match = { ...NO_CONDITION, path, headers, routeKey: rule.routeKey };
    const route = plainRoute({ id, origin: `routing.rules[${index}]`, hosts: [], match, priority, ownTarget: service }, problems);
    return { ...route, requestFields: { ...route.requestFields, set: rule.additionalHeaders ?? [] } };
  });
}

/** Of rules that match exactly the same, the second gets nothing. */
function noteUnreachable(rules: readonly (WrittenSandboxRule | null)[], problems: PolicyProblems): void {
  const first = new Map<string, number>();
  for (const [index, rule] of rules.entries()) {
    if (rule === null) continue;
    const headers = (rule.headerMatchers ?? []).map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort();
    const paths = rule.pathPrefixes.length === 0 ? [EVERYTHING] : rule.pathPrefixes;
    for (const { kind, value } of paths) {
      const what = JSON.stringify([rule.routeKey, kind, value, headers]);
      const other = first.get(what);
      if (other === undefined) first.set(what, index);
      else if (other !== index) {
        const below = `${rule.routeKey} at ${value} it matches exactly what routing.rules[${other}] matches, which comes first`;
        problems.note(["routing", "rules", index], `conflict: for ${below}`);
      }
    }
  }
}

function fallbackRoute(service: string, problems: PolicyProblems): PolicyRoute {
  return plainRoute(
    { id: "sandbox-default", origin: "routing.defaultTarget", hosts: [], match: NO_CONDITION, priority: 0, ownTarget: service },
    problems,
  );
}

function plainRoute(frame: RouteFrame, problems: PolicyProblems): PolicyRoute {
  return routeRecord(frame, PLAIN_TREATMENT, ["routing"], { full: (name) => name, all: [] }, problems);
}

const SETTINGS: Readonly<Record<string, string>> = { httpPort: "EDGEPROXY_HTTP_ADDR", metricsPort: "EDGEPROXY_ADMIN_ADDR" };

/** Addresses are settings of the process. */
export function noteServer(server: unknown, problems: PolicyProblems): void {
  if (server === undefined || server === null) return;
  const written = withoutEmpty(server);
  if (problems.read(serverSchema, written, ["server"]) === null) return;
  for (const [name, port] of entriesOf(written, ["server"], problems)) {
    const setting = SETTINGS[name];
    const hint = setting === undefined
      ? "gRPC has no port of its own"
      : `set ${setting}=${name === "metricsPort" ? "127.0.0.1" : ""}:${port}`;
    problems.note(["server", name], `ignored: ${hint}`);
  }
}
