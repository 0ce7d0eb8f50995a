/*  The routes file (contract, section 12): a YAML or JSON text becomes the policies it says, or all that is wrong with it.
 *
 *  text -> plain value with places (yaml-value) -> each service and route by its schema (policy-schema) -> records, references followed
 *  (policy-records). A bad one does not keep the others from being looked at: people want to know everything at once.
 */
import { DEFAULT_SANDBOX, type FilePolicies, OWN_VMS, type SandboxPolicy } from "../table/policy.ts";
import { placeName, type PolicyProblem, PolicyProblems } from "./policy-problems.ts";
import type { PolicySurroundings, ServiceNames } from "./policy-records.ts";
import { RouteIds } from "./route-identity.ts";
import { routeSchema, sandboxSchema, schemaHint } from "./policy-schema.ts";
import { entriesOf, itemsOf, readRoutes, readServices } from "./policy-sets.ts";
import { noteServer, readSandboxShape } from "./sandbox-shape.ts";
import { mapping } from "./policy-values.ts";
import type { PlacedValue, TextPlace } from "./placed-value.ts";
import { parseYaml } from "./yaml-value.ts";
import { z } from "zod";

export interface FileContext extends PolicySurroundings {
  /** As problems name it. */
  readonly file: string;
}

/** Each line with its place: `routes.yaml:12:5: routes[2].split: …`. Warnings never stop anything. */
export type ParsedFile =
  | { readonly policies: FilePolicies; readonly warnings: readonly string[] }
  | { readonly problems: readonly string[] };

const MOST_LINES = 100;

export function parseRoutesFile(text: string, context: FileContext): ParsedFile {
  const yaml = parseYaml(text);
  if ("problems" in yaml) {
    return { problems: yaml.problems.map((problem) => lineOf(context.file, problem, "", problem.message)) };
  }
  const problems = new PolicyProblems();
  const policies = readFile(yaml.value, context, problems);
  if (problems.problems.length > 0) return { problems: linesOf(problems.problems, yaml, context.file) };
  return { policies, warnings: linesOf(problems.notes, yaml, context.file) };
}

const anything = z.unknown().optional();
const topSchema = mapping({
  $schema: schemaHint,
  services: anything,
  routes: anything,
  sandbox: anything,
  routing: anything,
  server: anything,
});

function readFile(value: unknown, context: FileContext, problems: PolicyProblems): FilePolicies {
  const nothing: FilePolicies = { services: [], routes: [], sandbox: DEFAULT_SANDBOX };
  // Editors and shells empty a file before they write it: that must not take all routes away.
  if (value === null) {
    problems.add([], "is empty; for no routes at all, write {}");
    return nothing;
  }
  if (typeof value !== "object" || Array.isArray(value)) {
    problems.add([], "must be a mapping with services and routes");
    return nothing;
  }
  problems.read(topSchema, withoutExtensions(value), []);
  const top = value as Record<string, unknown>;
  const shape = readSandboxShape(top["routing"], context.regionId, problems);
  noteServer(top["server"], problems);
  const written = entriesOf(top["services"], ["services"], problems);
  const names = fileNames(written.map(([name]) => name), shape.services.map(({ name }) => name), problems);
  const services = readServices(written, (name) => name, names, context, problems);
  const ids = new RouteIds();
  for (const { id } of [...shape.rules, ...shape.fallback === null ? [] : [shape.fallback]]) ids.take(id);
  const setting = { schema: routeSchema, hosts: [], ownTarget: null, origin: "", names, ids };
  const routes = readRoutes(itemsOf(top["routes"], ["routes"], problems), setting, problems);
  return {
    services: [...services, ...shape.services],
    routes: [...shape.rules, ...routes, ...shape.fallback === null ? [] : [shape.fallback]],
    sandbox: sandboxOf(top["sandbox"], shape.routeKeyHeader, problems),
  };
}

/** `x-…`: anything, for anchors that other places use. */
function withoutExtensions(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith("x-")));
}

function fileNames(written: readonly string[], sandbox: readonly string[], problems: PolicyProblems): ServiceNames {
  const own = new Set(written);
  for (const name of sandbox) {
    if (own.has(name)) problems.add(["services", name], `the name ${name} is taken by the targets of routing`);
  }
  const known = new Set([...written, ...sandbox]);
  return { full: (name) => known.has(name) ? name : null, all: [...known, OWN_VMS] };
}

function sandboxOf(written: unknown, routeKeyHeader: string | null, problems: PolicyProblems): SandboxPolicy {
  const sandbox = problems.read(sandboxSchema, written ?? {}, ["sandbox"]) ?? DEFAULT_SANDBOX;
  if (routeKeyHeader === null) return sandbox;
  const said = (written as { routeKeyHeader?: unknown } | null | undefined)?.routeKeyHeader;
  if (said !== undefined && sandbox.routeKeyHeader !== routeKeyHeader) {
    problems.add(["routing", "routeKeyHeader"], `differs from sandbox.routeKeyHeader (${sandbox.routeKeyHeader})`);
  }
  return { ...sandbox, routeKeyHeader };
}

/** In the order of the text. */
function linesOf(problems: readonly PolicyProblem[], written: PlacedValue, file: string): string[] {
  const placed = problems.map(({ path, message }) => ({ path, message, place: written.placeOf(path) }));
  placed.sort((a, b) => a.place.line - b.place.line || a.place.column - b.place.column);
  const lines = [...new Set(placed.map(({ path, message, place }) => lineOf(file, place, placeName(path), message)))];
  return lines.length <= MOST_LINES ? lines : [...lines.slice(0, MOST_LINES), `${file}: and ${lines.length - MOST_LINES} more`];
}

function lineOf(file: string, { line, column }: TextPlace, place: string, message: string): string {
  return `${file}:${line}:${column}: ${place === "" ? "" : `${place}: `}${message}`;
}
