/** Ways in which the same bytes may arrive. */
import type { Random } from "./random.ts";

export interface Cutting {
  readonly name: string;
  readonly parts: readonly Buffer[];
}

/** Whole first: the others must give the same. `everywhere`: also in two at each offset. */
export function cuttings(bytes: Buffer, random: Random, everywhere: boolean): Cutting[] {
  const all = [
    { name: "whole", parts: [bytes] },
    { name: "byte by byte", parts: Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)) },
  ];
  for (let times = 0; times < 2; times++) {
    const places = Array.from({ length: 1 + random.int(4) }, () => random.int(bytes.length + 1)).sort((a, b) => a - b);
    const parts = [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end)).filter((part) =>
      part.length > 0
    );
    all.push({ name: `cut at ${places.join(", ")}`, parts });
  }
  for (let at = 1; everywhere && at < bytes.length; at++) {
    all.push({ name: `cut at ${at}`, parts: [bytes.subarray(0, at), bytes.subarray(at)] });
  }
  return all;
}
