/** What the machine says about this process. */
import { readdir } from "node:fs/promises";
import { fileLimit } from "./file-limit.ts";
import { later } from "./later.ts";
import { BUN } from "./which.ts";

export interface ProcessFigures {
  readonly residentBytes: number;
  /** User and system time since the start. */
  readonly cpuSeconds: number;
  readonly startedAtSeconds: number;
  /** NaN where the machine does not say (no /proc). */
  readonly openDescriptors: number;
  readonly mostDescriptors: number;
  /** How long a due callback had to wait just now. */
  readonly loopDelaySeconds: number;
}

export async function readProcessFigures(): Promise<ProcessFigures> {
  const loopDelaySeconds = await loopDelay();
  const cpu = process.cpuUsage();
  return {
    residentBytes: residentBytes(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    startedAtSeconds: performance.timeOrigin / 1000,
    openDescriptors: await countDescriptors(),
    mostDescriptors: fileLimit(),
    loopDelaySeconds,
  };
}

let lastResidentBytes = 0;

/** As last known where the system cannot be asked now: reading it takes a file, and a process may have none left. */
export function residentBytes(read: () => number = () => process.memoryUsage.rss()): number {
  try {
    lastResidentBytes = read();
  } catch {
    // EMFILE; the next report may know better
  }
  return lastResidentBytes;
}

function loopDelay(): Promise<number> {
  const startedAtMs = performance.now();
  return new Promise((resolve) => later(() => resolve((performance.now() - startedAtMs) / 1000))); // no sleep counts
}

async function countDescriptors(): Promise<number> {
  try {
    return (await readdir("/proc/self/fd")).length;
  } catch {
    return Number.NaN;
  }
}

/** `bun 1.4.5` or `deno 2.9.6`. */
export function runtimeName(): string {
  if (BUN !== undefined) return `bun ${BUN.version}`;
  return process.versions["deno"] === undefined ? `node ${process.versions.node}` : `deno ${process.versions["deno"]}`;
}
