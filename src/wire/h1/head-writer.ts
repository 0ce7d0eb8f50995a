/** Fields and chunks into an output buffer. Fields that stay are copied as runs of the bytes they came as. */
import type { ByteWriter } from "../bytes.ts";
import type { FieldNames } from "../field-edits.ts";
import type { HeaderList } from "../header-list.ts";
import { isNominated, NOT_IN_TRAILERS } from "../hop-by-hop.ts";

/**
 * Copies all fields whose kind is 0 in `drop` and that `nominated` does not name, in order, each with its CRLF. `runStart`: where
 * a start line begins that lies right before the fields and goes with them.
 */
export function writeFields(
  out: ByteWriter,
  fields: HeaderList,
  drop: Uint8Array,
  nominated: readonly string[] | null,
  runStart: number = -1,
): void {
  const { kinds, count } = fields;
  for (let i = 0; i < count; i++) {
    if (drop[kinds[i]!] === 1 || (nominated !== null && isNominated(fields, i, nominated))) {
      if (runStart >= 0) out.copy(fields.bytes, runStart, fields.start(i));
      runStart = -1;
    } else if (runStart < 0) runStart = fields.start(i);
  }
  if (runStart >= 0) out.copy(fields.bytes, runStart, fields.end);
}

/** As `writeFields`, also without those that `dropped` names. */
export function writeFieldsWithout(
  out: ByteWriter,
  fields: HeaderList,
  drop: Uint8Array,
  nominated: readonly string[] | null,
  dropped: FieldNames,
  start: number = -1,
): void {
  let runStart = start;
  for (let i = 0; i < fields.count; i++) {
    if (drop[fields.kinds[i]!] === 1 || dropped.has(fields, i) || (nominated !== null && isNominated(fields, i, nominated))) {
      if (runStart >= 0) out.copy(fields.bytes, runStart, fields.start(i));
      runStart = -1;
    } else if (runStart < 0) runStart = fields.start(i);
  }
  if (runStart >= 0) out.copy(fields.bytes, runStart, fields.end);
}

/** One chunk: size line, bytes, CRLF (RFC 9112, 7.1). Empty input writes nothing, since that would end the body. */
export function writeChunk(out: ByteWriter, bytes: Buffer): void {
  if (bytes.length === 0) return;
  out.text(`${bytes.length.toString(16)}\r\n`);
  out.copy(bytes, 0, bytes.length);
  out.text("\r\n");
}

/** The last chunk and the trailer section. */
export function writeLastChunk(out: ByteWriter, trailers: HeaderList | null, dropped: FieldNames | null = null): void {
  out.text("0\r\n");
  if (trailers !== null && dropped === null) writeFields(out, trailers, NOT_IN_TRAILERS, null);
  else if (trailers !== null && dropped !== null) writeFieldsWithout(out, trailers, NOT_IN_TRAILERS, null, dropped);
  out.text("\r\n");
}
