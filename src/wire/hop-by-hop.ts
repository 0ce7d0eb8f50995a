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
const PROTECTED = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "expect",
  "via",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-real-ip",
  "x-request-id",
  "te",
  "upgrade",
]);

/** Whether field `index` is one that `Connection` nominates (lower-case names). */
export function isNominated(fields: HeaderList, index: number, nominated: readonly string[]): boolean {
  const name = fields.name(index).toLowerCase();
  return nominated.includes(name) && !PROTECTED.has(name);
}

/** Fields that mean nothing, or harm, in a trailer section (RFC 9110, 6.5.1). */
export const NOT_IN_TRAILERS: Uint8Array = dropTable([
  ...HOP_BY_HOP,
  FieldKind.Host,
  FieldKind.ContentLength,
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
]);
