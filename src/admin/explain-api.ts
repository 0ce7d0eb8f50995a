/** What would become of a request, and why: a worker says so, with its own table; the control plane adds what the probes say. */
import { z } from "zod";
import type { Explanation } from "../observation/explanation.ts";
import type { EndpointHealth } from "../upstream/endpoint-findings.ts";
import { writtenRequest } from "./written-request.ts";
import type { AdminDeps } from "./deps.ts";
import { TIME } from "./fields.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { problem } from "./problem.ts";
import { latencyMs, timeText } from "./time-text.ts";

const MOST_FIELDS = 1000;

const BODY = z.strictObject({
  url: z.string().min(1).max(65_536).describe("`http://app.example.com/path`; the scheme may be left out"),
  method: z.string().default("GET"),
  headers: z.array(z.tuple([z.string(), z.string()])).max(MOST_FIELDS).default([])
    .describe("Name and value each; a Host among them is sent instead of the URL's"),
  client: z.union([z.ipv4(), z.ipv6()]).default("127.0.0.1").describe("Address of the client"),
  worker: z.int().min(0).optional().describe("Which worker is asked; without: the first that serves"),
  suppose: z.record(z.string(), z.enum(["healthy", "unhealthy"])).default({})
    .describe("Verdicts to be taken for granted, by endpoint key: what if?"),
});

const HEALTH = z.object({
  verdict: z.enum(["unprobed", "healthy", "unhealthy"]),
  since: TIME,
  reason: z.string(),
  last_probe: TIME.nullable(),
  latency_ms: z.number().nullable(),
});

const CANDIDATE = z.object({
  key: z.string(),
  kind: z.enum(["vm", "region"]),
  region: z.string(),
  when: z.enum(["now", "before"]).describe("before: the host led there a moment ago, and does not any more"),
  availability: z.string().describe(
    "available, unprobed, overdue, unhealthy, failing, draining; under a policy also busy, full, trial, ejected, open, weightless; " +
      "tried, or passed: the request comes from there",
  ),
  load: z.int().describe("Attempts under way in this worker"),
  outcome: z.enum(["chosen", "awaited", "lost"]),
  why: z.string(),
  health: HEALTH.nullable().describe("What the probes say; null: it is not watched"),
});

const CONCLUSION = z.object({
  kind: z.enum(["forward", "fall-back", "probe-first", "table-first", "queue", "respond", "refuse"]),
  endpoint: z.string().nullable(),
  awaited: z.array(z.string()),
  status: z.int().nullable(),
  code: z.string().nullable(),
  blame: z.string().nullable(),
  problem: z.string(),
  text: z.string().describe("In one line, for people"),
});

const FIELDS = z.array(z.object({ name: z.string(), value: z.string().describe("`new`: made for each request") }));

export const EXPLANATION = z.object({
  region: z.string().describe("Of this edge"),
  worker: z.int().nullable().describe("Who says so; null: no worker, but the command line by itself"),
  revision: z.int().describe("Of the table of that worker"),
  current_revision: z.int().describe("Of the table that the workers are given"),
  request: z.object({
    method: z.string(),
    target: z.string(),
    authority: z.string(),
    host: z.string().nullable().describe("Normalised; null: malformed, or not read"),
  }),
  route: z.string().nullable().describe("The host or wildcard of the table"),
  policy: z.string().nullable().describe("Id of the route of the routes file, or of the domain's policy, that applies"),
  service: z.string().nullable().describe("The service that this route leads this client to"),
  edges: z.array(z.string()).describe("Edges that the request has passed"),
  steps: z.array(z.string()).describe("What was looked at, in order, for people"),
  candidates: z.array(CANDIDATE),
  conclusion: CONCLUSION,
  hop: z.object({ address: z.string(), port: z.int(), region: z.string(), via: z.string() }).nullable()
    .describe("Where it would go is another region's edge"),
  fields: z.object({ set: FIELDS, added: FIELDS, removed: FIELDS }).nullable().describe("null: it would be sent nowhere"),
});

export type ExplanationView = z.output<typeof EXPLANATION>;

export const EXPLAIN = adminPath({
  method: "POST",
  path: "/api/explain",
  action: null,
  tag: "routes",
  summary: "What would become of a request, and why, without sending it",
  body: BODY,
  answers: {
    200: { meaning: "The worker's answer, also where the request would be refused", schema: EXPLANATION },
    503: { meaning: "No worker serves, or not the one that was asked for" },
  },
  answer: explain,
});

async function explain(
  c: AdminContext,
  deps: AdminDeps,
  { body }: Given<unknown, unknown, z.output<typeof BODY>>,
): Promise<Response> {
  const head = writtenRequest({ url: body.url, method: body.method, fields: body.headers });
  if (head === null) return problem(c, 400, "bad_body", "url: not a URL, or a line break in method or headers");
  const answer = await deps.explain({ head, client: body.client, suppose: body.suppose }, body.worker);
  if (answer === null) {
    const who = body.worker === undefined ? "No worker serves" : `No worker ${body.worker} serves`;
    return problem(c, 503, "no_worker", `${who}, or it does not answer in time; /api/workers says which there are`);
  }
  return c.json(
    explanationView(answer.explanation, {
      region: deps.regionId,
      worker: answer.worker,
      currentRevision: deps.refreshStatus().revision,
      health: (key) => deps.endpoints.health(key),
    }),
  );
}

export interface ExplainedBy {
  readonly region: string;
  readonly worker: number | null;
  readonly currentRevision: number;
  readonly health: (key: string) => EndpointHealth | undefined;
}

export function explanationView(explanation: Explanation, by: ExplainedBy): ExplanationView {
  const { revision, method, target, authority, host, candidates, conclusion, route, policy, service, edges, steps, hop, fields } =
    explanation;
  return {
    region: by.region,
    worker: by.worker,
    revision,
    current_revision: by.currentRevision,
    request: { method, target, authority, host },
    route,
    policy,
    service,
    edges: [...edges],
    steps: [...steps],
    candidates: candidates.map((candidate) => ({ ...candidate, health: healthView(by.health(candidate.key)) })),
    conclusion: { ...conclusion, awaited: [...conclusion.awaited] },
    hop,
    fields: fields === null ? null : { set: [...fields.set], added: [...fields.added], removed: [...fields.removed] },
  };
}

function healthView(health: EndpointHealth | undefined): z.output<typeof HEALTH> | null {
  if (health === undefined) return null;
  return {
    verdict: health.verdict,
    since: timeText(health.sinceAtMs),
    reason: health.reason,
    last_probe: timeText(health.lastProbeAtMs),
    latency_ms: latencyMs(health.latencyMs),
  };
}
