/** Moments and durations as people and programs write them. */

export function timeText(atMs: number): string;
export function timeText(atMs: number | null): string | null;
export function timeText(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `30m`, `1h30m`, `7d`; null: it is no duration. */
export function durationMs(text: string): number | null {
  if (!/^(\d{1,9}(ms|[smhd]))+$/.test(text)) return null;
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[smhd])/g)) sum += Number(count) * UNIT_MS[unit!]!;
  return sum;
}

/** To the microsecond. */
export function latencyMs(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 1000) / 1000;
}
