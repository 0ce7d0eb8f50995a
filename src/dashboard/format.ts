/** Numbers, sizes, durations and moments as people read them. What is not known is a dash, never a zero. */

export const UNKNOWN = "–";

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

type Maybe = number | null | undefined;

/** 1,000,000 */
export function count(value: Maybe): string {
  return isKnown(value) ? WHOLE.format(Math.round(value)) : UNKNOWN;
}

/** 1.2M */
export function shortCount(value: Maybe): string {
  if (!isKnown(value)) return UNKNOWN;
  return Math.abs(value) < 10_000 ? count(value) : SHORT.format(value);
}

/** Per second: 0.03, 1.2, 340, 12.4K */
export function rate(value: Maybe): string {
  if (!isKnown(value)) return UNKNOWN;
  if (value === 0) return "0";
  if (value < 0.1) return value.toFixed(2);
  return value < 100 ? value.toFixed(1).replace(/\.0$/, "") : shortCount(value);
}

/** 12 KiB */
export function bytes(value: Maybe): string {
  if (!isKnown(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${significant(value / 2 ** (10 * step))} ${units[step]}`;
}

/** 0.4 ms, 12 ms, 1.2 s */
export function milliseconds(value: Maybe): string {
  if (!isKnown(value)) return UNKNOWN;
  if (value < 1000) return `${significant(value)} ms`;
  return duration(value);
}

/** 12 s, 3 min, 2 h, 5 d */
export function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${significant(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** 12.5 % */
export function share(part: Maybe, whole: Maybe): string {
  if (!isKnown(part) || !isKnown(whole)) return UNKNOWN;
  return whole === 0 ? "0 %" : `${significant(100 * part / whole)} %`;
}

/** Of a part between 0 and 1. */
export function percent(part: Maybe): string {
  return share(part, 1);
}

/** Before or after now, in words. */
export function relative(atMs: number, nowMs: number): string {
  const passed = nowMs - atMs;
  if (Math.abs(passed) < 1500) return "now";
  const text = duration(Math.round(Math.abs(passed) / 1000) * 1000);
  return passed > 0 ? `${text} ago` : `in ${text}`;
}

export function absolute(atMs: number): string {
  return MOMENT.format(atMs);
}

export function clockTime(atMs: number): string {
  return CLOCK.format(atMs);
}

/** `vm_unhealthy` -> `vm unhealthy` */
export function words(code: string): string {
  return code.replaceAll(/[_-]/g, " ");
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** The first group of a UUID is enough to tell regions apart. */
export function shortId(id: string): string {
  return /^[0-9a-f]{8}-/i.test(id) ? id.slice(0, 8) : id;
}

function significant(value: number): string {
  if (value === 0) return "0";
  if (value < 0.1) return value.toFixed(2);
  return value < 10 ? value.toFixed(1).replace(/\.0$/, "") : WHOLE.format(Math.round(value));
}

function isKnown(value: Maybe): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
