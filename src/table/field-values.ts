/** What the fields of a request say, for whoever names one: matchers, keys, variables. */
import type { HeaderList } from "../wire/header-list.ts";

export interface SaidFields {
  readonly fields: HeaderList;
  /** What counts as its Host, as it was written: the authority of an absolute target, whatever the field says (RFC 9112, 3.2.2). */
  readonly authority: string | null;
}

const NONE: readonly string[] = [];

/** Of one name (lower-case), each line for itself, each byte one character. */
export function fieldValues({ fields, authority }: SaidFields, name: string): readonly string[] {
  if (name === "host") return authority === null ? NONE : [authority];
  let values: string[] | null = null;
  for (let i = 0; i < fields.count; i++) if (fields.nameIs(i, name)) (values ??= []).push(fields.value(i));
  return values ?? NONE;
}

/** The first; null: none. */
export function fieldValue({ fields, authority }: SaidFields, name: string): string | null {
  if (name === "host") return authority;
  for (let i = 0; i < fields.count; i++) if (fields.nameIs(i, name)) return fields.value(i);
  return null;
}
