/** After a recovery an endpoint gets a tenth of its share, and more and more over the time that its policy gives it. */

const LEAST = 0.1;

/** 1 when the time is over, or there is none. */
export function slowStartShare(sinceMs: number, slowStartMs: number): number {
  if (sinceMs >= slowStartMs) return 1;
  return LEAST + (1 - LEAST) * Math.max(0, sinceMs) / slowStartMs;
}
