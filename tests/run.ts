/*  The whole check, in order from quick to slow; every stage runs even if one before it failed.
 *
 *  formatting -> lint -> types -> dashboard -> tests on Bun -> tests on Deno -> compile -> end-to-end tests of the compiled binary
 *
 *  Tests with a database and end-to-end tests mostly wait, so they run two at a time, in processes of their own; whose figures another one's work
 *  would spoil runs alone afterwards.
 *
 *  The last line is `N passed, N failed` over all tests; a command that fails without naming a failed test counts as one.
 *  A command with one or two failed tests runs once more, when nothing runs beside it, and the second run counts: the machine is other people's
 *  too, and a test of 6,000 that waited too briefly must not hold up a change. What failed is printed all the same and the stage is called FLAKY:
 *  a test that is seen there has to be mended, as it may be the proxy that is wrong once in a hundred times.
 *  `--fast` leaves out what takes long. A path filter (`tests/wire`) runs only the tests below it, on Bun and on Deno.
 */
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";

type Command = readonly string[];

interface Stage {
  readonly name: string;
  readonly commands: readonly Command[];
  /** How many of the commands run at a time; default: one. */
  readonly lanes?: number;
}

interface Result {
  readonly exitCode: number;
  readonly output: string;
}

interface Counted {
  readonly passed: number;
  readonly failed: number;
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** This file runs on the Deno that runs the tasks. */
const DENO = process.execPath;
const BUN = "./node_modules/.bin/bun";
const END_TO_END = "tests/end-to-end/";
const SOURCES = "./tests/sources/";
/** A primary and a standby each. */
const PAIRS = `${SOURCES}host-preference`;
const STAGE_LIMIT_MS = 15 * 60_000;
/** More than that is no coincidence. */
const MOST_RUN_AGAIN = 2;

/** The longest first, so that no lane ends long after the other. */
const LONG = [
  "moves",
  "dashboard",
  "timeouts",
  "hand-over",
  "leaks",
  "backpressure",
  "workers",
  "unready-successor",
  "abuse",
  "slow-bodies",
  "refresh",
  "health",
  "demo",
]
  .map(endToEndFile);
/** They hold thousands of connections, and measure what a process takes for them. */
const ALONE = ["memory-per-connection", "abuse-floods"].map(endToEndFile);

const flags = process.argv.slice(2);
const fast = flags.includes("--fast");
const filters = flags.filter((flag) => !flag.startsWith("--"));

let passed = 0;
let failed = 0;
for (const stage of await stages()) {
  const startedMs = performance.now();
  const first = await runAll(stage.commands, stage.lanes ?? 1);
  const again = await runAgain(stage.commands, first);
  const results = first.map((result, index) => again.get(index) ?? result);
  const counted = sum(results.map(countOf));
  const broken = results.filter((result) => result.exitCode !== 0);
  passed += counted.passed;
  failed += counted.failed;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  for (const result of new Set([...again.keys()].flatMap((index) => first[index] ?? []).concat(broken))) {
    say(withoutPassed(result.output).trimEnd());
  }
  const tests = counted.passed + counted.failed === 0 ? "" : `  ${counted.passed} passed, ${counted.failed} failed`;
  const verdict = broken.length > 0 ? "FAILED" : again.size > 0 ? "FLAKY " : "ok    ";
  say(`${verdict} ${stage.name.padEnd(30)} ${seconds.padStart(6)} s${tests}`);
}
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function stages(): Promise<Stage[]> {
  const files = (await testFiles()).filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
  const portable = files.filter((file) => !file.startsWith(END_TO_END)).map((file) => `./${file}`);
  const endToEnd = files.filter((file) => file.startsWith(END_TO_END)).map((file) => `./${file}`);
  const parts = partsOf(portable);
  const onBun = { name: "tests on Bun", commands: parts.map((part) => [BUN, "test", "--timeout", "60000", ...part]), lanes: 2 };
  const onDeno = {
    name: "tests on Deno",
    commands: parts.map((part) => [DENO, "test", "--allow-all", "--no-check", ...part]),
    lanes: 2,
  };
  const compile = { name: "compile", commands: [["./compile.sh"]] };

  const chosen: Stage[] = [];
  if (filters.length === 0) {
    chosen.push({ name: "formatting", commands: [[DENO, "fmt", "--check"]] });
    chosen.push({ name: "lint", commands: [[DENO, "lint"]] });
    chosen.push({ name: "types", commands: [[DENO, "check", "--quiet", "main.ts", "src", "tests"]] });
  }
  if (portable.length > 0) chosen.push({ name: "dashboard", commands: [["./compile.sh", "--dashboard"]] }, onBun);
  if (portable.length > 0 && !fast) chosen.push(onDeno);
  if (endToEnd.length > 0 && !fast) chosen.push(compile, ...onBinary(endToEnd));
  return chosen;
}

/** Those that wait for databases beside those that compute; a process each, the longest first. */
function partsOf(files: readonly string[]): string[][] {
  const sources = files.filter((file) => file.startsWith(SOURCES));
  const pairs = sources.filter((file) => file.startsWith(PAIRS));
  const others = files.filter((file) => !sources.includes(file));
  return [sources.filter((file) => !pairs.includes(file)), others, pairs].filter((part) => part.length > 0);
}

function onBinary(files: readonly string[]): Stage[] {
  const commands = (some: readonly string[]): Command[] => some.map((file) => [BUN, "test", "--timeout", "240000", file]);
  const together = [...LONG.filter((file) => files.includes(file)), ...files.filter((file) => ![...LONG, ...ALONE].includes(file))];
  const alone = ALONE.filter((file) => files.includes(file));
  return [
    { name: "tests of the compiled binary", commands: commands(together), lanes: 2 },
    { name: "of its memory and CPU time", commands: commands(alone) },
  ].filter((stage) => stage.commands.length > 0);
}

function endToEndFile(name: string): string {
  return `./${END_TO_END}${name}.test.ts`;
}

async function testFiles(): Promise<string[]> {
  const entries = await readdir(new URL(".", import.meta.url), { recursive: true });
  return entries.filter((entry) => entry.endsWith(".test.ts")).map((entry) => `tests/${entry}`).sort();
}

/** Each lane takes the next command when it has finished one; the results are in the order of the commands. */
async function runAll(commands: readonly Command[], lanes: number): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const lane = async (number: number): Promise<void> => {
    for (let index = next++; index < commands.length; index = next++) results[index] = await run(commands[index] ?? [], number);
  };
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
  return results;
}

