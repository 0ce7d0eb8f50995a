/** How far the end of this generation is, and what those before it still have to finish. */
import type { Context } from "hono";
import type { DrainStatus } from "../observation/drain-status.ts";
import type { AdminDeps, Predecessor } from "./deps.ts";
import { timeText } from "./time-text.ts";

export async function showDrain(c: Context, deps: AdminDeps): Promise<Response> {
  await deps.collect();
  return c.json({ drain: drainView(deps.drain(), deps.nowMs()), predecessors: deps.predecessors().map(predecessorView) });
}

/** Null while the generation serves. */
export function drainView(drain: DrainStatus | null, nowMs: number): unknown {
  if (drain === null) return null;
  return {
    phase: drain.phase,
    reason: drain.reason,
    since: timeText(drain.sinceAtMs),
    phase_since: timeText(drain.phaseSinceAtMs),
    deadline: timeText(drain.deadlineAtMs),
    seconds_left: Math.max(0, Math.round(drain.deadlineAtMs - nowMs)) / 1000,
    ...drain.left,
  };
}

function predecessorView({ pid, version, sinceAtMs, left }: Predecessor): unknown {
  return { pid, version, since: timeText(sinceAtMs), exchanges: null, tunnels: null, connections: null, ...left };
}
