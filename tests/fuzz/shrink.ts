/** Makes a failing case as small as it gets while the same rule stays broken (after Zeller's ddmin). */
import { type Examination, examine } from "./examine.ts";
import type { Failure, FuzzCase } from "./fuzz-case.ts";
import { Random } from "./random.ts";

/** Rounds of candidates at most: a bound for cases that shrink byte by byte. */
const MAX_ROUNDS = 400;

export interface Shrunk {
  readonly fuzzCase: FuzzCase;
  readonly failure: Failure;
}

export async function shrink(fuzzCase: FuzzCase, failure: Failure, examination: Examination): Promise<Shrunk> {
  let smallest: Shrunk = { fuzzCase, failure };
  let size = Math.ceil(fuzzCase.bytes.length / 2);
  for (let round = 0; round < MAX_ROUNDS && size >= 1; round++) {
    const next = await firstFailing(without(smallest.fuzzCase, size), failure.rule, examination);
    if (next !== null) smallest = next;
    else size = size === 1 ? 0 : Math.ceil(size / 2);
  }
  return smallest;
}

/** As a case is examined once more, alone: with every cut. */
export async function examineAlone(fuzzCase: FuzzCase, examination: Examination): Promise<Failure | null> {
  return (await examine([{ fuzzCase, random: new Random(0), everywhere: true, number: 0 }], examination))[0]!;
}

/** The case without `size` bytes, at each place. */
function without(fuzzCase: FuzzCase, size: number): FuzzCase[] {
  const { bytes } = fuzzCase;
  const candidates: FuzzCase[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    candidates.push({ ...fuzzCase, bytes: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]) });
  }
  return candidates;
}

async function firstFailing(candidates: readonly FuzzCase[], rule: string, examination: Examination): Promise<Shrunk | null> {
  const draws = candidates.map((fuzzCase) => ({
    fuzzCase,
    random: new Random(0),
    everywhere: rule.startsWith("a cut"),
    number: 0,
  }));
  const verdicts = await examine(draws, examination);
  const place = verdicts.findIndex((verdict) => verdict?.rule === rule);
  return place < 0 ? null : { fuzzCase: candidates[place]!, failure: verdicts[place]! };
}
