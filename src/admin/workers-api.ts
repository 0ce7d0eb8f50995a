/** The processes of the data plane, one by one. */
import type { Context } from "hono";
import type { WorkerStatus } from "../observation/worker-status.ts";
import type { AdminDeps } from "./deps.ts";
import { timeText } from "./time-text.ts";

export async function listWorkers(c: Context, deps: AdminDeps): Promise<Response> {
  await deps.collect();
  return c.json({ workers: deps.workers().map((worker) => workerView(worker, deps.nowMs())) });
}

/** Requests and connections are as of `answered`; null: it has not reported yet. */
function workerView(worker: WorkerStatus, nowMs: number): unknown {
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
