/** The health of the VMs in use, as the prober sees it. */
import type { Context } from "hono";
import type { EndpointHealth } from "../upstream/prober.ts";
import type { AdminDeps } from "./deps.ts";
import { timeText } from "./time-text.ts";

export function listEndpoints(c: Context, deps: AdminDeps): Response {
  const endpoints = [...deps.endpointHealth()].sort((a, b) => a.endpoint.key < b.endpoint.key ? -1 : 1);
  return c.json({ endpoints: endpoints.map(endpointView) });
}

function endpointView(health: EndpointHealth): unknown {
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
    latency_ms: health.latencyMs === null ? null : Math.round(health.latencyMs * 1000) / 1000,
    last_probe: timeText(health.lastProbeAtMs),
    next_probe: timeText(health.nextProbeAtMs),
  };
}
