/** Under which ids an exchange is known: what the client has said, and what we make of that. */
import type { SpanIds, Tracing } from "../observation/tracing.ts";
import { FieldKind, type HeaderList } from "../wire/header-list.ts";
import { traceIdAt, traceParent, traceparentAt } from "../wire/trace-context.ts";
import type { Exchange } from "./exchange.ts";
import { acceptableRequestId, nextSpanId } from "./request-id.ts";

/** null: none that we would keep. */
export function givenRequestId(fields: HeaderList): string | null {
  const given = fields.joined(FieldKind.XRequestId);
  return given === null ? null : acceptableRequestId(given);
}

/** null: the client has begun no trace. */
export function givenTraceId(fields: HeaderList): string | null {
  const at = traceparentAt(fields);
  return at < 0 ? null : traceIdAt(fields.bytes, at);
}

/** null: it is not recorded. */
export function spansOf(exchange: Exchange, tracing: Tracing): SpanIds | null {
  const { fields } = exchange.head;
  const at = traceparentAt(fields);
  const parent = at < 0 ? null : traceParent(fields.bytes, at);
  if (parent !== null && !tracing.records) return null; // not ours to say
  if (!tracing.samples(exchange.traceId, parent?.flags ?? null)) return null;
  return { parent: parent?.parentId ?? "", server: nextSpanId(), client: nextSpanId() };
}
