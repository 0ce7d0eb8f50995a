/** The single values of policies: how each is written, and what it becomes. A problem says what the value must be. */
import { isIP } from "node:net";
import { RE2JS } from "re2js";
import { z } from "zod";
import { normaliseDomain } from "../table/host-name.ts";
import type { KeySource, Matcher, StatusRange } from "../table/policy.ts";
import { patternSteps } from "./pattern-size.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "./amounts.ts";

/** What reference tables and editors tell of a value, beside its type. */
export interface ValueNotes {
  readonly description: string;
  /** As one would write it. */
  readonly default?: unknown;
}

type Verdict<Value> = { readonly value: Value } | { readonly problem: string };

/**
 * A text that means something else; `accepts` for the reference, `like` what is told of what is no text. `shape`: editors check by it while
 * one writes; it must take all that `read` takes, and need not tell all that is wrong.
 */
function meaning<Value>(
  accepts: string,
  read: (text: string) => Verdict<Value>,
  { like, shape }: { readonly like?: string; readonly shape?: RegExp } = {},
): z.ZodType<Value, string> {
  return z.string(like === undefined ? {} : { error: (issue) => issue.input === undefined ? undefined : like }).transform((
    text,
    context,
  ) => conclude(read(text), context)).meta({ accepts, ...shape && { pattern: shape.source } });
}

function conclude<Value>(verdict: Verdict<Value>, context: z.RefinementCtx): Value {
  if ("value" in verdict) return verdict.value;
  context.addIssue({ code: "custom", message: verdict.problem });
  return z.NEVER;
}

/** A mapping without other keys. The message of that problem is the list of known ones, see policy-problems. */
export function mapping<Shape extends z.core.$ZodLooseShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  const keys = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === "unrecognized_keys") return keys.join(" ");
      if (issue.code !== "invalid_type" || issue.input === undefined || keys.length === 0) return undefined;
      return `must be a mapping with ${keys.length === 1 ? "the key" : "keys such as"} ${keys.slice(0, 3).join(", ")}`;
    },
  });
}

const DURATION_SHAPE = /^(\d+(\.\d+)?(ms|s|m|h))+$/;
const DURATION = "must be a duration such as 250ms, 10s or 1m30s";

export function duration(leastMs: number, mostMs: number): z.ZodType<number, string> {
  const range = `${formatDuration(leastMs)} to ${formatDuration(mostMs)}`;
  return meaning(`duration, ${range}`, (text) => {
    const ms = parseDuration(text);
    if (ms === null) return { problem: DURATION };
    return ms >= leastMs && ms <= mostMs ? { value: ms } : { problem: `must be a duration from ${range}` };
  }, { like: DURATION, shape: DURATION_SHAPE });
}

/** A plain number is bytes. */
export function size(least: number, most: number): z.ZodType<number, string | number> {
  const range = `${formatSize(least)} to ${formatSize(most)}`;
  return z.union([z.string(), z.number()]).transform((written, context) => {
    const bytes = parseSize(String(written));
    if (bytes === null) return conclude<number>({ problem: "must be a size such as 512, 32KiB or 10MB" }, context);
    return conclude(bytes >= least && bytes <= most ? { value: bytes } : { problem: `must be a size from ${range}` }, context);
  }).meta({ accepts: most === Number.MAX_SAFE_INTEGER ? "size" : `size, ${range}` });
}

export function whole(least: number, most: number): z.ZodNumber {
  return z.int().min(least).max(most).meta({ accepts: `whole number, ${least} to ${most}` });
}

/** `0.2` or `20%`. */
export function fraction(): z.ZodType<number, number | string> {
  const percent = z.string().regex(/^(100|\d{1,2}(\.\d{1,6})?) ?%$/, "must be a share such as 0.2 or 20%");
  return z.union([z.number().min(0).max(1), percent]).transform((written) =>
    typeof written === "number" ? written : parseFloat(written) / 100
  ).meta({ accepts: "share, 0 to 1 or 0% to 100%" });
}

/** A part beside others; `90%` is 90. */
export function part(most: number): z.ZodType<number, number | string> {
  const percent = z.string().regex(/^\d{1,4}(\.\d{1,6})? ?%$/, "must be a number, or such as 90%");
  return z.union([z.number().min(0).max(most), percent]).transform((written) =>
    typeof written === "number" ? written : parseFloat(written)
  ).meta({ accepts: "number, or such as 90%" });
}

export function text(most: number): z.ZodString {
  return z.string().max(most).meta({ accepts: "text" });
}

/** `200-399`, `200,204`, 200, or a list of such. */
export const statusRanges: z.ZodType<readonly StatusRange[], unknown> = z.union([
  z.string(),
  z.int(),
  z.array(z.union([z.string(), z.int()])),
])
  .transform((written, context) => conclude(readStatuses(written), context))
  .meta({ accepts: "status codes: 200, 200-399, 200,204" });

