/*  Whether this generation does its work, for the service manager's watchdog: it restarts a process that does not say so in time.
 *
 *  Well is: the control plane's loop turns, and at least one worker listens, has answered lately, and has a table if there is one. Not
 *  looked at, because a restart would not help: the database, VMs, and workers that are being replaced while another serves. A drain
 *  has a bound of its own.
 */
import type { DrainStatus } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import type { WorkerStatus } from "../observation/worker-status.ts";

export interface CheckedGeneration {
  /** Asks the workers for their figures; resolves when they are here, or when it is not worth waiting any longer. */
  collect(): Promise<unknown>;
  workers(): readonly WorkerStatus[];
  /** Of the control plane's table; 0: none yet. */
  revision(): number;
  drain(): DrainStatus | null;
  nowMs(): number;
}

/** How long ago an answer may be that still counts. */
const LATELY_MS = 5000;

/** For the notifier: true when all is well. What is not is logged, once until it changes. */
export function selfCheck(generation: CheckedGeneration, log: Log): () => Promise<boolean> {
  let said: string | null = null;
  return async () => {
    await generation.collect();
    await turnOfLoop();
    const problem = findProblem(generation);
    if (problem !== said) {
      if (problem !== null) log.error("self-check failed", { problem });
      else log.info("self-check passes again");
      said = problem;
    }
    return problem === null;
  };
}

/** Null when all is well. */
export function findProblem(generation: Omit<CheckedGeneration, "collect">): string | null {
  if (generation.drain() !== null) return null;
  const listening = generation.workers().filter(({ state }) => state === "serving");
  if (listening.length === 0) return "no worker is serving";
  const nowMs = generation.nowMs();
  const answering = listening.filter(({ heardAtMs }) => heardAtMs !== null && nowMs - heardAtMs <= LATELY_MS);
  if (answering.length === 0) return "no worker answers";
  if (generation.revision() > 0 && answering.every(({ revision }) => revision === 0)) return "no worker has a table";
  return null;
}

/** Timers and sockets had their turn, not only promises. */
function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(() => setImmediate(resolve), 0));
}
