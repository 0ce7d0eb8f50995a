/** The head that an endpoint gets: the client's, without what was meant for us alone, with what the proxy knows. */
import type { IsTrusted } from "../downstream/client-address.ts";
import { clientAddress } from "../downstream/client-address.ts";
import type { Exchange } from "../downstream/exchange.ts";
import type { SpanIds } from "../observation/tracing.ts";
import type { ByteWriter } from "../wire/bytes.ts";
import { FieldKind, type HeaderList } from "../wire/header-list.ts";
import { dropTable, HOP_BY_HOP } from "../wire/hop-by-hop.ts";
import { CHUNKED } from "../wire/h1/framing.ts";
import { elements } from "../wire/h1/head-rules.ts";
import type { RequestHead } from "../wire/h1/message-head.ts";
import { writeFields, writeFieldsWithout } from "../wire/h1/head-writer.ts";
import type { FieldChanges } from "../wire/field-edits.ts";
import { RANDOM, SAMPLED, traceParent, traceparentAt } from "../wire/trace-context.ts";

/** What does not change from request to request. */
export interface ForwardingIdentity {
  /** This region's name in Via. */
  readonly pseudonym: string;
  readonly isTrusted: IsTrusted;
  /** The end of the head of most requests: whose Via is ours alone, and whose trace begins here. */
  readonly ending: string;
  /** Of what edges tell each other; empty: nothing. */
  readonly secret: string;
}

export function forwardingIdentity(pseudonym: string, isTrusted: IsTrusted, secret = ""): ForwardingIdentity {
  return { pseudonym, isTrusted, secret, ending: `-00\r\nVia: 1.1 ${pseudonym}\r\n\r\n` };
}

/** Set anew on every request; `X-Forwarded-*` and `Forwarded` of peers that we do not trust go with them. */
const OURS: readonly FieldKind[] = [
  FieldKind.Via,
  FieldKind.XForwardedFor,
  FieldKind.XForwardedProto,
  FieldKind.XForwardedHost,
  FieldKind.XRealIp,
  FieldKind.XRequestId,
  FieldKind.EdgeDecided,
];
const SPOOFABLE: readonly FieldKind[] = [FieldKind.XForwardedOther, FieldKind.Forwarded];

/** An upgrade that the client wishes for and the endpoint may agree to (RFC 9110, 7.8). */
export interface UpgradeOffer {
  /** Lower-case. */
  readonly protocols: readonly string[];
  /** What the Upgrade field says instead of what the client said; null when its bytes go on as they came. */
  readonly rewritten: string | null;
}

