/** Memory over work, as one number: of long runs and of short ones. */
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

/**
 * What an exchange leaves behind, in bytes: from the lowest sample of the first third to the lowest of the last. The garbage collector's
 * swing lies above these, so short runs agree to some 200 bytes where their slopes differ by 500.
 */
export function leftBytes(samples: readonly Sample[]): number {
  const third = Math.floor(samples.length / 3);
  const lowest = (some: readonly Sample[]): number => Math.min(...some.map(({ residentBytes }) => residentBytes));
  const apart = samples.at(-1)!.done - samples[third - 1]!.done;
  return (lowest(samples.slice(-third)) - lowest(samples.slice(0, third))) / apart;
}
