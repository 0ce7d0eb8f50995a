/*  Where routes come from. A source reads everything there is, whole and validated; `refresh` decides when, compares with what
 *  is served, and publishes the difference.
 *
 *  The change feed will be a source that also says what changed since a reading: it then gets a second, optional method that
 *  waits for changes and yields the hosts concerned, and `refresh` calls it between whole readings. Whole readings stay: they
 *  are what every (re)connect begins with.
 */
import type { CompiledRoutes } from "../table/compile.ts";

/** A row of the platform's regions, for the admin API. */
export interface RegionRow {
  readonly id: string;
  /** null when the row has none. */
  readonly publicIpv4: string | null;
}

export interface SourceReading extends CompiledRoutes {
  readonly regions: readonly RegionRow[];
}

export interface Source {
  /** For logs and status: `postgres`. */
  readonly name: string;
  /** Rejects when the source cannot be read; bad rows are part of the reading. Never called twice at once. */
  read(signal: AbortSignal): Promise<SourceReading>;
  /** Gives everything back; nothing is read afterwards. */
  close(): Promise<void>;
}
