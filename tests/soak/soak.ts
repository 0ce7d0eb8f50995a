/*  Many aborted exchanges through the compiled binary, and what they leave behind: the slope of its resident memory, connections,
 *  exchanges, files. `deno task soak [count]` runs a million; tests/end-to-end/leaks.test.ts runs as many as CI has time for.
 */
import process from "node:process";
import { openFiles, residentBytes } from "../fixtures/processes.ts";
import { DataPlane, ONE_PROCESS, settled } from "../fixtures/served-vms.ts";
import { abortExchange, ABORTS } from "./aborted-exchange.ts";
import { startBreakingVm } from "./breaking-vm.ts";
import { type Sample, slopeOf } from "./slope.ts";

/** Exchanges under way at a time. */
const WIDTH = 64;
const SAMPLES = 60;
/** KiB per 1000 exchanges of a long run; the garbage collector's swing makes some 20 of a million, either way. */
const MAX_SLOPE = 100;
/** What the pool, the buffers and the compiler need to settle. */
const WARM_UP = 5_000;

export interface SoakResult {
  readonly samples: readonly Sample[];
  /** KiB per 1000 exchanges. */
  readonly slope: number;
  /** Open files at rest, before and after. */
  readonly filesBefore: number;
  readonly filesAfter: number;
  readonly seconds: number;
}

/** Resolves when nothing is left in use; rejects when something is. */
export async function soak(plane: DataPlane, count: number, report: (sample: Sample) => void = () => {}): Promise<SoakResult> {
  await using calm = await startBreakingVm();
  await using broken = await startBreakingVm();
  const { proxy } = plane;
  const target = {
    host: proxy.host,
    port: proxy.port,
    calm: await plane.route(calm.host, calm.port),
    broken: await plane.route(broken.host, broken.port),
  };
  const run = (from: number, to: number): Promise<void> => {
    let next = from;
    const worker = async (): Promise<void> => {
      while (next < to) await abortExchange(ABORTS[next++ % ABORTS.length]!, target);
    };
    return Promise.all(Array.from({ length: WIDTH }, worker)).then(() => {});
  };
  await run(0, WARM_UP);
  await settled(proxy, "none");
  const filesBefore = openFiles(proxy.pid);
  const samples: Sample[] = [];
  const startedMs = performance.now();
  for (let index = 0; index < SAMPLES; index++) {
    await run(Math.round(count * index / SAMPLES), Math.round(count * (index + 1) / SAMPLES));
    const sample = { done: Math.round(count * (index + 1) / SAMPLES), residentBytes: residentBytes(proxy.pid) };
    samples.push(sample);
    report(sample);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  await settled(proxy, "none");
  // A probe or an operator's connection may be open this very moment
  await proxy.waitFor(() => Promise.resolve(openFiles(proxy.pid) <= filesBefore)).catch(() => {});
  return { samples, slope: slopeOf(samples), filesBefore, filesAfter: openFiles(proxy.pid), seconds };
}

export function soakSummary(count: number, { slope, samples, filesBefore, filesAfter, seconds }: SoakResult): string {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  const [first, last] = [samples[0]!, samples.at(-1)!];
  return `${count} aborted exchanges in ${seconds.toFixed(0)} s: ${
    slope.toFixed(2)
  } KiB per 1000 exchanges over the second half, ` +
    `resident ${mib(first.residentBytes)} -> ${mib(last.residentBytes)} MiB, files ${filesBefore} -> ${filesAfter}`;
}

if (import.meta.main) {
  const count = Number(process.argv[2] ?? 1_000_000);
  await using plane = await DataPlane.start(ONE_PROCESS);
  const result = await soak(plane, count, ({ done, residentBytes: bytes }) => {
    process.stdout.write(`${String(done).padStart(9)} ${(bytes / 2 ** 20).toFixed(1).padStart(7)} MiB\n`);
  });
  process.stdout.write(`${soakSummary(count, result)}\n`);
  if (result.slope > MAX_SLOPE || result.filesAfter > result.filesBefore) process.exitCode = 1;
}
