/** A moment: how long ago, and on a closer look when exactly. */
import { absolute, relative, UNKNOWN } from "../format.ts";
import { Store, useStore } from "../store.ts";

const TICK_MS = 1000;

/** One clock for all moments on the page. */
const clock: Store<number> = new Store(Date.now());
setInterval(() => {
  if (!document.hidden) clock.set(Date.now());
}, TICK_MS);

/** `at` as the API writes it (RFC 3339), or in ms. */
export function Moment({ at }: { at: string | number | null | undefined }) {
  const nowMs = useStore(clock);
  const atMs = typeof at === "string" ? Date.parse(at) : at;
  if (atMs === null || atMs === undefined || Number.isNaN(atMs)) return <span>{UNKNOWN}</span>;
  return <time datetime={new Date(atMs).toISOString()} title={absolute(atMs)}>{relative(atMs, nowMs)}</time>;
}
