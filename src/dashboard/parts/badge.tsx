/** A state in a word, with a colour and a drawing: neither carries it alone. */
import type { Child } from "hono/jsx";
import { Icon, type IconName } from "./icon.tsx";

export type Tone = "good" | "warning" | "bad" | "neutral" | "plain" | "accent";

const ICONS: Readonly<Record<Tone, IconName | null>> = {
  good: "good",
  warning: "warning",
  bad: "bad",
  neutral: "unknown",
  plain: null,
  accent: null,
};

export function Badge({ tone, title, children }: { tone: Tone; title?: string; children?: Child }) {
  const icon = ICONS[tone];
  return (
    <span class={`badge ${tone}`} {...title !== undefined && { title }}>{icon !== null && <Icon name={icon} />}{children}</span>
  );
}

const VERDICTS: Readonly<Record<string, Tone>> = {
  healthy: "good",
  available: "good",
  serving: "good",
  chosen: "good",
  unhealthy: "bad",
  ejected: "bad",
  open: "bad",
  silent: "bad",
  draining: "warning",
  cordoned: "warning",
  starting: "warning",
  restarting: "warning",
  full: "warning",
};

/** Of an endpoint, a candidate or a worker. */
export function Verdict({ of, title }: { of: string; title?: string }) {
  return <Badge tone={VERDICTS[of] ?? "neutral"} {...title !== undefined && { title }}>{of}</Badge>;
}

const BLAMES: Readonly<Record<string, Tone>> = { client: "neutral", vm: "bad", region: "bad", edge: "bad", database: "bad" };

export function Blame({ of }: { of: string | null }) {
  return of === null ? <span>–</span> : <span class={`blame ${BLAMES[of] ?? "neutral"}`} data-blame={of}>{of}</span>;
}

export function statusTone(status: number): Tone {
  if (status === 0 || status >= 500) return "bad";
  return status >= 400 ? "warning" : "good";
}

/** An HTTP status; 0 is none at all. */
export function Status({ of }: { of: number | null }) {
  return <span class={`status ${statusTone(of ?? 0)}`}>{of === null || of === 0 ? "none" : of}</span>;
}
