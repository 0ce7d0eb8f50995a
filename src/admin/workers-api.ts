/** The processes of the data plane, one by one. */
import { z } from "zod";
import { WORKER_STATES, type WorkerStatus } from "../observation/worker-status.ts";
import { TIME } from "./fields.ts";
import { adminPath } from "./path.ts";
import { timeText } from "./time-text.ts";

const COUNT = z.int().nullable();
const WORKER = z.object({
  worker: z.int(),
  pid: COUNT,
  state: z.enum(WORKER_STATES),
  since: TIME,
  restarts: z.int(),
  connections: COUNT,
  exchanges: COUNT,
  tunnels: COUNT,
  requests: COUNT,
  memory_bytes: COUNT,
  cpu_seconds: z.number().nullable(),
  stall_ms: z.number().nullable(),
  revision: z.int(),
  revisions_behind: z.int(),
  answered: TIME.nullable(),
  answered_ms: z.number().nullable(),
  silent_ms: z.number().nullable(),
});

export const LIST_WORKERS = adminPath({
  method: "GET",
  path: "/api/workers",
  tag: "process",
  summary: "The processes of the data plane",
  query: z.strictObject({}),
  answers: { 200: { meaning: "All of them, also those that end", schema: z.object({ workers: z.array(WORKER) }) } },
  answer: async (c, deps) => {
    await deps.collect();
    return c.json({ workers: deps.workers().map((worker) => workerView(worker, deps.nowMs())) });
  },
});

/** Requests and connections are as of `answered`; null: it has not reported yet. */
function workerView(worker: WorkerStatus, nowMs: number): z.output<typeof WORKER> {
  const { metrics, figures } = worker;
  return {
    worker: worker.worker,
    pid: worker.pid,
    state: worker.state,
    since: timeText(worker.startedAtMs),
    restarts: worker.restarts,
    connections: metrics?.connectionsOpen ?? null,
    exchanges: metrics?.exchangesActive ?? null,
    tunnels: metrics?.tunnelsActive ?? null,
    requests: metrics?.requests.reduce((sum, count) => sum + count, 0) ?? null,
    memory_bytes: figures?.residentBytes ?? null,
    cpu_seconds: figures?.cpuSeconds ?? null,
    stall_ms: figures === null ? null : rounded(figures.stallSeconds * 1000),
    revision: worker.revision,
    revisions_behind: worker.revisionsBehind,
    answered: timeText(worker.heardAtMs),
    answered_ms: worker.answerMs === null ? null : rounded(worker.answerMs),
    silent_ms: worker.heardAtMs === null ? null : Math.max(0, Math.round(nowMs - worker.heardAtMs)),
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
