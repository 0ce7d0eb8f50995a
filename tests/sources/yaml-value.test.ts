/** YAML as a plain value with places, and what such texts are refused for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ValuePath } from "../../src/sources/placed-value.ts";
import { parseYaml } from "../../src/sources/yaml-value.ts";

function valueOf(text: string): unknown {
  const read = parseYaml(text);
  assert.ok("value" in read, JSON.stringify(read));
  return read.value;
}

function problemsOf(text: string): string[] {
  const read = parseYaml(text);
  assert.ok("problems" in read, `${text.slice(0, 100)} is ${JSON.stringify(read).slice(0, 100)}`);
  return read.problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

function placeOf(text: string, path: ValuePath): string {
  const read = parseYaml(text);
  assert.ok("value" in read, JSON.stringify(read));
  const { line, column } = read.placeOf(path);
  return `${line}:${column}`;
}

test("parseYaml() reads YAML and JSON, with or without a byte order mark", () => {
  assert.deepEqual(valueOf("a: [1, x, 'y', true, ~]\non: yes\n"), { a: [1, "x", "y", true, null], on: "yes" });
  assert.deepEqual(valueOf('{"a": {"b": 1,\t"c": []}}'), { a: { b: 1, c: [] } });
  assert.deepEqual(valueOf("\uFEFFa: 1\r\nb: 2\r\n"), { a: 1, b: 2 });
  assert.deepEqual(valueOf("%YAML 1.2\n---\na: 1\n...\n"), { a: 1 });
  for (const empty of ["", "\n\n", "# nothing\n", "---\n", "~"]) assert.equal(valueOf(empty), null);
});

test("parseYaml() reads JSON as JSON.parse() does, and else as YAML", () => {
  const texts = [
    '{"a":[],"b":{},"c":[1,-2.5e+3,true,false,null],"d":"\\u00fc\\n\\"ü𝄞"}',
    " [ 1 ,\r\n\t2 ] ",
    '{"1":1,"":2}',
    '["\\ud834\\udd1e"]',
  ];
  for (const text of texts) assert.deepEqual(valueOf(text), JSON.parse(text), text);
  assert.deepEqual(valueOf("{a: [b, c], 'd': 01}"), { a: ["b", "c"], d: 1 });
  assert.deepEqual(valueOf('{"a": 1,} # more'), { a: 1 });
  for (const text of ['{"a": 1', '{"a": "\\x"}', '["a" "b"]', '{"a": 1} x', '{"__proto__": 1}']) {
    assert.equal(problemsOf(text).length > 0, true);
  }
  assert.equal(placeOf('{"a":\n [{}, {"b": [1,\n2]}]}', ["a", 1, "b", 1]), "3:1");
  assert.equal(placeOf('{"a": {"b": 1}}', ["a", "z"]), "1:2");
});

test("parseYaml() says where each part is, in the text as people count it", () => {
  const text = "a:\n  - b: 1\n    c: {d: x, e: y}\n  - 2\n";
  assert.equal(placeOf(text, []), "1:1");
  assert.equal(placeOf(text, ["a", 0, "c"]), "3:5");
  assert.equal(placeOf(text, ["a", 0, "c", "e"]), "3:15");
  assert.equal(placeOf(text, ["a", 1]), "4:5");
  // Of what is missing: of the nearest that is there.
  assert.equal(placeOf(text, ["a", 0, "z", "y"]), "2:5");
  assert.equal(placeOf('{"a":\n {"b": 1}}', ["a", "b"]), "2:3");
  assert.equal(placeOf("# ü𝄞\n'ü': {x: 1}", ["ü", "x"]), "2:7");
});

test("parseYaml() unfolds aliases and merges, own keys first", () => {
  assert.deepEqual(valueOf("x: &a {p: 1, q: 2}\ny: *a\nz: {<<: *a, q: 3}\n"), {
    x: { p: 1, q: 2 },
    y: { p: 1, q: 2 },
    z: { q: 3, p: 1 },
  });
  assert.deepEqual(valueOf("x: &a {p: 1}\ny: &b {p: 2, r: 3}\nz: {<<: [*a, *b]}\n")?.["z" as never], { p: 1, r: 3 });
  // What an alias means is decided where it stands.
  assert.deepEqual(valueOf("a: &n 1\nb: *n\nc: &n 2\nd: *n\n"), { a: 1, b: 1, c: 2, d: 2 });
  const text = "x: &a {p: 1}\nz:\n  - <<: *a\n  - *a\n";
  assert.equal(placeOf(text, ["z", 0, "p"]), "3:5");
  assert.equal(placeOf(text, ["z", 1]), "4:5");
});

test("parseYaml() refuses what would be read otherwise than it looks", () => {
  assert.deepEqual(problemsOf("a: 1\nb: 2\n  \na: 3\n"), ['4:1 the key "a" is there twice']);
  assert.deepEqual(problemsOf('{"a": {"b": 1, "b": 2}}'), ['1:16 the key "b" is there twice']);
  assert.deepEqual(problemsOf("a: 1\n---\nb: 2\n"), ["2:1 is a second document: there can be only one"]);
  assert.deepEqual(problemsOf("a:\n\tb: 1\n"), ["2:1 Tabs are not allowed as indentation"]);
  assert.deepEqual(problemsOf("a: !!binary aGk=\n"), ["1:13 has the tag tag:yaml.org,2002:binary, which means nothing here"]);
  assert.deepEqual(problemsOf("a: !mine x\n"), ["1:10 has the tag !mine, which means nothing here"]);
  assert.deepEqual(problemsOf("__proto__: {a: 1}\n"), ['1:1 the key "__proto__" cannot be used']);
  assert.deepEqual(problemsOf("[1, 2]: x\n"), ["1:1 a key must be a word"]);
  assert.deepEqual(problemsOf("a: *b\n"), ["1:4 no anchor &b is above: a text that begins with * needs quotes"]);
  assert.deepEqual(problemsOf("a: &b [*b]\n"), ["1:8 the alias *b contains itself"]);
  assert.deepEqual(problemsOf("a: {<<: 1}\n"), ["1:5 << needs a mapping"]);
  assert.match(problemsOf("a: [1,\n")[0]!, /^2:1 /);
});

test("parseYaml() refuses what unfolds without end", () => {
  let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (let i = 1; i < 12; i++) bomb += `a${i}: &a${i} [${Array(10).fill(`*a${i - 1}`).join(", ")}]\n`;
  assert.deepEqual(problemsOf(bomb), ["7:20 is too much: more than 4000000 values, with aliases unfolded"]);
  const keys = Array.from({ length: 1000 }, (_, i) => `k${i}: ${i}`).join(", ");
  const merges = `x: &a {${keys}}\nl:\n${"  - <<: *a\n".repeat(5000)}`;
  assert.match(problemsOf(merges)[0]!, /is too much: more than 4000000 values/);
  let chain = "a0: &a0 [x]\n";
  for (let i = 1; i < 100; i++) chain += `a${i}: &a${i} [*a${i - 1}]\n`;
  assert.match(problemsOf(chain)[0]!, /^6[34]:.* is nested more than 64 deep, with aliases unfolded$/);
  // Many uses of one anchor are fine.
  assert.equal((valueOf(`x: &a {p: 1}\nl: [${Array(5000).fill("*a").join(", ")}]\n`) as { l: unknown[] }).l.length, 5000);
});

test("parseYaml() refuses deep nesting without running out of stack", () => {
  for (const [open, close] of [["[", "]"], ["{a: ", "}"], ["- ", ""], ["? ", ""]] as const) {
    const deep = (depth: number) => `${open.repeat(depth)}x${close.repeat(depth)}`;
    for (const depth of [80, 20_000]) {
      assert.match(problemsOf(deep(depth)).join(), /is nested more than 64 deep/, `${open} ${depth}`);
    }
  }
  assert.equal(JSON.stringify(valueOf(`${"[".repeat(60)}${"]".repeat(60)}`)).length, 120);
  assert.deepEqual(problemsOf(`a: "${"x".repeat(16 * 2 ** 20)}"`), ["1:1 is larger than 16 MiB"]);
});

test("parseYaml() answers to whatever bytes, with a value or with problems", () => {
  const seeds = [
    "services:\n  a: &x {endpoints: [{url: 'http://h:1'}]}\nroutes:\n- path: /\n  <<: *x\n",
    '{"a":[1,{"b":null}],"c":"\\u00e4"}',
  ];
  let state = 1;
  const random = (below: number) => (state = (state * 48_271) % 2_147_483_647) % below;
  const bits = [
    "\t",
    "&a",
    "*a",
    "<<:",
    "!!",
    "- ",
    "? ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "|",
    ">",
    "%",
    "---\n",
    "\0",
    "\ud800",
    "\n",
    "#",
    "@",
    "`",
    ",",
  ];
  for (let round = 0; round < 3000; round++) {
    let text = seeds[random(seeds.length)]!;
    for (let i = random(6); i >= 0; i--) {
      const at = random(text.length + 1);
      text = text.slice(0, at) + bits[random(bits.length)]! + text.slice(at + random(3));
    }
    const read = parseYaml(text);
    if ("problems" in read) { for (const { line, column } of read.problems) assert.ok(line >= 1 && column >= 1, text); }
    else JSON.stringify(read.value);
  }
});

test("parseYaml() says that texts such as *.example.com need quotes", () => {
  assert.deepEqual(problemsOf("hosts: *.example.com\n"), [
    "1:8 no anchor &.example.com is above: a text that begins with * needs quotes",
  ]);
  for (const text of ["a: 1\nhosts: *\n", "a: 1\nhosts: [*]\n"]) {
    assert.match(problemsOf(text)[0]!, /^2:[89] an alias needs a name: a text that begins with \* needs quotes$/);
  }
});

test("parseYaml() leaves moments as they are written, also in YAML 1.1", () => {
  assert.deepEqual(valueOf("%YAML 1.1\n---\na: 2027-01-31T18:00:00Z\n"), { a: "2027-01-31T18:00:00Z" });
});

test("parseYaml() says of what is usual among mistakes what is meant", () => {
  const said: readonly (readonly [string, string])[] = [
    ["a: header: X-Key\n", "1:4 a text with a colon and a space needs quotes (header:NAME has no space)"],
    ["a: { b: header: X-Key }\n", "1:9 a text with a colon and a space needs quotes (header:NAME has no space)"],
    ["a: 1\nb:2\n", "2:1 is no key with a value: after the colon goes a space"],
    ["a:\n  b: 1\n c: 2\n", "3:1 is neither as far to the right as the keys above nor as those around them"],
    ["a:\n  - b: 1\n   c: 2\n", "3:1 is neither as far to the right as the keys of the item above, nor an item with a -"],
    ["a: { b: 1\nc: 2\n", "2:1 a { above is not closed"],
    ["a: [1\nc: 2\n", "2:1 a [ above is not closed"],
  ];
  for (const [text, first] of said) assert.equal(problemsOf(text)[0], first, text);
});
