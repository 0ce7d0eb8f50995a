/** What the settings say about traces. */
import { Tracing } from "../observation/tracing.ts";
import type { Settings } from "./settings.ts";

/** The mark of `performance` that says OpenTelemetry has been loaded. */
export const OTLP_LOADED = "edgeproxy:otlp-loaded";

/** Whether this process has ever evaluated it. */
export function otlpLoaded(): boolean {
  return performance.getEntriesByName(OTLP_LOADED).length > 0;
}

type Destination = Pick<Settings, "otlpEndpoint" | "otlpTracesEndpoint" | "otelDisabled">;

/** Where spans are sent; null: nowhere. */
export function tracesUrl({ otlpEndpoint, otlpTracesEndpoint, otelDisabled }: Destination): string | null {
  if (otelDisabled) return null;
  if (otlpTracesEndpoint !== "") return otlpTracesEndpoint;
  return otlpEndpoint === "" ? null : `${otlpEndpoint.replace(/\/$/, "")}/v1/traces`;
}

/** null where nothing is exported and no sampler is named: then nobody asks, and traces begin unsampled. */
export function tracingOf(settings: Pick<Settings, "tracesSampler" | "tracesSamplerArg">, exportsSpans: boolean): Tracing | null {
  const { tracesSampler, tracesSamplerArg } = settings;
  if (tracesSampler === "" && !exportsSpans) return null;
  return new Tracing(tracesSampler === "" ? "parentbased_traceidratio" : tracesSampler, tracesSamplerArg, exportsSpans);
}
