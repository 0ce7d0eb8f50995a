/** Quantiles of durations that were only counted by bucket. */
import { DURATION_BUCKETS } from "./metrics.ts";

/**
 * In ms, as Prometheus reckons: evenly spread within a bucket; beyond the last bound, that bound. null: nothing was counted. Counts
 * [start, start + number of buckets) of a list.
 */
export function quantileMs(counts: ArrayLike<number>, share: number, start = 0): number | null {
  const buckets = DURATION_BUCKETS.length + 1;
  let total = 0;
  for (let i = 0; i < buckets; i++) total += counts[start + i]!;
  if (total === 0) return null;
  const rank = share * total;
  let below = 0;
  for (let i = 0; i < DURATION_BUCKETS.length; i++) {
    const count = counts[start + i]!;
    if (count > 0 && below + count >= rank) {
      const lower = DURATION_BUCKETS[i - 1] ?? 0;
      return 1000 * (lower + (DURATION_BUCKETS[i]! - lower) * (rank - below) / count);
    }
    below += count;
  }
  return 1000 * DURATION_BUCKETS.at(-1)!;
}
