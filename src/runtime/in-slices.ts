/** Long work cut into slices, so that a turn of the event loop has room for others. */
import { later } from "./later.ts";

/** What a turn may be longer for it. */
const SLICE_MS = 0.5;
/** Pieces between two looks at the clock. */
const STEP = 64;

/** Calls `work` for each of the values; what takes no longer than a slice is done when this returns. */
export async function inSlices<T>(values: Iterable<T>, work: (value: T) => void): Promise<void> {
  let endAtMs = performance.now() + SLICE_MS;
  let left = STEP;
  for (const value of values) {
    work(value);
    if (--left > 0) continue;
    left = STEP;
    if (performance.now() < endAtMs) continue;
    await new Promise<void>(later);
    endAtMs = performance.now() + SLICE_MS;
  }
}

/** Runs what is cut into pieces of some tenths of a millisecond, and answers what it ends with. */
export async function piecesInSlices<T>(pieces: Iterator<void, T>): Promise<T> {
  for (let endAtMs = performance.now() + SLICE_MS;;) {
    const piece = pieces.next();
    if (piece.done === true) return piece.value;
    if (performance.now() < endAtMs) continue;
    await new Promise<void>(later);
    endAtMs = performance.now() + SLICE_MS;
  }
}
