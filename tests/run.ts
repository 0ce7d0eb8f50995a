/*  The whole check, in order from quick to slow; every stage runs even if one before it failed.
 *
 *  formatting -> lint -> types -> tests on Bun -> tests on Deno -> compile -> end-to-end tests of the compiled binary
 *
 *  The last line is `N passed, N failed` over all tests; a stage that fails without naming a failed test counts as one.
 *  `--fast` leaves out what takes long. A path filter (`tests/wire`) runs only the tests below it, on Bun and on Deno.
 */
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";

interface Stage {
  readonly name: string;
  readonly command: readonly string[];
}

interface Result {
  readonly exitCode: number;
  readonly output: string;
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** This file runs on the Deno that runs the tasks. */
const DENO = process.execPath;
const BUN = "./node_modules/.bin/bun";
const END_TO_END = "tests/end-to-end/";
const STAGE_LIMIT_MS = 15 * 60_000;

const flags = process.argv.slice(2);
const fast = flags.includes("--fast");
const filters = flags.filter((flag) => !flag.startsWith("--"));

let passed = 0;
let failed = 0;
for (const stage of await stages()) {
  const startedMs = performance.now();
  const result = await run(stage.command);
  const counted = count(result.output);
  const unnamed = result.exitCode !== 0 && counted.failed === 0 ? 1 : 0;
  passed += counted.passed;
  failed += counted.failed + unnamed;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  if (result.exitCode !== 0) say(withoutPassed(result.output).trimEnd());
  const tests = counted.passed + counted.failed === 0 ? "" : `  ${counted.passed} passed, ${counted.failed} failed`;
  say(`${result.exitCode === 0 ? "ok    " : "FAILED"} ${stage.name.padEnd(30)} ${seconds.padStart(6)} s${tests}`);
}
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function stages(): Promise<Stage[]> {
  const files = (await testFiles()).filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
  const portable = files.filter((file) => !file.startsWith(END_TO_END)).map((file) => `./${file}`);
  const endToEnd = files.filter((file) => file.startsWith(END_TO_END)).map((file) => `./${file}`);
  const onBun = { name: "tests on Bun", command: [BUN, "test", "--timeout", "60000", ...portable] };
  const onDeno = { name: "tests on Deno", command: [DENO, "test", "--allow-all", "--no-check", ...portable] };
  const onBinary = { name: "tests of the compiled binary", command: [BUN, "test", "--timeout", "120000", ...endToEnd] };
  const compile = { name: "compile", command: ["./compile.sh"] };

  const chosen: Stage[] = [];
  if (filters.length === 0) {
    chosen.push({ name: "formatting", command: [DENO, "fmt", "--check"] });
    chosen.push({ name: "lint", command: [DENO, "lint"] });
    chosen.push({ name: "types", command: [DENO, "check", "--quiet", "main.ts", "src", "tests"] });
  }
  if (portable.length > 0) chosen.push(onBun);
  if (portable.length > 0 && !fast) chosen.push(onDeno);
  if (endToEnd.length > 0 && !fast) chosen.push(compile, onBinary);
  return chosen;
}

async function testFiles(): Promise<string[]> {
  const entries = await readdir(new URL(".", import.meta.url), { recursive: true });
  return entries.filter((entry) => entry.endsWith(".test.ts")).map((entry) => `tests/${entry}`).sort();
}

async function run([program = "", ...parameters]: readonly string[]): Promise<Result> {
  const child = spawn(program, parameters, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1" },
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

/** The last summary that a test runner printed; Deno adds steps in brackets. */
function count(output: string): { passed: number; failed: number } {
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
