/** How far the end of this generation is, and what those before it still have to finish. */
import { z } from "zod";
import type { DrainStatus } from "../observation/drain-status.ts";
import type { Predecessor } from "./deps.ts";
import { clientOf } from "./auth.ts";
import { TIME } from "./fields.ts";
import { adminPath } from "./path.ts";
import { timeText } from "./time-text.ts";

export const DRAIN = z.object({
  phase: z.enum(["lame-duck", "finishing", "cutting", "drained"]),
  reason: z.string(),
  since: TIME,
  phase_since: TIME,
  deadline: TIME,
  seconds_left: z.number(),
  exchanges: z.int(),
  tunnels: z.int(),
  connections: z.int(),
});
const PREDECESSOR = z.object({
  pid: z.int(),
  version: z.string(),
  since: TIME,
  exchanges: z.int().nullable(),
  tunnels: z.int().nullable(),
  connections: z.int().nullable(),
});

export const SHOW_DRAIN = adminPath({
  method: "GET",
  path: "/api/drain",
  tag: "process",
  summary: "How far the end of this generation is, and what those before it still have to finish",
  answers: {
    200: {
      meaning: "`drain` is null while it serves",
      schema: z.object({ drain: DRAIN.nullable(), predecessors: z.array(PREDECESSOR) }),
    },
  },
  answer: async (c, deps) => {
    await deps.collect();
    return c.json({ drain: drainView(deps.drain(), deps.nowMs()), predecessors: deps.predecessors().map(predecessorView) });
  },
});

export const BEGIN_DRAIN = adminPath({
  method: "POST",
  path: "/api/drain",
  action: "drain",
  tag: "process",
  summary: "End this generation as SIGTERM does: readiness turns false, running work finishes, exit code 0",
  body: z.strictObject({ reason: z.string().max(200).default("").describe("For the log") }),
  answers: { 202: { meaning: "It begins; `drain` is null until it has", schema: z.object({ drain: DRAIN.nullable() }) } },
  answer: (c, deps, { body: { reason } }) => {
    deps.beginDrain(["asked by", clientOf(c), reason === "" ? "" : `(${reason})`].filter((word) => word !== "").join(" "));
    return c.json({ drain: drainView(deps.drain(), deps.nowMs()) }, 202);
  },
});

/** Null while the generation serves. */
export function drainView(drain: DrainStatus | null, nowMs: number): z.output<typeof DRAIN> | null {
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

function predecessorView({ pid, version, sinceAtMs, left }: Predecessor): z.output<typeof PREDECESSOR> {
  return { pid, version, since: timeText(sinceAtMs), exchanges: null, tunnels: null, connections: null, ...left };
}
