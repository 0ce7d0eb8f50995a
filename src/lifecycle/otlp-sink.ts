/** Sends spans to a collector over OTLP/HTTP. Loaded only where there is one: nothing may import this file but by `import()`. */
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { TracedExchange } from "../observation/tracing.ts";
import { VERSION } from "../runtime/version.ts";
import { spansOf } from "./otlp-spans.ts";
import type { Settings } from "./settings.ts";
import type { SpanSink } from "./trace-exporter.ts";
import { OTLP_LOADED } from "./trace-settings.ts";

performance.mark(OTLP_LOADED);

export type CollectorSettings = Pick<Settings, "otlpHeaders" | "otlpTimeoutMs" | "otelServiceName" | "otelResource" | "regionId">;

export function openCollector(url: string, settings: CollectorSettings): SpanSink {
  const { otlpHeaders, otlpTimeoutMs, otelServiceName, otelResource, regionId } = settings;
  const resource = resourceFromAttributes({
    "service.name": "edgeproxy",
    "service.version": VERSION,
    "edgeproxy.region": regionId,
    ...otelResource,
    ...otelServiceName !== "" && { "service.name": otelServiceName },
  });
  const exporter = new OTLPTraceExporter({ url, headers: { ...otlpHeaders }, timeoutMillis: otlpTimeoutMs, concurrencyLimit: 1 });
  return {
    send: (batch) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const spans = batch.flatMap((exchange: TracedExchange) => spansOf(exchange, resource, VERSION));
      exporter.export(spans, (result) => {
        if (result.code === 0) resolve();
        else reject(result.error ?? new Error("The collector has not taken the spans"));
      });
      return promise;
    },
    close: () => exporter.shutdown(),
  };
}
