/** What a metric is made of, and short ways to write the usual ones. */
import type { Figures } from "./exposition.ts";

export type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];

export interface ScalarMetric {
  readonly type: "counter" | "gauge";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (figures: Figures) => readonly Sample[];
}

export interface HistogramMetric {
  readonly type: "histogram";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly [];
  readonly upperBounds: readonly number[];
  /** Counts per bucket, not cumulative, one more than `upperBounds`. */
  readonly counts: (figures: Figures) => readonly number[];
  readonly sum: (figures: Figures) => number;
}

/** Sums and counts, without quantiles. */
export interface SummaryMetric {
  readonly type: "summary";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly sums: (figures: Figures) => readonly (readonly [labels: Labels, sum: number, count: number])[];
}

export type MetricRow = ScalarMetric | HistogramMetric | SummaryMetric;

type ReadNumber = (figures: Figures) => number;
type ReadShares = (figures: Figures) => Readonly<Record<string, number>>;

export function counter(name: string, help: string, ...source: [ReadNumber] | [label: string, ReadShares]): ScalarMetric {
  return { type: "counter", name, help, ...scalar(source) };
}

export function gauge(name: string, help: string, ...source: [ReadNumber] | [label: string, ReadShares]): ScalarMetric {
  return { type: "gauge", name, help, ...scalar(source) };
}

/** One number, or one number for each value of one label. */
function scalar(source: [ReadNumber] | [label: string, ReadShares]): Pick<ScalarMetric, "labels" | "samples"> {
  if (source.length === 1) return { labels: [], samples: (figures) => [[{}, source[0](figures)]] };
  const [label, read] = source;
  return {
    labels: [label],
    samples: (figures) => Object.entries(read(figures)).map(([key, value]): Sample => [{ [label]: key }, value]),
  };
}
