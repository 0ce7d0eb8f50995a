/** The head of an endpoint's answer as the client gets it: hop-by-hop fields replaced by ours, edited as its route says. */
import type { ByteWriter } from "../wire/bytes.ts";
import type { FieldNames } from "../wire/field-edits.ts";
import { FieldKind } from "../wire/header-list.ts";
import { dropTable, HOP_BY_HOP } from "../wire/hop-by-hop.ts";
import type { ResponseHead } from "../wire/h1/message-head.ts";
import { writeFields, writeFieldsWithout } from "../wire/h1/head-writer.ts";
import type { ExchangeTerms } from "./exchange-terms.ts";

export const RESPONSE_DROPS = dropTable(HOP_BY_HOP);
export const NO_BODY_DROPS = dropTable([...HOP_BY_HOP, FieldKind.ContentLength]);
export const UPGRADE_DROPS = dropTable([...HOP_BY_HOP.filter((kind) => kind !== FieldKind.Upgrade), FieldKind.ContentLength]);

/** Without its end, and without what we add. */
export function writeAnswerHead(out: ByteWriter, head: ResponseHead, drops: Uint8Array, terms: ExchangeTerms | null): void {
  const dropped = droppedFields(terms);
  const complete = head.minor === 1 && head.reasonEnd > head.statusStart + 3;
  if (!complete) writeStatusLine(out, head);
  const start = complete ? head.start : -1;
  if (dropped === null) writeFields(out, head.fields, drops, head.nominated, start);
  else writeFieldsWithout(out, head.fields, drops, head.nominated, dropped, start);
}

/** Of an HTTP/1.0 answer, or one without the space that RFC 9112, 4 wants. */
function writeStatusLine(out: ByteWriter, head: ResponseHead): void {
  out.text(`HTTP/1.1 ${head.status} `);
  out.copy(head.fields.bytes, Math.min(head.statusStart + 4, head.reasonEnd), head.reasonEnd);
  out.text("\r\n");
}

/** What the proxy (`lines`) and the policy of its route say of a final answer. */
export function writeOwnFields(out: ByteWriter, lines: string, terms: ExchangeTerms | null): void {
  if (lines !== "") out.text(lines);
  const added = terms?.responseFields?.lines;
  if (added !== undefined) out.texts(added);
}

/** What an endpoint says and its route leaves out, in trailers too. */
export function droppedFields(terms: ExchangeTerms | null): FieldNames | null {
  return terms === null ? null : terms.responseFields?.dropped ?? null;
}