function readStatuses(written: string | number | readonly (string | number)[]): Verdict<readonly StatusRange[]> {
  const parts = (Array.isArray(written) ? written : [written]).flatMap((each) => String(each).split(",")).map((each) =>
    each.trim()
  );
  const ranges = parts.map(readStatusRange);
  const bad = ranges.indexOf(null);
  if (bad < 0) return { value: ranges as StatusRange[] };
  return { problem: `must be status codes from 100 to 599 such as 200, 200-399 or 200,204 (not ${JSON.stringify(parts[bad])})` };
}

export function readStatusRange(text: string): StatusRange | null {
  const match = /^([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?$/.exec(text);
  if (match === null) return null;
  const from = Number(match[1]);
  const to = Number(match[2] ?? from);
  return from <= to ? { from, to } : null;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;

export const fieldName: z.ZodType<string, string> = meaning(
  "name of a header field",
  (text) => TOKEN.test(text) ? { value: text } : { problem: "must be the name of a header field: letters, digits, -" },
  { shape: TOKEN },
);

export const cookieName: z.ZodType<string, string> = meaning(
  "name of a cookie",
  (text) => TOKEN.test(text) ? { value: text } : { problem: "must be the name of a cookie: letters, digits, -, _" },
  { shape: TOKEN },
);

export const method: z.ZodType<string, string> = meaning("method", (text) => {
  if (!TOKEN.test(text)) return { problem: "must be a method such as GET" };
  return text === text.toUpperCase() ? { value: text } : { problem: `methods are case-sensitive: write ${text.toUpperCase()}` };
}, { shape: /^[^a-z\s]+$/ });

export const keySource: z.ZodType<KeySource, string> = meaning<KeySource>(
  "client-ip, header:NAME, cookie:NAME, path, route-key",
  (text) => {
    if (text === "client-ip" || text === "path" || text === "route-key") return { value: { kind: text } };
    const [, kind, name = ""] = /^(header|cookie):(.*)$/.exec(text) ?? [];
    if (kind === "header" && TOKEN.test(name)) return { value: { kind, name: name.toLowerCase() } };
    if (kind === "cookie" && TOKEN.test(name)) return { value: { kind, name } };
    return { problem: "must be client-ip, header:NAME, cookie:NAME, path or route-key" };
  },
  { shape: /^(client-ip|path|route-key|(header|cookie):.+)$/ },
);

/** null: `route`, one count for all. */
export const countKey: z.ZodType<KeySource | null, string> = z.string().transform((text, context) => {
  if (text === "route") return null;
  const read = keySource.safeParse(text);
  if (read.success) return read.data;
  return conclude<KeySource | null>({ problem: "must be client-ip, header:NAME, cookie:NAME, path, route-key or route" }, context);
}).meta({
  accepts: "client-ip, header:NAME, cookie:NAME, path, route-key, route",
  pattern: "^(client-ip|path|route-key|route|(header|cookie):.+)$",
});

/** `*`: any. */
export const host: z.ZodType<string, string> = meaning("host name, *.example.com, or * for any", (text) => {
  if (text === "*") return { value: text };
  if (text === "_") return { problem: "is no host: for any host leave hosts out" }; // As in nginx, where it is none either.
  const normalised = normaliseDomain(text);
  if (normalised !== null) return { value: normalised };
  return { problem: `must be a host name such as app.example.com, *.example.com or *${hostHint(text)}` };
});

function hostHint(text: string): string {
  if (text.includes("/")) return " (without scheme and path)";
  if (/:\d+$/.test(text)) return " (without a port)";
  const [, below] = /^(?:\*\*)?\.([a-z0-9-]+(?:\.[a-z0-9-]+)+)$/i.exec(text) ?? [];
  return below === undefined ? "" : ` (write *.${below}, which stands for any depth, and ${below} beside it if that is meant, too)`;
}

const SERVICE_SHAPE = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/;

export const serviceName: z.ZodType<string, string> = meaning(
  "name of a service",
  (text) => isServiceName(text) ? { value: text } : { problem: `must be the name of a service: ${SERVICE_NAME}` },
  { shape: SERVICE_SHAPE },
);

export const SERVICE_NAME = "1 to 63 letters, digits, - and _";

export function isServiceName(text: string): boolean {
  return SERVICE_SHAPE.test(text);
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const region: z.ZodType<string, string> = meaning("UUID of a region", (text) => {
  const id = text.toLowerCase();
  return UUID.test(id) ? { value: id } : { problem: "must be the UUID of a region" };
}, { shape: /^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/ });

/** Browsers and curl take `..` out of paths of the admin API, however it is escaped: the order would be one to something else. */
const ROUTE_ID = /^(?!\.{1,2}$)[A-Za-z0-9._:\/*@+-]{1,128}$/;

export const routeId: z.ZodType<string, string> = meaning(
  "letters, digits, . _ : / * @ + -",
  (text) =>
    ROUTE_ID.test(text) ? { value: text } : { problem: "must be 1 to 128 letters, digits and . _ : / * @ + -, but not . or .." },
  { shape: ROUTE_ID },
);

const ROUTE_KEY = /^[A-Za-z0-9._-]{1,128}$/;

/** What can stand in a header, a cookie and a host name's label alike. */
export const routeKey: z.ZodType<string, string> = meaning(
  "letters, digits, . _ -",
  (text) => ROUTE_KEY.test(text) ? { value: text } : { problem: "must be 1 to 128 letters, digits and . _ -" },
  { shape: ROUTE_KEY },
);

/** `address`: an IP literal without brackets, or a host name that has yet to be resolved. */
export interface EndpointAddress {
  readonly address: string;
  readonly port: number;
  readonly secure: boolean;
}

export const endpointUrl: z.ZodType<EndpointAddress, string> = meaning("http:// or https://HOST:PORT", readEndpointUrl, {
  shape: /^[Hh][Tt][Tt][Pp][Ss]?:\/\/[^/?#@]+\/?$/,
});

function readEndpointUrl(text: string): Verdict<EndpointAddress> {
  const match = /^([a-z][a-z0-9+.-]*):\/\/(?:([^/?#@]*)@)?(\[[^\]/?#]*\]|[^/?#:]*)(?::(\d{0,5}))?(\/?)$/i.exec(text);
  const like = "must be a URL such as http://10.0.0.5:8080";
  if (match === null) return { problem: /^[a-z]+:\/\/[^/]+\/./i.test(text) ? `${like}, without a path` : like };
  const scheme = match[1]!.toLowerCase();
  if (match[2] !== undefined) return { problem: `${like}, without a user` };
  const secure = scheme === "https";
  if (scheme !== "http" && !secure) return { problem: like };
  const name = match[3]!;
  const host = normaliseDomain(name);
  const port = match[4] === undefined || match[4] === "" ? secure ? 443 : 80 : Number(match[4]);
  if (host === null || host.startsWith("*.") || looksNumeric(host)) {
    return { problem: `${like} (${JSON.stringify(name)} is no host)` };
  }
  if (port < 1 || port > 65_535) return { problem: `${like} (ports are 1 to 65535)` };
  return { value: { address: host.startsWith("[") ? host.slice(1, -1) : host, port, secure } };
}

/** `10.0.0.300` or `127.1`: resolvers would take it for some address. */
function looksNumeric(host: string): boolean {
  return isIP(host) === 0 && !host.startsWith("[") && /(^|\.)(\d+|0x[0-9a-f]*)$/.test(host);
}

const MOST_PATTERN = 1000;
/** Programs grow with counted repetitions, and every request pays for them. */
const MOST_PROGRAM = 5000;
const TOO_LARGE = "must be a simpler pattern: its repetitions make it too large";

export const pattern: z.ZodType<string, string> = meaning("pattern in RE2's syntax", (text) => {
  const problem = patternProblem(text);
  return problem === null ? { value: text } : { problem };
});

export function patternProblem(text: string): string | null {
  if (text.length > MOST_PATTERN) return `must be a pattern of at most ${MOST_PATTERN} characters`;
  if (patternSteps(text) > 2 * MOST_PROGRAM) return TOO_LARGE; // compiling it would say so, too, at what it costs
  try {
    return RE2JS.compile(text).programSize() > MOST_PROGRAM ? TOO_LARGE : null;
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : String(error);
    return `must be a pattern in RE2's syntax (${reason})`;
  }
}

const MATCHER_KEYS = ["exact", "prefix", "pattern", "present"] as const;

const matcherForms = mapping({
  exact: z.string().describe("Equal to this; so is a text alone.").optional(),
  prefix: z.string().min(1).describe("Begins with this.").optional(),
  pattern: pattern.describe("Matches this, anywhere unless anchored with ^ and $.").optional(),
  present: z.literal(true).describe("Is there, whatever it holds.").optional(),
});

function readMatcher(written: string | z.output<typeof matcherForms>, context: z.RefinementCtx): Matcher {
  if (typeof written === "string") return { kind: "equal", value: written };
  const said = MATCHER_KEYS.filter((key) => written[key] !== undefined);
  if (said.length !== 1) {
    return conclude<Matcher>({ problem: "must be a text, or have one of exact, prefix, pattern and present" }, context);
  }
  if (written.prefix !== undefined) return { kind: "prefix", value: written.prefix };
  if (written.pattern !== undefined) return { kind: "pattern", pattern: written.pattern };
  return written.exact !== undefined ? { kind: "equal", value: written.exact } : { kind: "present" };
}

const MATCHER = "text, { prefix: … }, { pattern: … } or { present: true }";

/** A text to be equal to, or one of `{ prefix }`, `{ pattern }`, `{ present: true }`. */
export const matcher: z.ZodType<Matcher, unknown> = z.union([z.string(), matcherForms]).transform(readMatcher).meta({
  accepts: MATCHER,
});

export const keyMatcher: z.ZodType<Matcher, unknown> = z.union([routeKey, matcherForms]).transform(readMatcher).meta({
  accepts: MATCHER,
});

/** RFC 3339. */
export const moment: z.ZodType<number, string> = meaning("moment such as 2027-01-31T18:00:00Z", (text) => {
  const atMs = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text)
    ? Date.parse(text.replace(" ", "T"))
    : NaN;
  return Number.isNaN(atMs) ? { problem: "must be a moment such as 2027-01-31T18:00:00Z" } : { value: atMs };
});
