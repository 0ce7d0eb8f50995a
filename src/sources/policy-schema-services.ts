/** How services are written (contract, section 12). */
import { z } from "zod";
import type {
  BreakerPolicy,
  ConcurrencyPolicy,
  DrainPolicy,
  EjectionPolicy,
  HealthPolicy,
  RetryCause,
  RetryPolicy,
  StatusRange,
  TimeoutPolicy,
} from "../table/policy.ts";
import { fixedResponse, maintenance } from "./policy-schema-answers.ts";
import {
  cookieName,
  duration,
  endpointUrl,
  fieldName,
  fraction,
  keySource,
  mapping,
  method,
  moment,
  readStatusRange,
  region,
  size,
  statusRanges,
  text,
  whole,
} from "./policy-values.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const MOST_ENDPOINTS = 10_000;

const endpoint = mapping({
  url: endpointUrl.describe("Where it listens; host names are resolved, again and again."),
  weight: whole(0, 1_000_000).default(1).describe("Its share of requests beside the others'; 0 = nothing new."),
  region: region.describe("Where it runs; another region's is never probed. Without it: this one.").optional(),
});
export type WrittenEndpoint = z.output<typeof endpoint>;

const sticky = mapping({
  cookie: cookieName.optional().describe("Name of the signed cookie. Default: `edge_sticky_` and a hash of the service's name."),
  ttl: duration(1000, 365 * DAY).prefault("1h").describe("How long a client keeps its endpoint."),
}).transform(({ cookie, ttl }) => ({ cookie, ttlMs: ttl }));

const probeFields = z.record(z.string(), text(8192)).transform((written, context) => {
  for (const [name, value] of Object.entries(written)) {
    const fine = fieldName.safeParse(name).success && /^[\t\x20-\x7e]*$/.test(value) &&
      !/^(connection|content-length|transfer-encoding|te|upgrade|trailer|expect)$/i.test(name);
    if (!fine) context.addIssue({ code: "custom", message: "is no header field for a probe", path: [name] });
  }
  return Object.entries(written);
});

export const healthSchema = mapping({
  type: z.enum(["http", "tcp", "none"]).default("http").describe("A request, a connection, or no check at all."),
  path: z.string().regex(/^\/[\x21\x22\x24-\x7e]{0,2047}$/, "must be a path such as /health").meta({ accepts: "path" })
    .default("/").describe(
      "What is asked for.",
    ),
  method: method.refine((name) => name !== "CONNECT", "cannot be CONNECT").prefault("GET").describe("How it is asked for."),
  status: statusRanges.prefault("200-399").describe("Statuses that are healthy."),
  headers: probeFields.meta({ accepts: "mapping of names to texts" }).describe("Header fields of the probe, such as Host.")
    .optional(),
  interval: duration(100, HOUR).prefault("10s").describe("Between two probes of an endpoint in use."),
  timeout: duration(10, 5 * MINUTE).prefault("5s").describe("For a probe as a whole."),
  unhealthyAfter: whole(1, 100).default(3).describe("Failures in a row."),
  healthyAfter: whole(1, 100).default(2).describe("Successes in a row."),
  slowStart: duration(0, HOUR).prefault("0s").describe("After a recovery the share of requests grows for so long."),
}).transform(({ interval, timeout, slowStart, headers = [], ...rest }): HealthPolicy => ({
  ...rest,
  headers,
  intervalMs: interval,
  timeoutMs: timeout,
  slowStartMs: slowStart,
}));

const ejection = mapping({
  errors: whole(1, 10_000).default(3).describe("So many errors of real requests put an endpoint out."),
  window: duration(100, HOUR).prefault("10s").describe("Within that time."),
  time: duration(100, DAY).prefault("10s").describe("Out for so long, doubled each time it happens again."),
  maxShare: fraction().prefault(0.5).describe("Of the endpoints, never more are out."),
}).transform(({ errors, window, time, maxShare }): EjectionPolicy => ({ errors, windowMs: window, timeMs: time, maxShare }));

const CAUSES: readonly RetryCause[] = ["connect", "reset", "timeout"];

const cause = [z.string(), z.int()] as const;

const retryOn = z.union([...cause, z.array(z.union(cause)).max(50)]).transform((written, context) => {
  const on: RetryCause[] = [];
  const statuses: StatusRange[] = [];
  for (const [index, each] of [written].flat().entries()) {
    const cause = CAUSES.find((name) => name === each);
    const range = cause === undefined ? readStatusRange(String(each)) : null;
    if (cause !== undefined) on.push(cause);
    else if (range !== null && range.from >= 400) statuses.push(range);
    else {context.addIssue({
        code: "custom",
        message: `must be ${CAUSES.join(", ")} or statuses such as 503 or 502-504`,
        path: Array.isArray(written) ? [index] : [],
      });}
  }
  return { on: [...new Set(on)], statuses };
}).meta({ accepts: "list of connect, reset, timeout, and statuses from 400 on" });