const DASH = 0x2d;
const ZERO = 0x30;
const PROTOCOL = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(\/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?$/;

/** Drop tables by what is kept: [trusted peer][Upgrade kept][Host rewritten][HTTP/1.0][our own traceparent][a trace that begins here]. */
const DROPS: readonly Uint8Array[] = Array.from({ length: 64 }, (_, bits) => {
  const trusted = (bits & 1) !== 0, upgrade = (bits & 2) !== 0, rewriteHost = (bits & 4) !== 0, old = (bits & 8) !== 0;
  const ownParent = (bits & 16) !== 0, traceless = (bits & 32) !== 0;
  return dropTable([
    ...HOP_BY_HOP.filter((kind) => !(upgrade && kind === FieldKind.Upgrade)),
    ...OURS,
    ...(trusted ? [] : SPOOFABLE),
    ...(rewriteHost ? [FieldKind.Host] : []),
    ...(old ? [FieldKind.Expect] : []), // RFC 9110, 10.1.1: to be ignored, since no 100 can be sent to such a client
    ...(ownParent ? [FieldKind.Traceparent] : []),
    ...(traceless ? [FieldKind.Tracestate] : []), // it belongs to the traceparent that it came with
  ]);
});

/** The protocols that may be tunnelled: all that the client names but h2c, which would smuggle requests past the proxy; null for none. */
export function upgradeOffer(exchange: Exchange): UpgradeOffer | null {
  const { head } = exchange;
  if (!head.upgrade || head.minor === 0 || exchange.requestLength !== 0) return null;
  const named = elements(head.fields.joined(FieldKind.Upgrade) ?? "").filter((name) => name !== "");
  const kept = named.filter((name) => PROTOCOL.test(name) && !name.toLowerCase().startsWith("h2c"));
  if (kept.length === 0) return null;
  return {
    protocols: kept.map((name) => name.toLowerCase()),
    rewritten: kept.length === named.length ? null : kept.join(", "),
  };
}

/** The joined Via field: the way a request has come; null without one. */
export function viaOf(exchange: Exchange): string | null {
  return exchange.head.fields.joined(FieldKind.Via);
}

/** What a policy changes of a head. */
export interface HeadEdits {
  /** Origin form; null: as it came. */
  readonly target: string | null;
  readonly requestFields: FieldChanges | null;
}

/** Writes the whole head, with its empty line. */
export function writeRequestHead(
  out: ByteWriter,
  exchange: Exchange,
  offer: UpgradeOffer | null,
  identity: ForwardingIdentity,
  edits: HeadEdits | null = null,
): void {
  const { head, peer } = exchange;
  const { fields } = head;
  const absolute = head.pathEnd - head.pathStart !== head.target.length;
  const keepUpgrade = offer?.rewritten === null;
  const traceless = traceparentAt(fields) < 0;
  const ownParent = traceless || exchange.spans !== null;
  const drops = DROPS[
    (peer.trusted ? 1 : 0) | (keepUpgrade ? 2 : 0) | (absolute ? 4 : 0) | (head.minor === 0 ? 8 : 0) |
    (ownParent ? 16 : 0) | (traceless ? 32 : 0)
  ]!;
  const target = edits === null ? null : edits.target;
  const asReceived = !absolute && head.minor === 1 && target === null;
  if (!asReceived) writeRequestLine(out, head, absolute, target);
  const changes = edits === null ? null : edits.requestFields;
  if (absolute && (changes === null || !changes.host)) out.text(`Host: ${head.authority}\r\n`);
  if (changes === null || changes.dropped === null) writeFields(out, fields, drops, head.nominated, asReceived ? head.start : -1);
  else writeFieldsWithout(out, fields, drops, head.nominated, changes.dropped, asReceived ? head.start : -1);
  if (changes !== null) out.texts(changes.lines);
  if (exchange.requestLength === CHUNKED) out.text("Transfer-Encoding: chunked\r\n");
  if (offer !== null) out.text(`${offer.rewritten === null ? "" : `Upgrade: ${offer.rewritten}\r\n`}Connection: Upgrade\r\n`);
  else if (head.acceptsTrailers) out.text("TE: trailers\r\nConnection: TE\r\n");
  writeForwardingFields(out, exchange, ownParent, identity);
}

function writeRequestLine(out: ByteWriter, head: RequestHead, absolute: boolean, rewritten: string | null): void {
  out.text(`${head.method} ${rewritten ?? (absolute ? head.originForm : head.target)} HTTP/1.1\r\n`);
}

/** Client, scheme and host as the client knows them, the request's id and trace, the way so far; and the head's empty line. */
function writeForwardingFields(out: ByteWriter, exchange: Exchange, ownParent: boolean, identity: ForwardingIdentity): void {
  const { head, peer } = exchange;
  // Piece by piece: a joined string would be put together first, and then copied
  if (peer.trusted) out.text(trustedFields(exchange, identity));
  else {
    const { before, after } = peer.forwarded ??= untrustedFields(exchange);
    out.text(before);
    out.text(head.authority);
    out.text(after);
  }
  out.text(exchange.requestId);
  const spans = ownParent ? exchange.spans : null;
  const fresh = ownParent && spans === null;
  if (spans !== null) out.text(sampledTraceparent(exchange, spans));
  else if (fresh) beginTrace(out, exchange.traceId);
  const via = viaOf(exchange);
  if (fresh && head.minor === 1 && (via === null || via === "")) out.text(identity.ending);
  else {
    const way = via === null || via === "" ? "" : `${via}, `;
    out.text(`${fresh ? "-00" : ""}\r\nVia: ${way}1.${head.minor} ${identity.pseudonym}\r\n\r\n`);
  }
}

/**
 * Begins a trace that nobody records; the flags are left to be written. Half of its id serves as the id of its first span, which need not
 * be random, only different from others of the trace, and of which no text is made.
 */
function beginTrace(out: ByteWriter, traceId: string): void {
  out.text("\r\ntraceparent: 00-");
  const start = out.length;
  out.text(traceId);
  out.repeat(DASH, isZero(out.bytes, start + 16, start + 32) ? start : start + 16, 16);
}

/** The parent of what happens at the endpoint is the span that we record. Of the flags, those that we do not know are cleared. */
function sampledTraceparent({ head: { fields }, traceId }: Exchange, { client }: SpanIds): string {
  const given = traceparentAt(fields);
  const flags = SAMPLED | (given < 0 ? 0 : traceParent(fields.bytes, given).flags & RANDOM);
  return `\r\ntraceparent: 00-${traceId}-${client}-0${flags}`;
}

/** Whether all digits [start, end) are zero. */
function isZero(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== ZERO) return false;
  return true;
}

/** As the client speaks: to us, or to the trusted proxy before us. */
export function schemeOf({ head, peer, scheme }: Pick<Exchange, "head" | "peer" | "scheme">): string {
  return peer.trusted ? given(head.fields, FieldKind.XForwardedProto) ?? scheme : scheme;
}

function trustedFields({ head, peer, scheme }: Exchange, identity: ForwardingIdentity): string {
  const { fields } = head;
  const before = fields.joined(FieldKind.XForwardedFor);
  const client = clientAddress(peer.address, before, identity.isTrusted);
  return `X-Forwarded-For: ${before === null || before === "" ? "" : `${before}, `}${peer.address}\r\n` +
    `X-Forwarded-Proto: ${given(fields, FieldKind.XForwardedProto) ?? scheme}\r\n` +
    `X-Forwarded-Host: ${given(fields, FieldKind.XForwardedHost) ?? head.authority}\r\nX-Real-IP: ${client}\r\nX-Request-Id: `;
}

/** The same for every request of a connection, but for the host between them. */
function untrustedFields({ peer, scheme }: Exchange): { readonly before: string; readonly after: string } {
  return {
    before: `X-Forwarded-For: ${peer.address}\r\nX-Forwarded-Proto: ${scheme}\r\nX-Forwarded-Host: `,
    after: `\r\nX-Real-IP: ${peer.address}\r\nX-Request-Id: `,
  };
}

function given(fields: HeaderList, kind: FieldKind): string | null {
  const value = fields.joined(kind);
  return value === "" ? null : value;
}
