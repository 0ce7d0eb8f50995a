/** How long things took, counted by bucket. */
import { bucketOf, DURATION_BUCKETS } from "./metrics.ts";

export interface DurationSums {
  /** Per bucket of DURATION_BUCKETS (not cumulative), one more than these. */
  readonly buckets: readonly number[];
  readonly sumSeconds: number;
}

export const NO_DURATIONS: DurationSums = { buckets: new Array(DURATION_BUCKETS.length + 1).fill(0), sumSeconds: 0 };

export class DurationCounts {
  readonly #buckets: number[] = [...NO_DURATIONS.buckets];
  #sumSeconds = 0;

  recordMs(ms: number): void {
    this.#buckets[bucketOf(ms / 1000)]!++;
    this.#sumSeconds += ms / 1000;
  }

  sums(): DurationSums {
    return { buckets: [...this.#buckets], sumSeconds: this.#sumSeconds };
  }
}
