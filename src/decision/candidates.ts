/** What became of each endpoint that a decision looked at, and why: from its steps, for people. */
import type { EndpointRecord } from "../table/record.ts";
import type { Decision } from "./decision.ts";
import type { Finding, Step, When } from "./trace.ts";

export interface Candidate {
  readonly endpoint: EndpointRecord;
  readonly when: When;
  readonly finding: Finding;
  /** `awaited`: for the verdict of its probe. */
  readonly outcome: "chosen" | "awaited" | "lost";
  readonly why: string;
}

type Found = Extract<Step, { kind: "endpoint" }>;

/** In the order in which they were looked at, each once. */
export function candidatesOf(steps: readonly Step[], decision: Decision): Candidate[] {
  const drawn = steps.find((step) => step.kind === "drawn");
  const candidates = new Map<string, Candidate>();
  const by = steps.find((step) => step.kind === "balanced")?.by;
  const stuck = steps.some((step) => step.kind === "sticky" && step.takes);
  const how = stuck ? "the client sticks to it" : by !== undefined ? `the balancer's choice: ${by}` : null;
  for (const step of steps) {
    if (step.kind !== "endpoint" || candidates.has(step.endpoint.key)) continue;
    const { endpoint, when, finding } = step;
    candidates.set(endpoint.key, { endpoint, when, finding, ...outcomeOf(step, decision, drawn, how) });
  }
  return [...candidates.values()];
}

function outcomeOf(
  found: Found,
  decision: Decision,
  drawn: Extract<Step, { kind: "drawn" }> | undefined,
  how: string | null,
): Pick<Candidate, "outcome" | "why"> {
  const { key } = found.endpoint;
  const place = drawn?.drawn.findIndex((each) => each.key === key) ?? -1;
  switch (decision.kind) {
    case "forward":
    case "fall-back":
      if (decision.endpoint.key === key) return { outcome: "chosen", why: how ?? whyChosen(found, drawn !== undefined) };
      if (place >= 0) return { outcome: "lost", why: "the other one that was drawn is less busy, or was drawn first" };
      return { outcome: "lost", why: whyLost(found, decision.endpoint, drawn !== undefined) };
    case "probe-first":
      if (decision.endpoints.some((each) => each.key === key)) {
        return { outcome: "awaited", why: "the request waits for the verdict of its probe" };
      }
      return { outcome: "lost", why: whyOut(found.finding) ?? "a VM here comes first, once its probe has passed" };
    case "table-first":
    case "respond":
    case "queue":
    case "refuse":
      return { outcome: "lost", why: whyOut(found.finding) ?? "the request is refused before" };
  }
}

function whyChosen({ when, endpoint }: Found, wasDrawn: boolean): string {
  if (wasDrawn) return "the less busy of two that were drawn";
  if (when === "before") return "nothing that the host leads to now can take it, and it led here a moment ago";
  return endpoint.kind === "vm" ? "a VM here that can take it" : "no VM here can take it";
}

function whyLost(found: Found, chosen: EndpointRecord, wasDrawn: boolean): string {
  const out = whyOut(found.finding);
  if (out !== null) return out;
  if (found.endpoint.kind === "region" && chosen.kind === "vm") return "a VM here can take it";
  if (found.finding === "failing") return "has just failed, and others have not";
  if (found.finding === "unprobed" || found.finding === "overdue") return "no verdict on it yet, and another endpoint can take it";
  return wasDrawn ? "not drawn" : "another endpoint comes first";
}

/** Why no request may go there at all; null: one may. */
function whyOut(finding: Finding): string | null {
  switch (finding) {
    case "tried":
      return "it has been tried for this request";
    case "passed":
      return "the request comes from that region";
    case "unhealthy":
      return "it does not pass its health check";
    case "draining":
      return "an operator has cordoned it";
    case "ejected":
      return "live traffic saw it fail, so it is out for a while";
    case "trial":
      return "live traffic saw it fail: it is tried only where nothing else can take the request";
    case "open":
      return "its breaker is open";
    case "full":
      return "it carries as many requests as it may";
    case "weightless":
      return "its weight is 0";
    case "available":
    case "busy":
    case "failing":
    case "unprobed":
    case "overdue":
      return null;
  }
}
