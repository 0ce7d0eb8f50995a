/** The file of settings as systemd reads it (EnvironmentFile in systemd.exec(5)). */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
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
  assert.deepEqual(valuesOf("# B=1\n ; C=1 \\\nA=postgres://u:p#ss@db/x # not one\n#"), {
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
});

test("parseEnvFile() names the line of what it does not know, and no value", () => {
  const cases: readonly (readonly [text: string, line: number, problem: RegExp])[] = [
    ["A=1\nsecret", 2, /no NAME=value/],
    ["A=1\n\nexport B=secret", 3, /"export" is the shell's/],
    ["A=1\\\n2\n# x\n1B=secret", 4, /not the name/],
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
