/** Fields meant for one connection only (RFC 9110, 7.6.1), as tables by field kind: 1 = not forwarded. */
import { FieldKind, type HeaderList } from "./header-list.ts";

const KINDS = 32;

export function dropTable(kinds: readonly FieldKind[]): Uint8Array {
  const table = new Uint8Array(KINDS);
  for (const kind of kinds) table[kind] = 1;
  return table;
}

export const HOP_BY_HOP: readonly FieldKind[] = [
  FieldKind.Connection,
  FieldKind.KeepAlive,
  FieldKind.ProxyConnection,
  FieldKind.Te,
  FieldKind.TransferEncoding,
  FieldKind.Upgrade,
  FieldKind.Http2Settings,
];

/** What `Connection` may not name away: framing, routing and what the proxy itself adds (CVE-2024-45410). */
const PROTECTED = dropTable([
  FieldKind.Host,
  FieldKind.ContentLength,
  FieldKind.TransferEncoding,
  FieldKind.Expect,
  FieldKind.Te,
  FieldKind.Upgrade,
  FieldKind.Via,
  FieldKind.XForwardedFor,
  FieldKind.XForwardedProto,
  FieldKind.XForwardedHost,
  FieldKind.XForwardedOther,
  FieldKind.XRealIp,
  FieldKind.XRequestId,
  FieldKind.Forwarded,
  FieldKind.Traceparent,
  FieldKind.Tracestate,
  FieldKind.EdgeDecided,
]);

/** Whether field `index` is one that `Connection` nominates (lower-case names). */
export function isNominated(fields: HeaderList, index: number, nominated: readonly string[]): boolean {
  return PROTECTED[fields.kinds[index]!] !== 1 && nominated.includes(fields.name(index).toLowerCase());
}

/** Fields that mean nothing, or harm, in a trailer section (RFC 9110, 6.5.1). */
export const NOT_IN_TRAILERS: Uint8Array = dropTable([
  ...HOP_BY_HOP,
  FieldKind.Host,
  FieldKind.ContentLength,
  FieldKind.MisspeltFraming,
  FieldKind.Expect,
  FieldKind.Trailer,
  FieldKind.Via,
  FieldKind.XForwardedFor,
  FieldKind.XForwardedProto,
  FieldKind.XForwardedHost,
  FieldKind.XForwardedOther,
  FieldKind.XRealIp,
  FieldKind.XRequestId,
  FieldKind.Forwarded,
  FieldKind.Traceparent,
  FieldKind.Tracestate,
  FieldKind.EdgeDecided,
]);
