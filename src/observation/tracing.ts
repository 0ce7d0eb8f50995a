/** Which exchanges are recorded as spans: the samplers of OpenTelemetry, decided by numbers alone, and what is told of those exchanges. */
import type { ExchangeReport } from "./exchange-report.ts";

/** The values of OTEL_TRACES_SAMPLER that we know. */
export const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
export type SamplerName = (typeof SAMPLERS)[number];

/** The ids of an exchange's spans, 16 hexadecimal digits each. */
export interface SpanIds {
  /** Empty where the trace begins with us. */
  readonly parent: string;
  /** Of the exchange as the client sees it. */
  readonly server: string;
  /** Of what has been sent to an endpoint, which is the parent of whatever happens there. */
  readonly client: string;
}

/** An exchange that is recorded. Plain JSON. */
export interface TracedExchange {
  readonly report: ExchangeReport;
  readonly spans: SpanIds;
}

const SAMPLED = 1;

/** What every exchange of a worker is asked about. */
export class Tracing {
  /** Whether spans are exported. Otherwise only the flags of traces that begin here say that somebody should record them. */
  readonly records: boolean;
  readonly #name: SamplerName;
  readonly #below: number;

  /** `ratio`: of the samplers that have one. */
  constructor(name: SamplerName, ratio: number, records: boolean) {
    this.records = records;
    this.#name = name;
    this.#below = ratio * 2 ** 32;
  }

  /** `parentFlags`: of a traceparent that came with the request; null without one. */
  samples(traceId: string, parentFlags: number | null): boolean {
    if (parentFlags !== null && this.#name.startsWith("parentbased_")) return (parentFlags & SAMPLED) !== 0;
    switch (this.#name) {
      case "always_on":
      case "parentbased_always_on":
        return true;
      case "always_off":
      case "parentbased_always_off":
        return false;
      case "traceidratio":
      case "parentbased_traceidratio":
        // As other SDKs do it: who samples the same share further on takes the same traces
        return Number.parseInt(traceId.slice(16, 24), 16) < this.#below;
    }
  }
}

/** One for the exchange, and one for what has been sent to an endpoint. */
export function spanCount({ upstream }: Pick<ExchangeReport, "upstream">): number {
  return upstream === "" ? 1 : 2;
}