const retry = mapping({
  attempts: whole(1, 10).default(2).describe("All together, the first included; 1 = no retry."),
  on: retryOn.prefault(["connect"]).describe("What is worth another attempt."),
  budget: fraction().prefault(0.2).describe("Retries of the service as a share of its requests."),
  backoff: duration(0, MINUTE).prefault("25ms").describe("Before the second attempt; doubles, with jitter."),
  maxBodySize: size(0, 1_048_576).prefault("64KiB").describe("Request bodies up to here are kept to be sent again."),
  total: duration(0, HOUR).prefault("0s").describe("For all attempts together; 0s = no limit but the timeouts."),
}).transform(({ attempts, on, budget, backoff, maxBodySize, total }): RetryPolicy => ({
  attempts,
  ...on,
  budget,
  backoffMs: backoff,
  maxBodyBytes: maxBodySize,
  totalMs: total,
}));

const breaker = mapping({
  failures: whole(0, 10_000).default(5).describe("Failures in a row that open it; 0 = not by this."),
  failureRate: fraction().prefault(0.5).describe("Share of failures that opens it; 0 = not by this."),
  minRequests: whole(1, 1_000_000).default(10).describe("Before the share counts."),
  window: duration(100, HOUR).prefault("10s").describe("For the share."),
  openFor: duration(100, HOUR).prefault("30s").describe("Until trials begin."),
  halfOpenRequests: whole(1, 1000).default(1).describe("Trials at a time; so many successes close it."),
  scope: z.enum(["endpoint", "service"]).default("endpoint").describe("One per endpoint, or one for all."),
  strategy: z.enum(["fail-fast", "retry-elsewhere", "fallback"]).optional().describe(
    "While it is open: refuse, try another endpoint, or answer with `fallback`. Default: `retry-elsewhere`, or `fallback` where there is one.",
  ),
  fallback: fixedResponse(503).describe("The answer while it is open.").optional(),
}).transform(({ window, openFor, strategy, fallback, ...rest }, context): BreakerPolicy => {
  const complain = (message: string, key: string) => context.addIssue({ code: "custom", message, path: [key] });
  if (strategy === "fallback" && fallback === undefined) complain("needs a fallback", "strategy");
  if (strategy !== undefined && strategy !== "fallback" && fallback !== undefined) {
    complain(`is of no use with ${strategy}`, "fallback");
  }
  return {
    ...rest,
    windowMs: window,
    openForMs: openFor,
    strategy: strategy ?? (fallback === undefined ? "retry-elsewhere" : "fallback"),
    fallback: fallback ?? null,
  };
});

const limits = mapping({
  soft: whole(0, 1_000_000).default(0).describe("Requests under way per endpoint above which others are preferred; 0 = none."),
  hard: whole(0, 1_000_000).default(0).describe("Never more per endpoint; 0 = no limit."),
  queue: whole(0, 100_000).default(100).describe("Requests that may wait for a place."),
  queueTimeout: duration(1, 10 * MINUTE).prefault("5s").describe("How long one waits."),
}).transform(({ soft, hard, queue, queueTimeout }, context): ConcurrencyPolicy => {
  if (soft > hard && hard > 0) context.addIssue({ code: "custom", message: `must not be above hard (${hard})`, path: ["soft"] });
  return { soft, hard, queue, queueTimeoutMs: queueTimeout };
});

export const timeouts = mapping({
  connect: duration(10, 5 * MINUTE).describe("Until the connection stands.").optional(),
  response: duration(10, DAY).describe("Until the head of the answer is there.").optional(),
  idle: duration(10, DAY).describe("No byte in either direction.").optional(),
}).transform(({ connect, response, idle }): TimeoutPolicy => ({
  connectMs: connect ?? null,
  responseMs: response ?? null,
  idleMs: idle ?? null,
}));

export const drain = mapping({
  start: moment.describe("When it begins."),
  over: duration(0, 7 * DAY).prefault("10m").describe("For so long the share of requests falls from all to none."),
}).transform(({ start, over }): DrainPolicy => ({ startAtMs: start, overMs: over }));

const tls = mapping({
  verify: z.boolean().default(true).describe("Whether the certificate is checked."),
  serverName: z.string().min(1).max(253).describe("Name in the certificate. Without it: the endpoint's host.").optional(),
  caFile: z.string().min(1).max(4096).describe("Certificates to trust, PEM. Without it: the system's.").optional(),
});

/** What a service says of its endpoints, whosever they are. */
export const endpointPolicyKeys = {
  balance: z.enum(["p2c", "round-robin", "weighted", "least-connections", "ip-hash", "consistent-hash"]).default("p2c").describe(
    "Which endpoint is next.",
  ),
  hashKey: keySource.prefault("client-ip").describe("What `consistent-hash` goes by."),
  sticky: sticky.describe("A client keeps its endpoint, by a signed cookie.").optional(),
  health: healthSchema.describe("Active checks. Without it: as the settings say.").optional(),
  ejection: ejection.describe("Out for a time because of what real requests saw.").optional(),
  retry: retry.describe("Other attempts.").optional(),
  breaker: breaker.describe("Protects endpoints that fail from more requests.").optional(),
  limits: limits.describe("Requests under way at a time.").optional(),
} as const;

export const serviceSchema = mapping({
  endpoints: z.array(endpoint).max(MOST_ENDPOINTS).describe("Who answers."),
  ...endpointPolicyKeys,
  timeouts: timeouts.describe("Without one: as the settings say.").optional(),
  tls: tls.describe("For endpoints with `https://`.").optional(),
  maintenance: maintenance.describe("Answered instead of the endpoints.").optional(),
  drain: drain.describe("Out of use by and by.").optional(),
});
export type WrittenService = z.output<typeof serviceSchema>;
