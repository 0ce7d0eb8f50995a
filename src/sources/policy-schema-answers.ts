/** How header fields, answers of the proxy's own and what stands in for its refusals are written. */
import { z } from "zod";
import { ERROR_CODES } from "../observation/proxy-error.ts";
import { isHostField, normaliseHost, whyUneditable } from "../table/field-rules.ts";
import type { ErrorAnswer, FieldEdits, FixedResponse, MaintenancePolicy } from "../table/policy.ts";
import { foreignVariable } from "./foreign-variables.ts";
import { nearestOf } from "./nearest-name.ts";
import { duration, fieldName, mapping, serviceName, text, whole } from "./policy-values.ts";

const HOUR = 3_600_000;
export const MOST_BODY = 1_048_576;
const MOST_VALUE = 8192;

type Pairs = readonly (readonly [name: string, value: string])[];
type Written = Record<string, string | string[]>;
type Side = "request" | "response";

/** As forwarding/variables fills them in. */
export const VARIABLES = ["client_ip", "host", "method", "path", "query", "scheme", "request_id", "route", "service", "region"];
const FIELD_VALUE = /^[\t\P{Cc}]*$/u;

/** Of a text with variables; braces around anything else are braces. */
export function variableProblem(text: string): string | null {
  for (const [whole, name = "", of] of text.matchAll(/\{([A-Za-z][A-Za-z0-9_-]*)(?::([^{}]*))?\}/g)) {
    const known = of === undefined ? VARIABLES.includes(name) : name === "header" || name === "cookie";
    if (known && of === undefined) continue;
    if (known && fieldName.safeParse(of).success) continue;
    if (known) return `${whole} names no ${name}`;
    const nearest = nearestOf(name, VARIABLES);
    const hint = nearest === null ? `known are ${VARIABLES.join(", ")}, header:NAME and cookie:NAME` : `did you mean {${nearest}}?`;
    return `there is no variable ${whole}: ${hint}`;
  }
  return null;
}

function valueProblem(value: string): string | null {
  if (!FIELD_VALUE.test(value)) return "must be one line without control characters";
  return foreignVariable(value) ?? variableProblem(value);
}

const ONE_HOST = "must be one host such as shop.internal or shop.internal:8080, without variables";

/** `host`: whether the Host field may be among them. A list of values: that field several times. */
function fields(side: Side, description: string, host = false): z.ZodType<Pairs, Written> {
  const value = text(MOST_VALUE);
  return z.record(z.string(), z.union([value, z.array(value)])).transform((written, context): Pairs => {
    const pairs = Object.entries(written).flatMap(([name, values]) => [values].flat().map((value) => [name, value] as const));
    const hosts = pairs.filter(([name]) => host && isHostField(side, name));
    for (const [name, value] of pairs) {
      const problem = hosts.some(([each]) => each === name) ? null : whyUneditable(side, name) ?? valueProblem(value);
      if (problem !== null) context.addIssue({ code: "custom", message: problem, path: [name] });
    }
    const bad = hosts.find(([, value], index) => index > 0 || normaliseHost(value) === null);
    if (bad !== undefined) context.addIssue({ code: "custom", message: ONE_HOST, path: [bad[0]] });
    return pairs;
  }).meta({ description, accepts: "mapping of names to texts with variables" });
}

function removals(side: Side): z.ZodType<readonly string[], unknown> {
  return z.union([fieldName, z.array(fieldName).max(100)]).transform((written, context) => {
    const names = [written].flat();
    for (const [index, name] of names.entries()) {
      const problem = whyUneditable(side, name);
      const path = Array.isArray(written) ? [index] : [];
      if (problem !== null) context.addIssue({ code: "custom", message: problem, path });
    }
    return names.map((name) => name.toLowerCase());
  }).meta({ description: "Removed whatever they hold.", accepts: "list of header names" });
}

const NO_EDITS: FieldEdits = { set: [], add: [], remove: [] };

