/** What `systemctl status` shows: one line, sent again when it has changed. */
import { counted, drainLine, type DrainStatus } from "../observation/drain-status.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { WorkerStatus } from "../observation/worker-status.ts";

export interface StatusFigures {
  readonly routes: number;
  /** Since it was last known to be what its source says; null: no table yet. */
  readonly tableAgeMs: number | null;
  /** What is unusual about it. */
  readonly tableIs: string | null;
  readonly workers: readonly WorkerStatus[];
  readonly drain: DrainStatus | null;
}

/** `12 routes, table 3 s old, 45 connections, 2 workers`; `draining: 3 exchanges, 1 tunnel left`. */
export function statusLine({ routes, tableAgeMs, tableIs, workers, drain }: StatusFigures): string {
  if (drain !== null) return drainLine(drain);
  const unusual = tableIs === null ? "" : ` (${tableIs})`;
  const table = tableAgeMs === null ? "no table yet" : `${counted(routes, "route")}, table ${ageText(tableAgeMs)} old${unusual}`;
  const connections = workers.reduce((sum, { metrics }) => sum + (metrics?.connectionsOpen ?? 0), 0);
  return `${table}, ${counted(connections, "connection")}, ${workersText(workers)}`;
}

const REPORT_MS = 5000;

/** Sends the line every few seconds where it has changed. Returns the undo. */
export function reportStatus(line: () => string, send: (line: string) => void, timers: Timers): CancelTimer {
  let last = "";
  let cancel: CancelTimer = () => {};
  const report = () => {
    const text = line();
    if (text !== last) send(last = text);
    cancel = timers.after(REPORT_MS, report);
  };
  cancel = timers.after(REPORT_MS, report);
  return () => cancel();
}

/** How many serve, where not all do. */
function workersText(workers: readonly WorkerStatus[]): string {
  const total = new Set(workers.map(({ worker }) => worker)).size;
  const serving = workers.filter(({ state }) => state === "serving").length;
  return serving === total ? counted(total, "worker") : `${serving} of ${counted(total, "worker")} serving`;
}

function ageText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}
