/** The health of the VMs in use, as the prober sees it. */
import { z } from "zod";
import type { EndpointHealth } from "../upstream/endpoint-findings.ts";
import { TIME } from "./fields.ts";
import { adminPath } from "./path.ts";
import { latencyMs, timeText } from "./time-text.ts";

const ENDPOINT = z.object({
  key: z.string().describe("`vm/ADDRESS:PORT`"),
  address: z.string(),
  port: z.int(),
  region: z.string(),
  verdict: z.enum(["unprobed", "healthy", "unhealthy"]),
  state: z.enum(["queued", "probing", "resting"]),
  since: TIME,
  reason: z.string(),
  consecutive: z.int().describe("Results in a row that said the same as the last"),
  latency_ms: z.number().nullable(),
  last_probe: TIME.nullable(),
  next_probe: TIME.nullable(),
});

export const LIST_HEALTH = adminPath({
  method: "GET",
  path: "/api/health",
  tag: "endpoints",
  summary: "Health of the VMs in use, by key",
  answers: { 200: { meaning: "All of them", schema: z.object({ endpoints: z.array(ENDPOINT) }) } },
  answer: (c, deps) => {
    const endpoints = [...deps.endpointHealth()].sort((a, b) => a.endpoint.key < b.endpoint.key ? -1 : 1);
    return c.json({ endpoints: endpoints.map(endpointView) });
  },
});

function endpointView(health: EndpointHealth): z.output<typeof ENDPOINT> {
  const { endpoint } = health;
  return {
    key: endpoint.key,
    address: endpoint.address,
    port: endpoint.port,
    region: endpoint.region,
    verdict: health.verdict,
    state: health.state,
    since: timeText(health.sinceAtMs),
    reason: health.reason,
    consecutive: health.consecutive,
    latency_ms: latencyMs(health.latencyMs),
    last_probe: timeText(health.lastProbeAtMs),
    next_probe: timeText(health.nextProbeAtMs),
  };
}
