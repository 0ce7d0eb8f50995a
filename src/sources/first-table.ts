/** The last good table, read beside the first reading of the source, and served where that fails or takes longer. */
import type { Timers } from "../runtime/timers.ts";
import type { LastGood } from "./last-good.ts";
import type { SavedTable } from "./last-good-file.ts";
import type { ServedTable } from "./served-table.ts";

/** How long a source may take for the first table. */
const PATIENCE_MS = 250;
/** As the source of a table. */
export const LAST_GOOD = "last good table";

export interface Beginning {
  readonly lastGood: Pick<LastGood, "read">;
  readonly served: ServedTable;
  /** The end of the first reading, well or not. */
  readonly first: Promise<void>;
  /** There is a table. */
  readonly loaded: Promise<void>;
  readonly stopping: AbortSignal;
  readonly timers: Timers;
}

/** What is served now; null: nothing of it. */
export async function beginWithLastGood(beginning: Beginning): Promise<SavedTable | null> {
  const { lastGood, served, first, loaded, stopping, timers } = beginning;
  const startMs = timers.nowMs();
  const patience = new Promise<void>((resolve) => timers.after(PATIENCE_MS, resolve));
  const unneeded = new AbortController();
  void loaded.then(() => unneeded.abort(new Error("The source has delivered a table")));
  const saved = await lastGood.read(AbortSignal.any([stopping, unneeded.signal]));
  if (saved === null) return null;
  await Promise.race([first, patience]);
  if (stopping.aborted) return null;
  const cause = { reason: "start", source: LAST_GOOD, durationMs: timers.nowMs() - startMs };
  return await served.begin(saved.routes, cause) ? saved : null;
}
