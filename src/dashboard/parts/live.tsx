/** How fresh a live list is, and the button that holds it still to be read. */
import type { LiveEvents } from "../live-events.ts";
import { count } from "../format.ts";
import { Badge } from "./badge.tsx";

interface LiveProps {
  readonly live: Pick<LiveEvents<unknown>, "state" | "waiting" | "gap" | "failure">;
  readonly paused: boolean;
  readonly onPause: (paused: boolean) => void;
}

export function Live({ live: { state, waiting, gap, failure }, paused, onPause }: LiveProps) {
  return (
    <span class="live">
      {gap && <Badge tone="warning" title="More happened than could be sent">some left out</Badge>}
      {state === "live" && !paused && <span class="pulse" aria-hidden="true"></span>}
      <span role="status">
        {paused ? "Paused" : state === "live" ? "Live" : failure === null ? "Connecting…" : failure.message}
      </span>
      <button type="button" class="small" aria-pressed={paused ? "true" : "false"} onClick={() => onPause(!paused)}>
        {paused ? `Resume${waiting > 0 ? ` (${count(waiting)} new)` : ""}` : "Pause"}
      </button>
    </span>
  );
}
