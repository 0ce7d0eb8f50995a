/** What is left of the share of requests of something that drains: all before it begins, none when it is over. */
import type { DrainPolicy } from "./policy.ts";

/** 0 to 1, linear in between. `nowMs`: since 1970. */
export function drainShare(drain: DrainPolicy | null, nowMs: number): number {
  if (drain === null || nowMs <= drain.startAtMs) return 1;
  const left = 1 - (nowMs - drain.startAtMs) / drain.overMs;
  return left > 0 ? left : 0; // also where it is over at once
}
