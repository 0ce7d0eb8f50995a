/** Lines and areas over time on a canvas, drawn by uPlot. Colours are those of the page's style sheet. */
import uPlot from "uplot";
import { clockTime } from "../format.ts";

export interface Series {
  readonly name: string;
  /** A custom property of the style sheet: `--chart-good`. */
  readonly color: string;
  readonly values: readonly (number | null)[];
}

export interface Graph {
  /** Seconds since 1970, ascending. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  /** One upon the other, so that the top is the sum. */
  readonly stacked: boolean;
  /** Round figures are powers of two. */
  readonly binary?: boolean;
  readonly format: (value: number) => string;
  /** What the width stands for. */
  readonly spanSeconds: number;
}

const HEIGHT = 150;
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);
/** Charts of one page show the same moment under the pointer. */
const SYNC = "traffic";

export class Drawing {
  readonly #plot: uPlot;
  readonly #resizing: ResizeObserver;

  constructor(frame: HTMLElement, graph: Graph, onPoint: (index: number | null) => void) {
    this.#plot = new uPlot(optionsOf(graph, frame.clientWidth, onPoint), dataOf(graph), frame);
    this.#resizing = new ResizeObserver(() => this.#plot.setSize({ width: frame.clientWidth, height: HEIGHT }));
    this.#resizing.observe(frame);
  }

  show(graph: Graph): void {
    this.#plot.setData(dataOf(graph), false);
    const end = graph.times.at(-1) ?? Date.now() / 1000;
    this.#plot.setScale("x", { min: end - graph.spanSeconds, max: end });
  }

  remove(): void {
    this.#resizing.disconnect();
    this.#plot.destroy();
  }
}

/** uPlot draws the first series first, so the whole stack comes first and the lowest layer last. */
function dataOf({ times, series, stacked }: Graph): uPlot.AlignedData {
  if (!stacked) return [[...times], ...series.map(({ values }) => [...values])];
  const sums: number[] = times.map(() => 0);
  const layers = series.map(({ values }) => values.map((value, index) => sums[index] = (sums[index] ?? 0) + (value ?? 0)));
  return [[...times], ...layers.reverse()];
}

function optionsOf(
  { series, stacked, format, binary = false }: Graph,
  width: number,
  onPoint: (index: number | null) => void,
): uPlot.Options {
  const grid = { stroke: color("--line"), width: 1 };
  const axis = { stroke: color("--muted"), grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 18, 0, 0],
    cursor: { drag: { x: false, y: false, setScale: false }, points: { show: !stacked, size: 6 }, sync: { key: SYNC } },
    scales: { x: { time: true }, y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, size: 24, gap: 4, space: 70, values: (_plot, splits) => splits.map((at) => clockTime(at * 1000).slice(0, 5)) },
      {
        ...axis,
        size: 52,
        gap: 4,
        space: 34,
        values: (_plot, splits) => splits.map(format),
        ...binary && { incrs: POWERS_OF_TWO },
      },
    ],
    series: [{}, ...(stacked ? series.toReversed() : series).map((each) => seriesOf(each, stacked))],
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? null)] },
  };
}

function seriesOf({ name, color: property }: Series, stacked: boolean): uPlot.Series {
  const stroke = color(property);
  return { label: name, stroke, width: stacked ? 1 : 1.5, points: { show: false }, ...stacked && { fill: stroke } };
}

function color(property: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(property).trim();
}
