/** A second thread that ends the process when one case takes for ever: nothing else could, while the first thread loops. */
import { writeSync } from "node:fs";
import process from "node:process";
import { Worker, workerData } from "node:worker_threads";

/** Far above what any case takes, also on a busy machine. */
const HANG_MS = 30_000;
const LOOK_MS = 1000;
const STDERR = 2;
/** The number when no case is being examined. */
export const AT_REST = -1;

interface Watched {
  /** The number of the case that is being examined. */
  readonly current: SharedArrayBuffer;
  readonly seed: number;
}

/** Answers what is to be called with the number of each case. */
export function startWatchdog(seed: number): (number: number) => void {
  const current = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const view = new Int32Array(current);
  const watched: Watched = { current, seed };
  new Worker(new URL(import.meta.url), { workerData: watched }).unref();
  return (number) => void Atomics.store(view, 0, number);
}

function watch({ current, seed }: Watched): void {
  const view = new Int32Array(current);
  let last = AT_REST, sinceMs = performance.now();
  setInterval(() => {
    const number = Atomics.load(view, 0);
    if (number !== last || number === AT_REST) {
      last = number;
      sinceMs = performance.now();
    } else if (performance.now() - sinceMs > HANG_MS) {
      writeSync(STDERR, `Case ${number} hangs: deno task fuzz --seed ${seed} --case ${number}\n`);
      process.kill(process.pid, "SIGKILL");
    }
  }, LOOK_MS);
}

if ((workerData as Watched | null)?.current !== undefined) watch(workerData as Watched);
