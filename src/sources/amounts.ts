/** Durations and sizes as settings and policies spell them: `250ms`, `1m30s`; `512`, `32KiB`, `10MB`. */

const DURATION_UNITS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

export function parseDuration(text: string): number | null {
  if (!/^(\d{1,12}(\.\d{1,6})?(ms|s|m|h))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) total += Number(amount) * (DURATION_UNITS[unit!] ?? NaN);
  return Math.round(total);
}

export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  let rest = ms;
  let text = "";
  for (const [unit, length] of Object.entries(DURATION_UNITS)) {
    const amount = Math.floor(rest / length);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * length;
  }
  return text;
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  gib: 2 ** 30,
  gb: 1e9,
  mib: 2 ** 20,
  mb: 1e6,
  kib: 2 ** 10,
  kb: 1e3,
  b: 1,
};

export function parseSize(text: string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([kmg]i?b|b)?$/i.exec(text);
  if (match === null) return null;
  const bytes = Number(match[1]) * (SIZE_UNITS[(match[2] ?? "b").toLowerCase()] ?? NaN);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

export function formatSize(bytes: number): string {
  const names: readonly (readonly [string, string])[] = [["gib", "GiB"], ["mib", "MiB"], ["kib", "KiB"]];
  for (const [unit, name] of names) {
    const length = SIZE_UNITS[unit]!;
    if (bytes >= length && bytes % length === 0) return `${bytes / length}${name}`;
  }
  return String(bytes);
}
