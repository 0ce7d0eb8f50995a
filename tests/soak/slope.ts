/** Memory over work, as one number. */
export interface Sample {
  /** Exchanges done. */
  readonly done: number;
  readonly residentBytes: number;
}

/** KiB per 1000 exchanges: least squares over the second half, when caches are full and pools are grown. */
export function slopeOf(samples: readonly Sample[]): number {
  const half = samples.slice(Math.floor(samples.length / 2));
  const mean = (of: (sample: Sample) => number): number => half.reduce((sum, sample) => sum + of(sample), 0) / half.length;
  const meanDone = mean(({ done }) => done), meanBytes = mean(({ residentBytes }) => residentBytes);
  const covariance = mean(({ done, residentBytes }) => (done - meanDone) * (residentBytes - meanBytes));
  const variance = mean(({ done }) => (done - meanDone) ** 2);
  return covariance / variance * 1000 / 1024;
}
