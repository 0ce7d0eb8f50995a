/** The steps that lead to a decision, for whoever asks why: what `decide` saw, in its order. Nobody else pays for them. */
import type { BalanceKind } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { Availability } from "../upstream/availability.ts";

/** Of an endpoint: the host leads there now, or did a moment ago. */
export type When = "now" | "before";

/**
 * `tried`: for this request, without success. `passed`: the request comes from that region. `weightless`: its weight is 0, so it takes
 * nobody new.
 */
export type Finding = Availability | "tried" | "passed" | "weightless";

export type Step =
  | { readonly kind: "edges-passed"; readonly edges: readonly string[]; readonly loop: boolean }
  | { readonly kind: "no-table" }
  | { readonly kind: "no-route"; readonly host: string }
  /** `route`: the name or wildcard of the table. */
  | { readonly kind: "route"; readonly route: string; readonly endpoints: number }
  /** Looking back, at endpoints that the host does not lead to now. */
  | { readonly kind: "looked-back"; readonly endpoints: number }
  | { readonly kind: "endpoint"; readonly endpoint: EndpointRecord; readonly when: When; readonly finding: Finding }
  /** Two at random, the first of them unless the second has fewer attempts under way. */
  | { readonly kind: "drawn"; readonly among: number; readonly drawn: readonly [Drawn, Drawn] }
  /** The policy that applies. `service`: what the split led to; null: it answers by itself. */
  | { readonly kind: "policy"; readonly id: string; readonly origin: string; readonly service: string | null }
  /** Anything about policies that is best said in words. */
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "limit"; readonly allowed: boolean; readonly remaining: number; readonly limit: number; readonly by: string }
  /** The endpoint that the client's cookie names; `takes`: it can take the request, so it does. */
  | { readonly kind: "sticky"; readonly endpoint: EndpointRecord; readonly finding: Finding; readonly takes: boolean }
  /** `key`: the one that the balancer chose; `why`: in a few words. */
  | { readonly kind: "balanced"; readonly by: BalanceKind; readonly among: number; readonly key: string; readonly why: string };

export interface Drawn {
  readonly key: string;
  /** Attempts under way. */
  readonly load: number;
}

export type Trace = (step: Step) => void;

export function stepText(step: Step): string {
  switch (step.kind) {
    case "edges-passed":
      return `has passed ${step.edges.join(", ")}${step.loop ? ": a loop" : ""}`;
    case "no-table":
      return "no routing table is loaded yet";
    case "no-route":
      return `no route for host ${step.host}, neither by name nor by wildcard`;
    case "route":
      return `route ${step.route} with ${step.endpoints} endpoint(s)`;
    case "looked-back":
      return `led to ${step.endpoints} other endpoint(s) until a moment ago`;
    case "endpoint":
      return `${step.endpoint.key}: ${findingText(step.endpoint, step.finding)}`;
    case "drawn": {
      const [one, other] = step.drawn.map(({ key, load }) => `${key} with ${load} under way`);
      return `drawn of ${step.among}: ${one}, ${other}`;
    }
    case "policy":
      return `policy ${step.id} (${step.origin})${step.service === null ? "" : ` leads to service ${step.service}`}`;
    case "note":
      return step.text;
    case "limit":
      return `rate limit: ${step.remaining} of ${step.limit} left, ${step.by}${step.allowed ? "" : ": refused"}`;
    case "sticky":
      return `the client sticks to ${step.endpoint.key}: ${findingText(step.endpoint, step.finding)}`;
    case "balanced":
      return `${step.by} of ${step.among}: ${step.key}${step.why === "" ? "" : `, ${step.why}`}`;
  }
}

function findingText({ kind, region }: EndpointRecord, finding: Finding): string {
  switch (finding) {
    case "tried":
      return "tried already";
    case "passed":
      return "the request comes from that region";
    case "draining":
      return `${placeText(kind, region)}, cordoned`;
    case "ejected":
      return `${placeText(kind, region)}, ejected for what live traffic saw`;
    case "trial":
      return `${placeText(kind, region)}, ejected for what live traffic saw, and due for a trial`;
    case "open":
      return `${placeText(kind, region)}, its breaker is open`;
    case "full":
      return `${placeText(kind, region)}, carries as many requests as it may`;
    case "busy":
      return `${placeText(kind, region)}, available, but above its soft limit`;
    case "weightless":
      return `${placeText(kind, region)}, weight 0`;
    default:
      return `${placeText(kind, region)}, ${finding}`;
  }
}

function placeText(kind: EndpointRecord["kind"], region: string): string {
  return kind === "vm" ? "VM here" : `region ${region}`;
}