/** By the command's number: the second result of each test run that failed in few tests. */
async function runAgain(commands: readonly Command[], results: readonly Result[]): Promise<Map<number, Result>> {
  const again = new Map<number, Result>();
  const failures = results.map((result) => summary(result.output).failed);
  if (failures.reduce((all, each) => all + each, 0) > MOST_RUN_AGAIN) return again;
  for (const [index, command] of commands.entries()) {
    if ((failures[index] ?? 0) > 0) again.set(index, await run(command, 0));
  }
  return again;
}

async function run([program = "", ...parameters]: Command, lane: number): Promise<Result> {
  const child = spawn(program, parameters, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1", TEST_LANE: String(lane) }, // see fixtures/ports.ts
    stdio: ["ignore", "pipe", "pipe"],
    timeout: STAGE_LIMIT_MS,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => output += text);
  }
  const { promise, resolve } = Promise.withResolvers<number>();
  child.once("error", (error) => {
    output += `Cannot run ${program}: ${error.message}\n`;
    resolve(1);
  });
  child.once("close", (code) => resolve(code ?? 1));
  return { exitCode: await promise, output };
}

/** A command that fails without naming a failed test counts as one. */
function countOf({ exitCode, output }: Result): Counted {
  const counted = summary(output);
  return exitCode !== 0 && counted.failed === 0 ? { ...counted, failed: 1 } : counted;
}

function sum(counts: readonly Counted[]): Counted {
  return counts.reduce((all, { passed, failed }) => ({ passed: all.passed + passed, failed: all.failed + failed }), {
    passed: 0,
    failed: 0,
  });
}

/** The last summary that a test runner printed; Deno adds steps in brackets. */
function summary(output: string): Counted {
  return {
    passed: lastNumber(output, /^\s*(\d+) pass$|\| (\d+) passed\b.*\| \d+ failed/gm),
    failed: lastNumber(output, /^\s*(\d+) fail$|\| \d+ passed\b.*\| (\d+) failed/gm),
  };
}

function lastNumber(text: string, pattern: RegExp): number {
  const found = [...text.matchAll(pattern)].at(-1);
  return Number(found?.[1] ?? found?.[2] ?? 0);
}

/** What a reader of a failure looks for is not among the tests that passed. */
function withoutPassed(output: string): string {
  return output.split("\n").filter((line) => !/^\(pass\)|\.\.\. ok \(/.test(line)).join("\n");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
