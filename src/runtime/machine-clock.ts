/** A clock that is the same in all processes of the machine, whatever becomes of the time of day. */
import { nowMs } from "./clock.ts";
import { bindLibc, type Libc } from "./libc.ts";

const CLOCK_MONOTONIC = 1;
/** The quickest counts: the first call takes milliseconds, and on a busy machine any may be interrupted. */
const READINGS = 20;

/**
 * Milliseconds; null where the C library cannot be called. It is read at the start only: from then on our own clock, which is as even, is faster, and
 * stands still within a turn of the loop.
 */
export function machineClock(): (() => number) | null {
  const libc = bindLibc();
  if (libc === null) return null;
  let aheadMs = 0, tookMs = Infinity;
  for (let i = 0; i < READINGS; i++) {
    const beforeMs = performance.now();
    const monotonicMs = readMonotonic(libc);
    if (monotonicMs === null) return null;
    const afterMs = performance.now();
    if (afterMs - beforeMs >= tookMs) continue;
    tookMs = afterMs - beforeMs;
    aheadMs = monotonicMs - (beforeMs + afterMs) / 2;
  }
  return () => aheadMs + nowMs();
}

function readMonotonic(libc: Libc): number | null {
  const time = new BigInt64Array(2);
  if (libc.clockTime(CLOCK_MONOTONIC, new Uint8Array(time.buffer)) !== 0) return null;
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}
