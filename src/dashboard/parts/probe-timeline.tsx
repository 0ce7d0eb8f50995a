/** The last probes of an endpoint: the higher the slower, and those that failed marked by colour and by shape. */
import type { Probe } from "../answers.ts";
import { clockTime, milliseconds, plural } from "../format.ts";

const STEP = 8;
const WIDTH = 6;
const HEIGHT = 44;
const LEAST = 4;

export function ProbeTimeline({ probes }: { probes: readonly Probe[] }) {
  if (probes.length === 0) return <p class="state">It has not been probed yet.</p>;
  const inOrder = [...probes].sort((one, other) => Date.parse(one.time) - Date.parse(other.time));
  const slowest = Math.max(...inOrder.map((probe) => probe.latency_ms ?? 0), 1);
  const failed = inOrder.filter(({ healthy }) => !healthy);
  const last = failed.at(-1);
  return (
    <figure class="timeline">
      <svg
        viewBox={`0 0 ${inOrder.length * STEP} ${HEIGHT}`}
        width={inOrder.length * STEP}
        height={HEIGHT}
        aria-hidden="true"
        focusable="false"
      >
        {inOrder.map((probe, index) => <Bar probe={probe} at={index * STEP} slowest={slowest} key={probe.time} />)}
      </svg>
      <figcaption>
        {plural(inOrder.length, "probe")} since {clockTime(Date.parse(inOrder[0]?.time ?? ""))}, {failed.length}{" "}
        failed; the slowest took {milliseconds(slowest)}
        {last !== undefined && <>. Last failure at {clockTime(Date.parse(last.time))}: {last.reason}</>}
      </figcaption>
    </figure>
  );
}

function Bar({ probe, at, slowest }: { probe: Probe; at: number; slowest: number }) {
  const height = probe.healthy ? LEAST + (HEIGHT - LEAST) * (probe.latency_ms ?? 0) / slowest : HEIGHT;
  const title = `${clockTime(Date.parse(probe.time))}: ${probe.healthy ? "healthy" : probe.reason} ${
    milliseconds(probe.latency_ms)
  }`;
  return (
    <g>
      <title>{title}</title>
      <rect class={probe.healthy ? "passed" : "failed"} x={at} y={HEIGHT - height} width={WIDTH} height={height} rx={1} />
    </g>
  );
}
