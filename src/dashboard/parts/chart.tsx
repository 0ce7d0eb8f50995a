/** A chart with a legend that tells the figures under the pointer, a sentence instead of the picture, and the figures as a table. */
import { useEffect, useRef, useState } from "hono/jsx/dom";
import { clockTime, UNKNOWN } from "../format.ts";
import { useStore } from "../store.ts";
import { theme } from "../theme.ts";
import { Drawing, type Graph } from "./drawing.ts";

interface ChartProps {
  readonly title: string;
  readonly graph: Graph;
}

const TABLE_ROWS = 15;

export function Chart({ title, graph }: ChartProps) {
  const frame = useRef<HTMLDivElement>(null);
  const drawing = useRef<Drawing | null>(null);
  const [point, setPoint] = useState<number | null>(null);
  const colors = useStore(theme);
  const names = graph.series.map(({ name }) => name).join();
  useEffect(() => {
    if (frame.current === null) return;
    const made = drawing.current = new Drawing(frame.current, graph, setPoint);
    made.show(graph);
    return () => made.remove();
  }, [colors, names]);
  useEffect(() => drawing.current?.show(graph), [graph]);
  const index = point ?? graph.times.length - 1;
  const at = graph.times[index];
  return (
    <figure class="chart">
      <figcaption>
        <h3>{title}</h3>
        <span class="chart-time">{point === null || at === undefined ? "now" : clockTime(at * 1000)}</span>
      </figcaption>
      <ul class="legend">
        {graph.series.map(({ name, color, values }) => (
          <li key={name}>
            <span class={`swatch ${color.slice(2)}`} aria-hidden="true"></span>
            {name} <b>{figure(graph, values[index])}</b>
          </li>
        ))}
      </ul>
      <div class="plot" ref={frame} aria-hidden="true"></div>
      <p class="unseen">{sentence(title, graph)}</p>
      <details>
        <summary>Figures as a table</summary>
        <ChartTable title={title} graph={graph} />
      </details>
    </figure>
  );
}

function ChartTable({ title, graph }: ChartProps) {
  const { times, series } = graph;
  const step = Math.max(1, Math.ceil(times.length / TABLE_ROWS));
  const rows = times.map((at, index) => ({ at, index })).filter(({ index }) => (times.length - 1 - index) % step === 0).reverse();
  return (
    <div class="table-frame keep" role="region" aria-label={`${title}, figures`} tabindex={0}>
      <table>
        <caption class="unseen">{title}</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {series.map(({ name }) => <th scope="col" class="number" key={name}>{name}</th>)}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ at, index }) => (
            <tr key={String(at)}>
              <th scope="row">{clockTime(at * 1000)}</th>
              {series.map(({ name, values }) => <td class="number" key={name}>{figure(graph, values[index])}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What the picture says at a glance. */
function sentence(title: string, graph: Graph): string {
  const parts = graph.series.map(({ name, values }) => {
    const most = values.reduce<number>((peak, value) => Math.max(peak, value ?? 0), 0);
    return `${name}: now ${figure(graph, values.at(-1))}, at most ${graph.format(most)}`;
  });
  return `${title} over the last ${Math.round(graph.spanSeconds / 60)} minutes. ${parts.join("; ")}.`;
}

function figure({ format }: Graph, value: number | null | undefined): string {
  return typeof value === "number" ? format(value) : UNKNOWN;
}
