/** The file of settings as systemd reads it (EnvironmentFile in systemd.exec(5)). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { parseEnvFile } from "../../src/cli/env-file.ts";

function valuesOf(text: string): Readonly<Record<string, string>> {
  const file = parseEnvFile(text);
  assert.ok("variables" in file, JSON.stringify(file));
  return file.variables;
}

test("parseEnvFile() takes values as they are, without the white space around them", () => {
  assert.deepEqual(valuesOf(""), {});
  assert.deepEqual(valuesOf("A=1\nB = two words \t\n\n  C=\r\nD=x=y"), { A: "1", B: "two words", C: "", D: "x=y" });
  assert.deepEqual(valuesOf("A=1\nA=2"), { A: "2" });
});

test("parseEnvFile() knows comments only at the beginning of a line", () => {
  assert.deepEqual(valuesOf("# B=1\n ; C=1\nA=postgres://u:p#ss@db/x # not one\n#"), {
    A: "postgres://u:p#ss@db/x # not one",
  });
});

test("parseEnvFile() unquotes, and goes on behind a quote", () => {
  assert.deepEqual(valuesOf(`A=" two  words "\nB='a "b" \\n $c'\nC="x\\"\\\\\\$\\n"`), {
    A: " two  words ",
    B: `a "b" \\n $c`,
    C: `x"\\$\\n`,
  });
  assert.deepEqual(valuesOf(`A="a" 'b'c\nB=it's "so"\nC="two\nlines"`), { A: "abc", B: `it's "so"`, C: "two\nlines" });
});

test("parseEnvFile() joins lines that end with a backslash", () => {
  assert.deepEqual(valuesOf(`A=one,\\\ntwo\nB="one \\\ntwo"\nC=x\\y\\ \nD=\\`), { A: "one,two", B: "one two", C: "xy ", D: "" });
  assert.deepEqual(
    valuesOf("A=one \\\n\t\nB=two\t\\\n"),
    { A: "one ", B: "two\t" },
    "nothing is left out before the end of a line",
  );
});

test("parseEnvFile() names the line of what it does not know, and no value", () => {
  const cases: readonly (readonly [text: string, line: number, problem: RegExp])[] = [
    ["A=1\nsecret", 2, /no NAME=value/],
    ["A=1\n\nexport B=secret", 3, /"export" is the shell's/],
    ["A=1\\\n2\n# x\n1B=secret", 4, /not the name/],
    ["A=1\n# sec \\\nB=1", 2, /before systemd 254/],
    ["=secret", 1, /not the name/],
    ['A=1\nB="secret\nC=3', 2, /value of B has a quote/],
    ["A='secret", 1, /value of A has a quote/],
    ["A=1\nB=sec\0ret", 2, /value of B has a NUL/],
  ];
  for (const [text, line, problem] of cases) {
    const file = parseEnvFile(text);
    assert.ok("problem" in file, text);
    assert.equal(file.line, line, text);
    assert.match(file.problem, problem);
    assert.doesNotMatch(file.problem, /sec/);
  }
});

test("parseEnvFile() reads the file of the package", async () => {
  const text = await readFile(new URL("../../packaging/edgeproxy.env", import.meta.url), "utf8");
  assert.deepEqual(Object.keys(valuesOf(text)), ["EDGEPROXY_HTTP_ADDR", "EDGEPROXY_DATABASE_URL", "EDGEPROXY_REGION_ID"]);
});

const systemd = process.getuid?.() === 0 && spawnSync("systemd-tmpfiles", ["--version"]).status === 0;

/** It reads os-release with the parser of EnvironmentFile, and writes what is in BUILD_ID where it is told to. */
test("parseEnvFile() reads what systemd reads", systemd ? {} : { skip: "no systemd-tmpfiles, or not root" }, async () => {
  const root = await mkdtemp(join(tmpdir(), "edgeproxy-env-file-"));
  try {
    const rules = join(root, "rules.conf");
    await mkdir(join(root, "etc"));
    await writeFile(rules, "F /value - - - - [%B]\n");
    const values = [
      ` two  words \t`,
      `p#ss ; word`,
      `"a 'b' \\" \\\\ \\$ \\n" 'c "d" \\' e`,
      `it's "so"`,
      `one \\\n\t two\\\n`,
      `"one \\\ntwo\nthree"`,
      `a\\b\\ `,
      `=x = y\nBUILD_ID = last`,
    ];
    for (const value of values) {
      const text = `# first\nBUILD_ID=${value}\n`;
      await writeFile(join(root, "etc/os-release"), text);
      const { status, stderr } = spawnSync("systemd-tmpfiles", [`--root=${root}`, "--create", rules], { encoding: "utf8" });
      assert.equal(status, 0, stderr);
      assert.equal(await readFile(join(root, "value"), "utf8"), `[${valuesOf(text)["BUILD_ID"]}]`, text);
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
