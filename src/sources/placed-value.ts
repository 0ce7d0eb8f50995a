/** A plain value that was read from a text, with the place of each of its parts. */

export interface TextPlace {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

export type ValuePath = readonly (string | number)[];

export interface PlacedValue {
  readonly value: unknown;
  /** Of the key or item; of the nearest part that exists. */
  placeOf(path: ValuePath): TextPlace;
}

export function placeAtOffset(text: string, offset: number): TextPlace {
  let line = 1;
  let start = 0;
  for (let end = text.indexOf("\n"); end >= 0 && end < offset; end = text.indexOf("\n", start)) {
    line++;
    start = end + 1;
  }
  return { line, column: offset - start + 1 };
}
