/** How the traffic of the whole edge went in the last half hour. */
import { z } from "zod";
import { HISTORY_MS, STEP_MS, type TrafficPoint } from "../observation/traffic-history.ts";
import { TIME } from "./fields.ts";
import { BY_BLAME, BY_CLASS, roundedOrNull } from "./hosts-api.ts";
import { adminPath } from "./path.ts";
import { timeText } from "./time-text.ts";

const POINT = z.object({
  time: TIME.describe("Its end"),
  requests: z.int().describe("Since the point before, as all counts here"),
  by_class: BY_CLASS,
  errors: z.int().describe("Exchanges that ended badly"),
  by_blame: BY_BLAME,
  p50_ms: z.number().nullable().describe("null: no request has ended; tunnels do not count"),
  p95_ms: z.number().nullable(),
  p99_ms: z.number().nullable(),
  bytes_in: z.number().describe("On client connections"),
  bytes_out: z.number().describe("On client connections"),
  connections: z.int().describe("Open at its end"),
  tunnels: z.int().describe("Open at its end"),
});

export const SHOW_TRAFFIC = adminPath({
  method: "GET",
  path: "/api/traffic",
  tag: "traffic",
  summary: "Requests, errors, latency and bytes in the last minutes, step by step",
  query: z.strictObject({ minutes: z.coerce.number().positive().max(HISTORY_MS / 60_000).default(30) }),
  answers: {
    200: { meaning: "Oldest first; kept since the start", schema: z.object({ step_ms: z.int(), points: z.array(POINT) }) },
  },
  answer: (c, deps, { query }) => c.json({ step_ms: STEP_MS, points: deps.traffic.points(query.minutes * 60_000).map(pointView) }),
});

function pointView(point: TrafficPoint): z.output<typeof POINT> {
  return {
    time: timeText(point.atMs),
    requests: point.requests,
    by_class: point.byClass,
    errors: point.errors,
    by_blame: point.byBlame,
    p50_ms: roundedOrNull(point.p50Ms),
    p95_ms: roundedOrNull(point.p95Ms),
    p99_ms: roundedOrNull(point.p99Ms),
    bytes_in: point.bytesIn,
    bytes_out: point.bytesOut,
    connections: point.connections,
    tunnels: point.tunnels,
  };
}
