/** The last half hour of this edge in four pictures. */
import { useMemo } from "hono/jsx/dom";
import type { Traffic, TrafficPoint } from "../answers.ts";
import { bytes, milliseconds, rate } from "../format.ts";
import { Chart } from "../parts/chart.tsx";
import type { Graph, Series } from "../parts/drawing.ts";
import { Shown } from "../parts/states.tsx";
import { usePolled } from "../polled.ts";

const MINUTES = 30;
/** Of an edge that has just started: what it has done yet is to be seen. */
const LEAST_MINUTES = 5;
const EVERY_MS = 5000;

/** `none`: it ended without an answer. */
const CLASSES = [
  ["2xx", "--chart-good"],
  ["3xx", "--chart-other"],
  ["4xx", "--chart-warning"],
  ["5xx", "--chart-bad"],
  ["none", "--chart-client"],
] as const;
const BLAMES = [
  ["client", "--chart-client"],
  ["vm", "--chart-vm"],
  ["region", "--chart-region"],
  ["edge", "--chart-edge"],
  ["database", "--chart-database"],
] as const;

export function TrafficCharts() {
  const traffic = usePolled<Traffic>(`/api/traffic?minutes=${MINUTES}`, EVERY_MS);
  return <Shown what="traffic" polled={traffic}>{(answer) => <Charts traffic={answer} />}</Shown>;
}

function Charts({ traffic }: { traffic: Traffic }) {
  const graphs = useMemo(() => graphsOf(traffic), [traffic]);
  return (
    <section class="charts" aria-label={`Traffic of the last ${MINUTES} minutes`}>
      {graphs.map(([title, graph]) => (
        <div class="panel" key={title}>
          <Chart title={title} graph={graph} />
        </div>
      ))}
    </section>
  );
}

function graphsOf({ points, step_ms: stepMs }: Traffic): readonly (readonly [title: string, graph: Graph])[] {
  const times = points.map(({ time }) => Date.parse(time) / 1000);
  const passedSeconds = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const common = { times, spanSeconds: Math.min(MINUTES, Math.max(LEAST_MINUTES, passedSeconds / 60)) * 60 };
  const seconds = stepMs / 1000;
  const series = (name: string, color: string, value: (point: TrafficPoint) => number | null): Series => ({
    name,
    color,
    values: points.map(value),
  });
  return [
    ["Requests per second by status", {
      ...common,
      stacked: true,
      format: rate,
      series: CLASSES.map(([name, color]) =>
        series(name === "none" ? "no answer" : name, color, (point) => (point.by_class[name] ?? 0) / seconds)
      ),
    }],
    ["Errors per second by blame", {
      ...common,
      stacked: true,
      format: rate,
      series: BLAMES.map(([name, color]) => series(name, color, (point) => (point.by_blame[name] ?? 0) / seconds)),
    }],
    ["Latency", {
      ...common,
      stacked: false,
      format: milliseconds,
      series: [
        series("p50", "--chart-low", (point) => point.p50_ms),
        series("p95", "--chart-middle", (point) => point.p95_ms),
        series("p99", "--chart-high", (point) => point.p99_ms),
      ],
    }],
    ["Bytes per second", {
      ...common,
      stacked: false,
      binary: true,
      format: bytes,
      series: [
        series("to clients", "--chart-other", (point) => point.bytes_out / seconds),
        series("from clients", "--chart-good", (point) => point.bytes_in / seconds),
      ],
    }],
  ];
}
