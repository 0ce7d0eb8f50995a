/** A run of the fuzzer: cases by number, in batches, until enough have been examined. */
import { Tally } from "./compare.ts";
import { type Draw, EDGEPROXY, examine, type Subject } from "./examine.ts";
import { CASE_KINDS, type CaseKind, type Failure, type FuzzCase } from "./fuzz-case.ts";
import { type Corpus, generate, loadCorpus } from "./generate.ts";
import { Oracle } from "./oracle.ts";
import { Random } from "./random.ts";

export interface Plan {
  readonly seed: number;
  /** The number of the first case. */
  readonly first: number;
  /** Asked before each batch, with the number of cases so far. */
  readonly goesOn: (cases: number) => boolean;
  readonly kinds: readonly CaseKind[];
  /** Told before each case begins. */
  readonly onCase?: (number: number) => void;
}

export interface Found {
  readonly number: number;
  readonly fuzzCase: FuzzCase;
  readonly failure: Failure;
}

export interface Report {
  readonly cases: number;
  readonly tally: Tally;
  readonly found: readonly Found[];
  readonly oracle: string;
}

const BATCH = 100;
/** Every so many cases one is cut at each of its offsets. */
const EVERYWHERE = 16;
/** The parsers alone are cheap, and are asked more often. */
export const USUAL_KINDS: readonly CaseKind[] = [...CASE_KINDS, "requests", "answers", "requests"];

export function drawCase(seed: number, number: number, kinds: readonly CaseKind[], corpus: Corpus): Draw {
  const random = new Random(seed, number);
  const kind = random.pick(kinds);
  return { fuzzCase: generate(kind, random, corpus), random, everywhere: number % EVERYWHERE === 0, number };
}

export async function campaign(plan: Plan, subject: Subject = EDGEPROXY): Promise<Report> {
  const corpus = loadCorpus();
  const tally = new Tally();
  const found: Found[] = [];
  await using oracle = new Oracle();
  let cases = 0;
  while (plan.goesOn(cases) && found.length === 0) {
    const numbers = Array.from({ length: BATCH }, (_, i) => plan.first + cases + i);
    const draws = numbers.map((number) => drawCase(plan.seed, number, plan.kinds, corpus));
    const verdicts = await examine(draws, { subject, oracle, tally, onCase: plan.onCase });
    for (const [i, failure] of verdicts.entries()) {
      if (failure !== null) found.push({ number: numbers[i]!, fuzzCase: draws[i]!.fuzzCase, failure });
    }
    cases += BATCH;
  }
  return { cases, tally, found, oracle: oracle.name };
}
