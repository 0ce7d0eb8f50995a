/*  The routes file (contract, section 12): a YAML or JSON text becomes the policies it says, or all that is wrong with it.
 *
 *  text -> plain value with places (yaml-value) -> each service and route by its schema (policy-schema) -> records, references followed
 *  (policy-records). A bad one does not keep the others from being looked at: people want to know everything at once.
 */
import { DEFAULT_SANDBOX, type FilePolicies, OWN_VMS, type SandboxPolicy } from "../table/policy.ts";
import { placeName, type PolicyProblem, PolicyProblems } from "./policy-problems.ts";
import { type PolicySurroundings, RouteIds, type ServiceNames } from "./policy-records.ts";
import { routeSchema, sandboxSchema } from "./policy-schema.ts";
import { entriesOf, itemsOf, readRoutes, readServices } from "./policy-sets.ts";
import { noteServer, readSandboxShape } from "./sandbox-shape.ts";
import { mapping } from "./policy-values.ts";
import { parseYaml, type TextPlace, type YamlValue } from "./yaml-value.ts";
import { z } from "zod";

export interface ReadingContext extends PolicySurroundings {
  /** As problems name it. */
  readonly file: string;
}

export interface Finding extends TextPlace {
  /** `routes[2].split`; empty: the text as such. */
  readonly place: string;
  readonly message: string;
  /** The whole line for people: `routes.yaml:12:5: routes[2].split: …`. */
  readonly text: string;
}

/** `notes`: odd, but no reason to refuse the file. */
export type RoutesFileReading =
  | { readonly policies: FilePolicies; readonly notes: readonly Finding[] }
  | { readonly problems: readonly Finding[]; readonly notes: readonly Finding[] };

const MOST_FINDINGS = 100;

export function parseRoutesFile(text: string, context: ReadingContext): RoutesFileReading {
  const yaml = parseYaml(text);
  if ("problems" in yaml) {
    return { problems: yaml.problems.map((problem) => finding(context.file, "", problem.message, problem)), notes: [] };
  }
  const problems = new PolicyProblems();
  const policies = readFile(yaml.value, context, problems);
  const notes = findings(problems.notes, yaml, context.file);
  if (problems.problems.length > 0) return { problems: findings(problems.problems, yaml, context.file), notes };
  return { policies, notes };
}

const anything = z.unknown().optional();
const topSchema = mapping({ services: anything, routes: anything, sandbox: anything, routing: anything, server: anything });

function readFile(value: unknown, context: ReadingContext, problems: PolicyProblems): FilePolicies {
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
  const shape = readSandboxShape(top["routing"], context.hereRegion, problems);
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
function findings(problems: readonly PolicyProblem[], yaml: YamlValue, file: string): Finding[] {
  const all = problems.map(({ path, message }) => finding(file, placeName(path), message, yaml.placeOf(path)));
  all.sort((a, b) => a.line - b.line || a.column - b.column);
  const different = all.filter(({ text }, index) => text !== all[index - 1]?.text);
  if (different.length <= MOST_FINDINGS) return different;
  const last = different[MOST_FINDINGS]!;
  return [...different.slice(0, MOST_FINDINGS), finding(file, "", `and ${different.length - MOST_FINDINGS} more`, last)];
}

function finding(file: string, place: string, message: string, { line, column }: TextPlace): Finding {
  return { line, column, place, message, text: `${file}:${line}:${column}: ${place === "" ? "" : `${place}: `}${message}` };
}
