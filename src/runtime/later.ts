/** Work that could take too much of a turn goes on in later ones, so that others have theirs. */
import { uncaught } from "./uncaught.ts";

/** Pieces of work that run in one turn. */
const MAX_PIECES = 64;

let queue: (() => void)[] = [];
let armed = false;

/** Runs in a later turn, behind those who asked before. */
export function later(run: () => void): void {
  queue.push(run);
  arm();
}

/** A loop that sleeps between its turns must not now. */
export function workWaits(): boolean {
  return queue.length > 0;
}

function arm(): void {
  if (armed) return;
  armed = true;
  setImmediate(runSome);
}

function runSome(): void {
  armed = false;
  const runs = queue.slice(0, MAX_PIECES);
  queue = queue.slice(MAX_PIECES);
  for (const run of runs) {
    try {
      run();
    } catch (error) {
      uncaught(error);
    }
  }
  if (queue.length > 0) arm();
}
