/** A clock that is the same in all processes of the machine, whatever becomes of the time of day. */
import { nowMs } from "./clock.ts";
import { bindLibc } from "./libc.ts";

const CLOCK_MONOTONIC = 1;

/**
 * Milliseconds; null where the C library cannot be called. It is read once: from then on our own clock, which is as even, is faster, and
 * stands still within a turn of the loop.
 */
export function machineClock(): (() => number) | null {
  const time = new BigInt64Array(2);
  const beforeMs = performance.now();
  if (bindLibc()?.clockTime(CLOCK_MONOTONIC, new Uint8Array(time.buffer)) !== 0) return null;
  const aheadMs = Number(time[0]) * 1000 + Number(time[1]) / 1e6 - (beforeMs + performance.now()) / 2;
  return () => aheadMs + nowMs();
}
