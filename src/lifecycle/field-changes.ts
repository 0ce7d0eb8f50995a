/** The head that an endpoint would get, and how its fields differ from those of the client. */
import type { Exchange } from "../downstream/exchange.ts";
import { type ForwardingIdentity, type HeadEdits, upgradeOffer, writeRequestHead } from "../forwarding/request-fields.ts";
import type { ExplainedField, FieldChanges } from "../observation/explanation.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { FieldKind, type HeaderList } from "../wire/header-list.ts";
import { parseRequestHead } from "../wire/h1/head-parser.ts";
import { MAX_TARGET_BYTES, RequestHead } from "../wire/h1/message-head.ts";

export interface SentHead {
  readonly target: string;
  readonly fields: HeaderList;
  readonly via: string;
}

/** What is written has no limit of ours. */
const NO_LIMITS = { maxHeadBytes: 2 ** 30, maxFields: 2 ** 16, maxTargetBytes: 2 * MAX_TARGET_BYTES };
/** Made anew for each request, so that the value that is shown would be no other's. */
const MADE_ANEW: ReadonlySet<string> = new Set(["x-request-id", "traceparent"]);

/** `edits`: of the policy that applies; null: none. */
export function sentHead(exchange: Exchange, identity: ForwardingIdentity, edits: HeadEdits | null): SentHead {
  const out = new ByteWriter(4096);
  writeRequestHead(out, exchange, upgradeOffer(exchange), identity, edits);
  const head = new RequestHead();
  parseRequestHead(out.bytes, 0, out.length, NO_LIMITS, head);
  return { target: head.target, fields: head.fields, via: head.fields.joined(FieldKind.Via) ?? "" };
}

export function fieldChanges(exchange: Exchange, sent: SentHead): FieldChanges {
  const before = byName(exchange.head.fields), after = byName(sent.fields);
  const changes: { readonly [kind in keyof FieldChanges]: ExplainedField[] } = { set: [], added: [], removed: [] };
  for (const [lower, { name, value }] of after) {
    const was = before.get(lower);
    if (was?.value === value) continue;
    changes[was === undefined ? "added" : "set"].push({ name, value: MADE_ANEW.has(lower) ? "new" : value });
  }
  for (const [lower, field] of before) if (!after.has(lower)) changes.removed.push(field);
  return changes;
}

/** Several of one name as the list that they are. */
function byName(fields: HeaderList): Map<string, ExplainedField> {
  const named = new Map<string, ExplainedField>();
  for (let i = 0; i < fields.count; i++) {
    const name = fields.name(i), value = fields.value(i);
    const known = named.get(name.toLowerCase());
    named.set(name.toLowerCase(), known === undefined ? { name, value } : { name: known.name, value: `${known.value}, ${value}` });
  }
  return named;
}
