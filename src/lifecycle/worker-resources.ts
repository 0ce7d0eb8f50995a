/** What a worker's process takes of the machine, and what it may take. */
import process from "node:process";
import { residentBytes } from "../runtime/process-figures.ts";
import { takeLongestStallMs } from "../runtime/stalls.ts";
import type { WorkerFigures } from "./worker-channel.ts";

/** Files that are not sockets of clients or endpoints: database, admin, probes, logs, the runtime's own. */
const RESERVED_FILES = 128;
/** Of either side, also where the file limit is lower than what we reserve. */
const LEAST_CONNECTIONS = 16;

/** What the process says of itself; the stall is that since the last time. */
export function workerFigures(): WorkerFigures {
  const cpu = process.cpuUsage();
  return {
    residentBytes: residentBytes(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    stallSeconds: takeLongestStallMs() / 1000,
  };
}

/**
 * Connections allowed on either side. Every client may need a connection to an endpoint, so clients get half of what the file
 * limit leaves, or as many as configured; endpoints get the rest.
 */
export function shareFiles(limit: number, configured: number): { downstream: number; upstream: number } {
  const files = Math.max(limit - RESERVED_FILES, 2 * LEAST_CONNECTIONS);
  const half = Math.floor(files / 2);
  const downstream = configured === 0 ? half : Math.min(configured, half);
  return { downstream, upstream: files - downstream };
}
