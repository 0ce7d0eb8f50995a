/** Who has changed what: one event and one log line per change, whatever the path, and whether it succeeded or not. */
import type { AdminDeps } from "./deps.ts";

export interface Change {
  readonly action: string;
  /** What it was done to; empty: the edge. */
  readonly subject: string;
  /** As it was asked for. */
  readonly details: Readonly<Record<string, unknown>>;
  /** Address, or `unix socket`. */
  readonly by: string;
  readonly succeeded: boolean;
}

/** Bodies may be larger than what is worth keeping. */
const MOST_DETAILS_LENGTH = 2048;

export function recordChange(change: Change, { events, log }: Pick<AdminDeps, "events" | "log">): void {
  const text = JSON.stringify(change.details);
  const details = text.length <= MOST_DETAILS_LENGTH ? change.details : { cut: text.slice(0, MOST_DETAILS_LENGTH) };
  const { action, subject, by, succeeded } = change;
  events.publish({ type: "audit", action, subject, details, by, succeeded });
  log.info("admin change", { by, action, subject, details, succeeded });
}
