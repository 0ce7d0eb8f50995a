/** How routes are written (contract, section 12). */
import { z } from "zod";
import { RE2JS } from "re2js";
import type { NamedMatcher, PathMatch, RateLimitPolicy, RedirectPolicy, RewritePolicy, RouteMatch } from "../table/policy.ts";
import {
  errorAnswers,
  fixedResponse,
  headerEdits,
  maintenance,
  redirectProblem,
  variableProblem,
} from "./policy-schema-answers.ts";
import { drain, timeouts } from "./policy-schema-services.ts";
import {
  cookieName,
  countKey,
  duration,
  fieldName,
  host,
  keyMatcher,
  keySource,
  mapping,
  matcher,
  method,
  part,
  pattern,
  routeId,
  serviceName,
  size,
  text,
  whole,
} from "./policy-values.ts";

const HOUR = 3_600_000;
const MOST_HOSTS = 10_000;

/** As requests' paths are compared: other than ASCII percent-encoded, unreserved characters not. null: it is none. */
export function readPath(written: string): string | null {
  if (!written.startsWith("/") || /[?#\\\s\p{Cc}]/u.test(written) || written.length > 2048) return null;
  let path: string;
  try {
    path = written.replaceAll(/[^\x21-\x7e]+/g, encodeURIComponent);
  } catch {
    return null; // Half a surrogate pair.
  }
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return null;
  path = path.replaceAll(/%[0-9A-Fa-f]{2}/g, (escape) => {
    const char = String.fromCharCode(parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(char) ? char : escape.toUpperCase();
  });
  return /(^|\/)\.\.?(\/|$)/.test(path) ? null : path;
}

function pathProblem(written: string): string | null {
  if (readPath(written) === null) return "must be a path such as /api, without dot segments, query or spaces";
  if (/\/\*+$/.test(written)) return `a prefix needs no *: write ${written.replace(/\/\*+$/, "") || "/"}`;
  return null;
}

/** What other proxies and frameworks fill in, as a segment of a path: `{id}`, `:id`, `*`. Here it would only match itself. */
const PLACEHOLDER = /\/(?:[^/]*\{[^/]*|:[^/]*|\*+|\.\*)(?=\/|$)/;

/** `kind`: what it is instead. */
function writtenPath(kind: "prefix" | "exact" | "edit"): z.ZodType<string, string> {
  return z.string().superRefine((written, context) => {
    const problem = pathProblem(written) ?? placeholderProblem(written, kind);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  }).meta({ pattern: "^/" });
}

function placeholderProblem(written: string, kind: "prefix" | "exact" | "edit"): string | null {
  const at = written.search(PLACEHOLDER);
  if (at < 0) return null;
  if (kind === "edit") return "has no placeholders and variables";
  return kind === "exact"
    ? "is one path and has no placeholders"
    : `is a prefix and has no placeholders: write ${written.slice(0, at) || "/"}`;
}

export const path: z.ZodType<PathMatch, unknown> = z.union([
  writtenPath("prefix"),
  mapping({
    exact: writtenPath("exact").describe("This path alone.").optional(),
    prefix: writtenPath("prefix").describe("This path and all below it; so is a text alone.").optional(),
  }),
]).transform((written, context): PathMatch => {
  const { exact, prefix } = typeof written === "string" ? { exact: undefined, prefix: written } : written;
  if (exact !== undefined && prefix === undefined) return { kind: "exact", value: readPath(exact)! };
  if (prefix !== undefined && exact === undefined) return { kind: "prefix", value: readPath(prefix)!.replace(/(?<=.)\/+$/, "") };
  context.addIssue({ code: "custom", message: "must be a path, { prefix: /path } or { exact: /path }" });
  return z.NEVER;
}).meta({ accepts: "path, or { exact: /path }" });

function matchers(name: z.ZodType<string, string>, lower: boolean): z.ZodType<readonly NamedMatcher[], unknown> {
  return z.record(z.string(), matcher).transform((written, context) => {
    for (const each of Object.keys(written)) {
      const read = name.safeParse(each);
      if (!read.success) context.addIssue({ code: "custom", message: read.error.issues[0]!.message, path: [each] });
    }
    return Object.entries(written).map(([name, matcher]) => ({ name: lower ? name.toLowerCase() : name, matcher }));
  }).meta({ accepts: "mapping of names to a text, { prefix: … }, { pattern: … } or { present: true }" });
}

const parameterName: z.ZodType<string, string> = z.string().min(1, "must be the name of a parameter").max(256);

const match = mapping({
  headers: matchers(fieldName, true).describe("Header fields.").optional(),
  cookies: matchers(cookieName, false).describe("Cookies.").optional(),
  query: matchers(parameterName, false).describe("Parameters of the query, decoded.").optional(),
  routeKey: keyMatcher.describe("Only requests with this sandbox key, or with one like that.").optional(),
}).transform(({ headers = [], cookies = [], query = [], routeKey }): Omit<RouteMatch, "path" | "methods"> => {
  const conditions = { headers, cookies, query };
  if (routeKey === undefined || routeKey.kind === "equal") return { ...conditions, routeKey: routeKey?.value ?? null };
  return { ...conditions, routeKey: null, routeKeyLike: routeKey };
});

const target = mapping({
  service: serviceName.describe("Name of a service, or `vms` for the VMs of the requested host."),
  weight: part(1_000_000).prefault(1).describe("Its share beside the others', in steps of 0.01 % of all."),
});

const prefix = writtenPath("edit").transform((written) => readPath(written)!.replace(/\/+$/, "")).meta({
  accepts: "path",
  pattern: "^/",
});

const queryPairs = z.record(z.string().min(1).max(256), text(8192)).transform((written, context) => {
  for (const [name, value] of Object.entries(written)) {
    const problem = variableProblem(value);
    if (problem !== null) context.addIssue({ code: "custom", message: problem, path: [name] });
  }
  return Object.entries(written);
}).meta({ accepts: "mapping of names to texts with variables" });

const queryEdits = mapping({
  set: queryPairs.describe("Takes the place of parameters of that name.").optional(),
  add: queryPairs.describe("Put beside parameters of that name.").optional(),
  remove: z.union([parameterName, z.array(parameterName).max(100)]).transform((written) => [written].flat())
    .meta({ accepts: "list of names" }).describe("Removed.").optional(),
}).transform(({ set = [], add = [], remove = [] }) => ({ set, add, remove }));

const rewrite = mapping({
  stripPrefix: prefix.describe("Taken off the path.").optional(),
  addPrefix: prefix.describe("Put before the path, after `stripPrefix`.").optional(),
  replacePrefix: prefix.describe("Takes the place of `stripPrefix`, or where there is none of the route's path.").optional(),
  pattern: pattern.describe("What it finds in the path gives way to `to`.").optional(),
  to: text(2048).describe("With groups of `pattern` as `$1`.").optional(),
  query: queryEdits.describe("Edits of the query.").optional(),
}).transform(({ stripPrefix = null, addPrefix = null, replacePrefix = null, pattern = null, to = null, query = null }, context) => {
  const complain = (message: string, key: string) => context.addIssue({ code: "custom", message, path: [key] });
  if (pattern !== null && to === null) complain("needs to", "pattern");
  if (to !== null && pattern === null) complain("needs a pattern", "to");
  if (addPrefix !== null && replacePrefix !== null) complain("addPrefix or replacePrefix, not both", "replacePrefix");
  const problem = pattern !== null && to !== null ? groupProblem(pattern, to) : null;
  if (problem !== null) complain(problem, "to");
  return { stripPrefix, addPrefix, replacePrefix, pattern, to, query } satisfies RewritePolicy;
});

/** Groups as `$1`, `${1}` or `${name}`; `$$` is a dollar. */
function groupProblem(pattern: string, to: string): string | null {
  const compiled = RE2JS.compile(pattern);
  const groups = compiled.groupCount();
  const names = Object.keys(compiled.namedGroups());
  for (const [whole, number, word] of to.matchAll(/\$(?:\$|(\d{1,2})|\{(\w+)\})/g)) {
    const group = number ?? word;
    if (group === undefined || names.includes(group)) continue;
    if (/^\d+$/.test(group) && Number(group) <= groups) continue;
    const named = names.length === 0 ? "" : `, named ${names.join(", ")}`;
    return `there is no group ${whole}: the pattern has ${groups === 1 ? "one" : groups}${named}`;
  }
  return null;
}

const REDIRECTS = [301, 302, 307, 308] as const;

const redirect = mapping({
  to: text(8192).describe("URL or path, with variables.").meta({ accepts: "URL or path with variables" }).optional(),
  scheme: z.enum(["http", "https"]).describe("Instead of the requested one.").optional(),
  host: host.refine((name) => !name.includes("*"), "must be one host name").meta({ accepts: "host name" }).describe(
    "Instead of the requested one.",
  ).optional(),
  status: z.literal([...REDIRECTS]).default(302).describe("301 and 308 are kept by browsers; 307 and 308 keep the method."),
}).transform(({ to = null, scheme = null, host = null, status }, context): RedirectPolicy => {
  const complain = (message: string, ...key: string[]) => context.addIssue({ code: "custom", message, path: key });
  if (to === null && scheme === null && host === null) complain("needs to, scheme or host");
  if (to !== null && (scheme !== null || host !== null)) complain("to, or scheme and host, not both", "to");
  const problem = to === null ? null : redirectProblem(to);
  if (problem !== null) complain(problem, "to");
  return { to, scheme, host, status };
});

const rateLimit = mapping({
  requests: whole(1, 1_000_000_000).describe("So many in each window."),
  window: duration(100, 24 * HOUR).prefault("1s").describe("How long a window is."),
  burst: whole(0, 1_000_000_000).default(0).describe("Beyond `requests`, saved up from windows that were not used."),
  key: countKey.prefault("client-ip").describe("Who is counted for himself; an IPv6 client with its /64."),
}).transform(({ requests, window, burst, key }): RateLimitPolicy => ({ requests, windowMs: window, burst, key }));

/** What may happen to a request, of whatever route. */
export const treatmentKeys = {
  service: serviceName.describe("Where it leads: a service, or `vms` for the VMs of the requested host.").optional(),
  split: z.array(target).min(1).max(100).describe("Where it leads, by shares.").optional(),
  splitKey: keySource.describe("What keeps a client on its side. Without it: chance.").optional(),
  redirect: redirect.describe("Answered with a redirect.").optional(),
  respond: fixedResponse(200).describe("Answered with this.").optional(),
  rewrite: rewrite.describe("Edits of the request's target.").optional(),
  headers: headerEdits.describe("Edits of header fields.").optional(),
  rateLimit: rateLimit.describe("Requests in a time; beyond it 429.").optional(),
  maxBodySize: size(0, Number.MAX_SAFE_INTEGER).describe(
    "Of request bodies; beyond it 413. 0 = no limit. Without it: as the settings say.",
  )
    .optional(),
  timeouts: timeouts.describe("Without one: as the service or the settings say.").optional(),
  maintenance: maintenance.describe("Answered instead.").optional(),
  drain: drain.describe("Out of use by and by.").optional(),
  errors: errorAnswers.describe("Answers instead of the proxy's own refusals.").optional(),
} as const;

const hosts = z.union([host, z.array(host).min(1).max(MOST_HOSTS)]).transform((written): readonly string[] => {
  const hosts = [...new Set([written].flat())];
  return hosts.includes("*") ? [] : hosts;
}).meta({ accepts: "list of host names and wildcards" });

const conditionKeys = {
  path: path.prefault("/").describe("Prefix by whole segments: `/api` is not `/apix`."),
  methods: z.union([method, z.array(method).min(1).max(50)]).transform((
    written,
  ): readonly string[] => [...new Set([written].flat())])
    .meta({ accepts: "list of methods" }).describe("Without it: any.").optional(),
  match: match.describe("What else has to fit, all of it.").optional(),
  priority: whole(-1_000_000, 1_000_000).default(0).describe("Higher first, then most specific, then first in the file."),
} as const;

const id = routeId.describe("Name in logs and the admin API. Without it: made of host and path.").optional();

export const routeSchema = mapping({
  id,
  hosts: hosts.describe("Without it: any host.").optional(),
  ...conditionKeys,
  ...treatmentKeys,
});

/** Below a domain: its host is said already. */
export const domainRouteSchema = mapping({ id, ...conditionKeys, ...treatmentKeys });

export const bareRouteSchema = mapping(treatmentKeys);
export type WrittenTreatment = z.output<typeof bareRouteSchema>;
export type WrittenRoute = z.output<typeof routeSchema> | z.output<typeof domainRouteSchema>;

export function matchOf({ path, methods = [], match }: WrittenRoute): RouteMatch {
  return { path, methods, ...match ?? { headers: [], cookies: [], query: [], routeKey: null } };
}
