/** What is known of the data plane's processes, for the admin address and the metrics. */
import type { MetricsSnapshot } from "./metrics.ts";
import type { PolicedReport } from "./policed-figures.ts";

/*            listens                       no answer               ended
 *  starting ---------> serving <--------------------> silent ------------> restarting ---> starting
 *      |                  '---> draining ---> gone, final     (from each)      ^
 *      '-----------------------------------------------------------------------'
 */
export const WORKER_STATES = ["starting", "serving", "silent", "draining", "restarting"] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

/** Why a process was replaced: by a signal, by itself, because it did not answer, because somebody asked it to end. */
export const RESTART_REASONS = ["killed", "error", "silent", "asked"] as const;
export type RestartReason = (typeof RESTART_REASONS)[number];
export type Restarts = Readonly<Record<RestartReason, number>>;

/** What a process says of itself. */
export interface WorkerFigures {
  readonly residentBytes: number;
  /** User and system time since the start. */
  readonly cpuSeconds: number;
  /** The longest time since the last report in which this process did not look at its sockets. */
  readonly stallSeconds: number;
}

export interface WorkerStatus {
  /** From 1; 0 where everything is one process. A replacement has the number of the one before it. */
  readonly worker: number;
  /** null while there is no process. */
  readonly pid: number | null;
  readonly state: WorkerState;
  /** Of the process that runs now or ran last. */
  readonly startedAtMs: number;
  /** How often a process of this number was replaced. */
  readonly restarts: number;
  /** Of the table that is in force there. */
  readonly revision: number;
  /** How many revisions the control plane is ahead. */
  readonly revisionsBehind: number;
  /** When it last answered; null: not yet. */
  readonly heardAtMs: number | null;
  /** How long that answer took. */
  readonly answerMs: number | null;
  /** As of that answer. */
  readonly figures: WorkerFigures | null;
  /** The longest time in the last 30 s in which it did not look at its sockets. */
  readonly longestStallSeconds: number | null;
  readonly metrics: MetricsSnapshot | null;
  /** What its policies do, as of that answer. */
  readonly policed: Omit<PolicedReport, "targets"> | null;
}

export function noRestarts(): Record<RestartReason, number> {
  return { killed: 0, error: 0, silent: 0, asked: 0 };
}
