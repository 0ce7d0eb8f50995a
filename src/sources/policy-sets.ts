/** The services and routes that stand together in one file or one domain's policy. */
import type { z } from "zod";
import { OWN_VMS, type PolicyRoute, type ServiceRecord } from "../table/policy.ts";
import type { PolicyProblems } from "./policy-problems.ts";
import { type PolicySurroundings, reference, routeRecord, type ServiceNames, serviceRecord } from "./policy-records.ts";
import { matchOf, type WrittenRoute } from "./policy-schema-routes.ts";
import { serviceSchema } from "./policy-schema.ts";
import type { WrittenService } from "./policy-schema-services.ts";
import { isServiceName, SERVICE_NAME } from "./policy-values.ts";
import type { ValuePath } from "./placed-value.ts";
import { noteConflicts, type RouteIds } from "./route-identity.ts";

/** Mappings and lists that may be missing; what is of another type is a problem. */
export function entriesOf(value: unknown, path: ValuePath, problems: PolicyProblems): [string, unknown][] {
  if (value === undefined || value === null) return [];
  if (typeof value === "object" && !Array.isArray(value)) return Object.entries(value);
  problems.add(path, "must be a mapping");
  return [];
}

export function itemsOf(value: unknown, path: ValuePath, problems: PolicyProblems): unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  problems.add(path, "must be a list");
  return [];
}

export function readServices(
  written: readonly [string, unknown][],
  fullName: (name: string) => string,
  names: ServiceNames,
  around: PolicySurroundings,
  problems: PolicyProblems,
): ServiceRecord[] {
  const services: ServiceRecord[] = [];
  for (const [name, value] of written) {
    const path = ["services", name];
    if (name === OWN_VMS) problems.add(path, `the name ${OWN_VMS} is taken: it means the VMs of the requested host`);
    else if (!isServiceName(name)) problems.add(path, `must be the name of a service: ${SERVICE_NAME}`);
    const service = problems.read(serviceSchema, value, path);
    if (service === null) continue;
    noteIdle(value, service, path, problems);
    services.push(serviceRecord(fullName(name), service, path, around, names, problems));
  }
  return services;
}

/** What has been written and changes nothing, so that nobody waits for its effect. */
function noteIdle(value: unknown, { balance, endpoints }: WrittenService, path: ValuePath, problems: PolicyProblems): void {
  if (balance !== "consistent-hash" && partAt(value, "hashKey") !== undefined) {
    problems.note([...path, "hashKey"], "has no effect: only balance: consistent-hash goes by it");
  }
  const weights = new Set(endpoints.map(({ weight }) => weight).filter((weight) => weight > 0));
  if (weights.size === 0 && endpoints.length > 0) {
    problems.note([...path, "endpoints"], "all have weight 0: nobody takes requests, but from clients that stick to him");
  }
  if (balance === "round-robin" && weights.size > 1) {
    problems.note([...path, "balance"], "does not heed weights, but for 0: weighted does, in turn, too");
  }
}

export interface RouteSetting {
  readonly schema: z.ZodType<WrittenRoute>;
  /** Of routes that name none. */
  readonly hosts: readonly string[];
  readonly ownTarget: string | null;
  /** Before the place's name. */
  readonly origin: string;
  readonly names: ServiceNames;
  /** Of others. */
  readonly ids: RouteIds;
}

/** Also those that are no good beside others that are: problems tell. */
export function readRoutes(written: readonly unknown[], setting: RouteSetting, problems: PolicyProblems): PolicyRoute[] {
  const { schema, ids, names } = setting;
  const read = written.flatMap((value, index) => {
    const path = ["routes", index];
    const route = problems.read(schema, value, path);
    if (route !== null) return [{ route, path, index }];
    followReferences(value, path, names, problems);
    return [];
  });
  for (const { route, path } of read) {
    if (route.id !== undefined && !ids.take(route.id)) {
      problems.add([...path, "id"], `another route has the id ${JSON.stringify(route.id)}`);
    }
  }
  const records = read.map(({ route, path, index }) => {
    const hosts = "hosts" in route && route.hosts !== undefined ? route.hosts : setting.hosts;
    const match = matchOf(route);
    const id = route.id ?? ids.make(hosts, match);
    const origin = `${setting.origin}routes[${index}]`;
    const frame = { id, origin, hosts, match, priority: route.priority, ownTarget: setting.ownTarget };
    return { route: routeRecord(frame, route, path, names, problems), path };
  });
  noteConflicts(records, problems);
  return records.map(({ route }) => route);
}

/** Of a route that is wrong elsewhere: people want to know everything at once. */
function followReferences(route: unknown, path: ValuePath, names: ServiceNames, problems: PolicyProblems): void {
  const look = (value: unknown, ...at: ValuePath) => {
    const name = partAt(value, "service");
    if (typeof name === "string" && isServiceName(name)) reference(name, [...path, ...at, "service"], names, problems);
  };
  look(route);
  look(partAt(route, "maintenance"), "maintenance");
  const split = partAt(route, "split");
  if (Array.isArray(split)) { for (const [index, target] of split.entries()) look(target, "split", index); }
}

function partAt(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}
