/*  Examines cases: each is run in process with all its cuts, then read by llhttp, then judged.
 *
 *      bytes --(whole, byte by byte, cut)--> our parser / the data plane --> the same each time?
 *                                                     |
 *                                                     '--> jobs --> llhttp --> the rules of the case's kind
 */
import process from "node:process";
import { LIMITS } from "../fixtures/world.ts";
import { HEAD_LIMITS } from "../fixtures/heads.ts";
import type { ClosingStyle } from "../fixtures/memory-socket.ts";
import { parseRequestHead } from "../../src/wire/h1/head-parser.ts";
import { compareReadings, parserJob, type Tally } from "./compare.ts";
import { type Cutting, cuttings } from "./cuts.ts";
import { askedMethods, fromClientFailure, fromClientJobs } from "./from-client-rules.ts";
import { fromVmFailure, fromVmJobs } from "./from-vm-rules.ts";
import type { Failure, FuzzCase } from "./fuzz-case.ts";
import type { Oracle, OracleJob, OracleReading } from "./oracle.ts";
import { type ParseRequestHead, readAnswers, type Reading, readRequests } from "./our-reading.ts";
import type { Random } from "./random.ts";
import { essence } from "./essence.ts";
import { fromClient, fromVm, type Transcript } from "./through-proxy.ts";

/** What is fuzzed; tests put something broken in its place. */
export interface Subject {
  readonly parse: ParseRequestHead;
  readonly fromClient: typeof fromClient;
  readonly fromVm: typeof fromVm;
}

export const EDGEPROXY: Subject = { parse: parseRequestHead, fromClient, fromVm };

/** CPU time, so that a busy machine changes nothing: what takes longer than this hangs, or is on its way there. */
const CASE_LIMIT_MS = 5000;
/** A section that comes in pieces is parsed again when a line has ended: its refusal may wait for that. */
const LINE_FEED = Buffer.from("\n");

export interface Examination {
  readonly subject: Subject;
  readonly oracle: Oracle;
  readonly tally: Tally;
  /** Told the number of each case before it begins. */
  readonly onCase?: ((number: number) => void) | undefined;
}

/** A case with the chance that decides about its cuts. */
export interface Draw {
  readonly fuzzCase: FuzzCase;
  readonly random: Random;
  /** Cut at each offset as well. */
  readonly everywhere: boolean;
  readonly number: number;
}

interface Run {
  readonly jobs: readonly OracleJob[];
  readonly judge: (readings: readonly OracleReading[]) => Failure | null;
}

/** One verdict per case: null when nothing is wrong with it. */
export async function examine(draws: readonly Draw[], examination: Examination): Promise<(Failure | null)[]> {
  const runs = draws.map((draw) => attempt(() => run(draw, examination)));
  const readings = await examination.oracle.read(runs.flatMap((each) => "jobs" in each ? each.jobs : []));
  return runs.map((each) => {
    if (!("jobs" in each)) return each;
    return attempt(() => each.judge(readings.splice(0, each.jobs.length)));
  });
}

/** Exceptions are failures like others. */
function attempt<T>(act: () => T): T | Failure {
  const before = process.cpuUsage();
  try {
    const result = act();
    const { user, system } = process.cpuUsage(before);
    const tookMs = (user + system) / 1000;
    return tookMs < CASE_LIMIT_MS ? result : { rule: "time", details: `${tookMs.toFixed()} ms` };
  } catch (error) {
    if (error instanceof CutFailure) return error.failure;
    const { message, stack } = error as Error;
    return { rule: `crash: ${message.split("\n")[0]!.slice(0, 60)}`, details: stack ?? message };
  }
}

function run(draw: Draw, { subject, tally, onCase }: Examination): Run {
  const { fuzzCase, random, everywhere, number } = draw;
  onCase?.(number);
  const all = cuttings(fuzzCase.bytes, random, everywhere);
  if (fuzzCase.kind === "requests" || fuzzCase.kind === "answers") {
    const reading = readAlike(fuzzCase, all, subject);
    return {
      jobs: [parserJob(fuzzCase, reading)],
      judge: ([theirs]) => compareReadings(fuzzCase, reading, theirs!, tally),
    };
  }
  const transcript = passAlike(fuzzCase, all, subject, random.chance(0.5) ? "at once" : "later");
  const ofClient = fuzzCase.kind === "from-client";
  tally.messages += transcript.outcomes.length;
  return {
    jobs: ofClient ? fromClientJobs(fuzzCase, transcript) : fromVmJobs(fuzzCase, transcript),
    judge: (readings) => (ofClient ? fromClientFailure : fromVmFailure)(fuzzCase, transcript, readings, tally),
  };
}

class CutFailure extends Error {
  readonly failure: Failure;

  constructor(rule: string, cutting: Cutting, whole: string, cut: string) {
    super(rule);
    this.failure = { rule, details: `${cutting.name}:\nwhole: ${whole}\ncut:   ${cut}` };
  }
}

/** Our reading of the whole. Throws when a cut changes it. */
function readAlike(fuzzCase: FuzzCase, all: readonly Cutting[], { parse }: Subject): Reading {
  const read = (parts: readonly Buffer[]): Reading =>
    fuzzCase.kind === "requests"
      ? readRequests(parts, HEAD_LIMITS, parse)
      : readAnswers(parts, HEAD_LIMITS, fuzzCase.methods, fuzzCase.ending === "ends");
  const whole = read(all[0]!.parts);
  const expected = comparableReading(whole);
  for (const cutting of all.slice(1)) {
    let reading = read(cutting.parts);
    if (whole.problem !== "" && reading.problem === "") reading = read([...cutting.parts, LINE_FEED]);
    const cut = comparableReading(reading);
    if (cut !== expected) throw new CutFailure("a cut changes the reading", cutting, expected, cut);
  }
  return whole;
}

/** How far a refused stream was read depends on its cuts, and means nothing. */
function comparableReading(reading: Reading): string {
  return JSON.stringify(reading.problem === "" ? reading : { ...reading, end: 0 });
}

function passAlike(fuzzCase: FuzzCase, all: readonly Cutting[], subject: Subject, style: ClosingStyle): Transcript {
  const { kind, ending, manner, request } = fuzzCase;
  const pass = (parts: readonly Buffer[]): Transcript =>
    kind === "from-client" ? subject.fromClient(parts, ending, style, manner) : subject.fromVm(request, parts, ending, style);
  if (manner === "early") { // how much it answers before depends on the cuts
    const { parts } = all[style === "later" ? 1 : 2]!;
    return pass(isRefused(fuzzCase) ? [...parts, LINE_FEED] : parts);
  }
  const whole = pass(all[0]!.parts);
  const methods = kind === "from-vm" ? fuzzCase.methods : askedMethods(fuzzCase.bytes);
  const expected = essence(whole, methods);
  for (const cutting of all.slice(1)) {
    let cut = essence(pass(cutting.parts), methods);
    if (cut !== expected && isRefused(fuzzCase)) cut = essence(pass([...cutting.parts, LINE_FEED]), methods);
    if (cut !== expected) throw new CutFailure("a cut changes what passes", cutting, expected, cut);
  }
  return whole;
}

function isRefused({ kind, bytes, methods, ending }: FuzzCase): boolean {
  return (kind === "from-client" ? readRequests([bytes], LIMITS) : readAnswers([bytes], LIMITS, methods, ending === "ends"))
    .problem !== "";
}
