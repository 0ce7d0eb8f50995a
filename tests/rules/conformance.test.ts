/** The conformance table says what the tests show, and nothing else. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { type Dialogue, parseDialogues } from "../fixtures/dialogue.ts";
import { behaviour, rulesOf, WITHOUT_RULES } from "./conformance.ts";

const FOLDER = new URL("../dialogue/", import.meta.url);
const dialogues: readonly Dialogue[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".md") && !WITHOUT_RULES.includes(name.slice(0, -3)))
  .flatMap((name) => parseDialogues(readFileSync(new URL(name, FOLDER), "utf8")));

function dialogue(...lines: readonly string[]): Dialogue {
  return parseDialogues(["## Rule", "", "*RFC 9112, 6.3; RFC 9110, 8.6*", "", ...lines].join("\n"))[0]!;
}

test("every dialogue names its RFC sections, and no two have the same title", () => {
  assert.deepEqual(dialogues.filter(({ sections }) => sections.length === 0).map(({ title }) => title), []);
  const titles = dialogues.map(({ title }) => title);
  assert.deepEqual(titles.filter((title, index) => titles.indexOf(title) !== index), []);
});

test("every case of a dialogue says something of its own", () => {
  for (const [rule, cases] of Map.groupBy(dialogues, (each) => each.rule)) {
    assert.equal(new Set(cases.map(({ steps }) => JSON.stringify(steps))).size, cases.length, rule);
  }
});

test("behaviour() tells from the steps what the client gets and what becomes of the connections", () => {
  const refused = ["**client receives**", "```http", "(refusal bad_request)", "```", "**client connection is ended**"];
  assert.equal(behaviour(dialogue(...refused)), "`400 bad_request`, client connection closed, nothing reaches the VM");
  assert.equal(
    behaviour(dialogue("**VM receives**", "```http", "GET", "```", ...refused, "**VM connection is reset**")),
    "`400 bad_request`, client connection closed, VM connection reset",
  );
  const relayed = ["**client receives**", "```http", "HTTP/1.1 103 X", "", "HTTP/1.1 200 OK", "", "HTTP/1.1 200 OK", "", "```"];
  const states = ["**VM connection is closed**", "**VM 2 connection is idle**", "**client connection is open**"];
  const kept = "client connection kept, VM connection never used again, the next kept";
  assert.equal(behaviour(dialogue(...relayed, ...states)), "`103` relayed, `200` relayed, " + kept);
  assert.equal(behaviour(dialogue(...relayed, ...states), false), "relayed, " + kept);
  assert.equal(behaviour(dialogue("**client connection is reset**")), "no answer, client connection reset, nothing reaches the VM");
  assert.throws(() => behaviour(dialogue(...relayed)), /"Rule" does not say what becomes of client 1/);
  assert.throws(() => behaviour(dialogue("**client connection is open**", "**VM resets**")), /what becomes of VM 1/);
});

test("rulesOf() reads the mark above a test, and refuses one that says what the test does not", () => {
  const marked = (mark: string, title = '"a `test`"', body = "assert(408, 'head_timeout')"): string =>
    `// rule: ${mark}\ntest(${title}, () => {\n  ${body};\n});\n\ntest("another", () => {\n  assert(413);\n});\n`;
  const [row] = rulesOf("x.test.ts", marked("RFC 9110, 15.5.9; RFC 9112, 8 | `408 head_timeout`, client connection closed"));
  assert.deepEqual([row?.rule, row?.sections], ["a `test`", ["RFC 9110, 15.5.9", "RFC 9112, 8"]]);
  assert.equal(row?.behaviour, "`408 head_timeout`, client connection closed");
  assert.equal(rulesOf("x.test.ts", marked("RFC 9110, 1 | ok", "`in ${a.b} and ${c}`"))[0]?.rule, "in … and …");
  assert.throws(() => rulesOf("x.test.ts", marked("RFC 9110, 1 | `413`")), /does not test 413/);
  assert.throws(() => rulesOf("x.test.ts", marked("RFC 9110 | ok")), /no RFC sections/);
  assert.throws(() => rulesOf("x.test.ts", "// rule: RFC 9110, 1 | gone\nconst x = 1;\n"), /1 rules, but 0 with a test/);
  const looped = `for (const status of [431]) {\n  ${marked("RFC 9110, 1 | `431`").replace("\n", "\n  ")}}\n`;
  assert.equal(rulesOf("x.test.ts", looped).length, 1);
});
