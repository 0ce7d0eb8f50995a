/*  The differential fuzzer: `deno task fuzz [--seed N] [--seconds N | --cases N] [--kind KIND] [--case N]`, or `--replay BYTES`.
 *
 *  A seed and a number make a case (generate.ts); examine.ts runs it through our parser or the whole data plane, cut in many
 *  ways, and has llhttp read the same; compare.ts and the rules say what must be equal. The first batch with a failure ends
 *  the run: each broken rule is shown with its smallest case.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { MANNERS } from "./answering-vm.ts";
import { campaign, drawCase, type Found, type Report, USUAL_KINDS } from "./campaign.ts";
import { Tally } from "./compare.ts";
import { EDGEPROXY } from "./examine.ts";
import { asBlock, CASE_KINDS, ENDINGS, escaped, type Failure, type FuzzCase, replayCommand, unescaped } from "./fuzz-case.ts";
import { loadCorpus } from "./generate.ts";
import { Oracle, oracleMissing } from "./oracle.ts";
import { examineAlone, shrink } from "./shrink.ts";
import { AT_REST, startWatchdog } from "./watchdog.ts";

const PROGRESS_MS = 10_000;
const DEFAULT_SECONDS = 60;

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string" },
    seconds: { type: "string" },
    cases: { type: "string" },
    kind: { type: "string" },
    case: { type: "string" },
    replay: { type: "string" },
    methods: { type: "string", default: "GET" },
    request: { type: "string", default: "" },
    ending: { type: "string", default: "stays" },
    manner: { type: "string", default: "prompt" },
  },
});
const kind = CASE_KINDS.find((each) => each === flags.kind);
const kinds = kind === undefined ? USUAL_KINDS : [kind];
const seed = Number(flags.seed ?? Math.floor(Math.random() * 0x7fffffff));

const missing = oracleMissing();
if (missing !== null) throw new Error(missing);
if (flags.replay !== undefined) await replayOne(givenCase(flags.replay));
else if (flags.case !== undefined) await replayOne(drawCase(seed, Number(flags.case), kinds, loadCorpus()).fuzzCase);
else await run();

async function run(): Promise<void> {
  const startedMs = performance.now();
  const wanted = Number(flags.cases ?? Infinity);
  const seconds = Number(flags.seconds ?? (flags.cases === undefined ? DEFAULT_SECONDS : Infinity));
  let nextProgressMs = PROGRESS_MS;
  say(`seed ${seed}`);
  const goesOn = (cases: number): boolean => {
    const elapsedMs = performance.now() - startedMs;
    if (elapsedMs > nextProgressMs) {
      say(`${cases} cases in ${(elapsedMs / 1000).toFixed()} s`);
      nextProgressMs += PROGRESS_MS;
    }
    return cases < wanted && elapsedMs < seconds * 1000;
  };
  const onCase = startWatchdog(seed);
  const report = await campaign({ seed, first: 0, goesOn, kinds, onCase });
  onCase(AT_REST);
  summarise(report, (performance.now() - startedMs) / 1000);
  for (const found of onePerRule(report.found)) await explain(found);
  process.exit(report.found.length === 0 ? 0 : 1);
}

function summarise({ cases, tally, oracle, found }: Report, seconds: number): void {
  const table = (map: ReadonlyMap<string, number>): string =>
    [...map].sort(([, a], [, b]) => b - a).map(([what, count]) => `${String(count).padStart(9)}  ${what}`).join("\n");
  say(`\nWhere we refuse and llhttp does not:\n${table(tally.stricter)}`);
  say(`\nWhere llhttp may differ (exceptions.ts):\n${table(tally.excepted)}`);
  say(
    `\nseed ${seed}: ${cases} cases, ${tally.messages} messages against ${oracle} in ${
      seconds.toFixed(1)
    } s; ${found.length} failed`,
  );
}

function onePerRule(found: readonly Found[]): Found[] {
  const rules = new Map(found.map((each) => [`${each.fuzzCase.kind} ${each.failure.rule}`, each]));
  return [...rules.values()];
}

async function explain({ number, fuzzCase, failure }: Found): Promise<void> {
  await using oracle = new Oracle();
  const smallest = await shrink(fuzzCase, failure, { subject: EDGEPROXY, oracle, tally: new Tally() });
  say(`\n${fuzzCase.kind}: ${failure.rule} (case ${number}: --seed ${seed} --case ${number})`);
  describe(smallest.fuzzCase, smallest.failure);
}

async function replayOne(fuzzCase: FuzzCase): Promise<void> {
  await using oracle = new Oracle();
  const failure = await examineAlone(fuzzCase, { subject: EDGEPROXY, oracle, tally: new Tally() });
  if (failure === null) say(`Nothing is wrong with ${escaped(fuzzCase.bytes)}`);
  else {
    say(`${fuzzCase.kind}: ${failure.rule}`);
    describe(fuzzCase, failure);
    process.exitCode = 1;
  }
}

function describe(fuzzCase: FuzzCase, { details }: Failure): void {
  const sender = fuzzCase.kind === "requests" || fuzzCase.kind === "from-client" ? "client" : "VM";
  say(details);
  say(`\nreplay: ${replayCommand(fuzzCase)}\n`);
  if (fuzzCase.request !== "") say(`**client sends**\n\n${asBlock(Buffer.from(fuzzCase.request, "latin1"))}\n`);
  say(`**${sender} sends**\n\n${asBlock(fuzzCase.bytes)}`);
  if (fuzzCase.ending !== "stays") say(`\n**${sender} ${fuzzCase.ending}**`);
}

function givenCase(text: string): FuzzCase {
  const ending = ENDINGS.find((each) => each === flags.ending) ?? "stays";
  const request = unescaped(flags.request).toString("latin1");
  const methods = request === "" ? flags.methods.split(",") : [request.split(" ", 1)[0]!];
  const manner = MANNERS.find((each) => each === flags.manner) ?? "prompt";
  return { kind: kind ?? "requests", bytes: unescaped(text), methods, request, ending, manner };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
