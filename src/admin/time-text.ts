/** Moments as people and programs read them. */

export function timeText(atMs: number): string;
export function timeText(atMs: number | null): string | null;
export function timeText(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}