function edits(side: Side): z.ZodType<FieldEdits, unknown> {
  return mapping({
    set: fields(side, "Takes the place of fields of that name.", true).optional(),
    add: fields(side, "Put beside fields of that name.").optional(),
    remove: removals(side).optional(),
  }).transform(({ set = [], add = [], remove = [] }) => ({ set, add, remove })).meta({ description: `Of the ${side}.` });
}

/** What browsers are asked for by `preset: security`; own edits of the same field win. */
const SECURITY_PRESET: Pairs = [
  ["Strict-Transport-Security", "max-age=31536000"],
  ["X-Content-Type-Options", "nosniff"],
  ["X-Frame-Options", "SAMEORIGIN"],
  ["Referrer-Policy", "strict-origin-when-cross-origin"],
  ["Cross-Origin-Opener-Policy", "same-origin"],
];

export const headerEdits = mapping({
  request: edits("request").optional(),
  response: edits("response").optional(),
  preset: z.enum(["security"]).meta({ description: "Response headers that ask browsers for more care." }).optional(),
}).transform(({ request = NO_EDITS, response = NO_EDITS, preset }) => ({
  request,
  response: preset === undefined ? response : withPreset(response, SECURITY_PRESET),
}));

function withPreset(edits: FieldEdits, preset: Pairs): FieldEdits {
  const own = new Set([...edits.set, ...edits.add].map(([name]) => name.toLowerCase()).concat(edits.remove));
  return { ...edits, set: [...preset.filter(([name]) => !own.has(name.toLowerCase())), ...edits.set] };
}

/** The request fields that a sandbox rule adds. Its router takes numbers and `true` for texts. */
export const requestFieldsSet: z.ZodType<Pairs, unknown> = z.record(z.string(), z.union([text(MOST_VALUE), z.int(), z.boolean()]))
  .transform((written): Written => Object.fromEntries(Object.entries(written).map(([name, value]) => [name, String(value)])))
  .pipe(fields("request", "Set on requests of that key."))
  .meta({ accepts: "mapping of names to texts with variables" });

const body = z.string().max(MOST_BODY).meta({ accepts: "text with variables" });

export function fixedResponse(status: number): z.ZodType<FixedResponse, unknown> {
  return mapping({
    status: whole(200, 599).default(status).describe("Status of the answer."),
    body: body.default("").describe("Body of the answer."),
    headers: fields("response", "Header fields of the answer.").optional(),
  }).transform(({ status, body, headers = [] }, context) => {
    if ((status === 204 || status === 304) && body !== "") {
      context.addIssue({ code: "custom", message: `an answer with status ${status} has no body`, path: ["body"] });
    }
    return { status, body, headers };
  });
}

/** Without `body` and `html`: the proxy's own page for `maintenance`. */
export const maintenance: z.ZodType<MaintenancePolicy, unknown> = mapping({
  enabled: z.boolean().default(true).describe("In force."),
  body: body.describe("Plain text instead of the proxy's own page.").optional(),
  html: body.describe("A page instead of the proxy's own.").optional(),
  status: whole(200, 599).default(503).describe("Status of the answer."),
  retryAfter: duration(1000, 24 * 30 * HOUR).describe("Told to clients as `Retry-After`.").optional(),
  headers: fields("response", "Header fields of the answer.").optional(),
  service: serviceName.describe("A service that answers instead.").optional(),
}).transform(({ enabled, body, html, status, retryAfter, headers = [], service }, context): MaintenancePolicy => {
  if (body !== undefined && html !== undefined) {
    context.addIssue({ code: "custom", message: "body or html, not both", path: ["html"] });
  }
  const own: [string, string][] = [];
  const given = new Set(headers.map(([name]) => name.toLowerCase()));
  if (retryAfter !== undefined && !given.has("retry-after")) own.push(["Retry-After", String(Math.ceil(retryAfter / 1000))]);
  if ((body ?? html) !== undefined && !given.has("content-type")) {
    own.push(["Content-Type", html === undefined ? "text/plain; charset=utf-8" : "text/html; charset=utf-8"]);
  }
  return { enabled, service: service ?? null, answer: { status, body: html ?? body ?? "", headers: [...own, ...headers] } };
});

/** Names that stand for codes, see forwarding. */
export const ERROR_NAMES = ["no_endpoints", "no_healthy_endpoints", "timeout", "refused", "too_many_retries"] as const;

const ERRORS = `${ERROR_NAMES.join(", ")}, and codes of X-Edgeproxy-Error`;

const errorName: z.ZodType<string, string> = z.string().transform((name, context) => {
  const known: string[] = [...new Set<string>([...ERROR_NAMES, ...ERROR_CODES])];
  if (known.includes(name)) return name;
  const nearest = nearestOf(name, known);
  const hint = nearest === null ? `${ERROR_NAMES.join(", ")}, or a code of docs/errors.md` : `did you mean ${nearest}?`;
  context.addIssue({ code: "custom", message: `there is no error ${JSON.stringify(name)}: ${hint}` });
  return z.NEVER;
}).meta({ accepts: ERRORS });

const errorAnswer: z.ZodType<ErrorAnswer, unknown> = mapping({
  on: z.union([errorName, z.array(errorName).min(1).max(50)]).meta({ accepts: `one or a list of ${ERRORS}` }).describe(
    "Which errors.",
  ),
  status: whole(200, 599).describe("Instead of the error's own.").optional(),
  json: z.union([body, z.record(z.string(), z.unknown()), z.array(z.unknown())]).meta({
    accepts: "text with variables, or a mapping",
  }).describe(
    "Body for clients that want JSON.",
  ).optional(),
  html: body.describe("Body for browsers.").optional(),
  text: body.describe("Body for everybody else.").optional(),
  redirect: text(MOST_VALUE).describe("A URL to redirect to instead.").optional(),
}).transform(({ on, status, json, html, text, redirect }, context): ErrorAnswer => {
  const problem = redirect === undefined ? null : redirectProblem(redirect);
  if (problem !== null) context.addIssue({ code: "custom", message: problem, path: ["redirect"] });
  if (redirect !== undefined && status !== undefined && ![301, 302, 303, 307, 308].includes(status)) {
    context.addIssue({ code: "custom", message: "must be 301, 302, 303, 307 or 308 where there is a redirect", path: ["status"] });
  }
  return {
    codes: [on].flat(),
    status: status ?? null,
    json: json === undefined ? null : typeof json === "string" ? json : JSON.stringify(json),
    html: html ?? null,
    text: text ?? null,
    redirect: redirect ?? null,
  };
});

export const errorAnswers = z.array(errorAnswer).max(100);

/** Where browsers are sent must not be for a client to say: of variables, an authority may only hold the requested host. */
export function redirectProblem(to: string): string | null {
  const like = "must be a URL such as https://www.example.com{path}, or a path";
  if (!/^[\x21-\x7e]*$/.test(to)) return `${like}, of visible ASCII characters without spaces`;
  const variables = foreignVariable(to) ?? variableProblem(to);
  if (variables !== null) return variables;
  if (to.startsWith("{") && !to.startsWith("{scheme}://")) {
    return /^\{path\}/.test(to) ? null : `${like}: what a client sends cannot begin it`;
  }
  if (to.startsWith("/")) return /^\/[/\\{]/.test(to) ? `${like}: browsers would take the second part for a host` : null;
  const authority = /^(?:https?|\{scheme\}):\/\/((?:(?!\{path\})[^/?#\\])+)/i.exec(to)?.[1]; // A path begins with its slash
  if (authority === undefined) return like;
  const fixed = authority.replaceAll("{host}", "host");
  if (/[{}]/.test(fixed)) return `${like}: of variables, only {host} can be in its host`;
  return /^[A-Za-z0-9._-]+(:\d{1,5})?$|^\[[0-9a-fA-F:.]+\](:\d{1,5})?$/.test(fixed) ? null : `${like} (${authority} is no host)`;
}
