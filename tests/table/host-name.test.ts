/** Domain names of rows, as hosts of requests are compared with them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isNormalisedDomain, normaliseDomain } from "../../src/table/host-name.ts";
import { normaliseHost } from "../../src/wire/host.ts";

const GOOD: Readonly<Record<string, string>> = {
  "app.example.com": "app.example.com",
  " App.Example.COM. ": "app.example.com",
  "*.Example.com": "*.example.com",
  "my_app.example.com": "my_app.example.com",
  "localhost": "localhost",
  "bücher.example": "xn--bcher-kva.example",
  "*.bücher.example": "*.xn--bcher-kva.example",
  "xn--bcher-kva.example": "xn--bcher-kva.example",
  "10.0.0.1": "10.0.0.1",
  "::1": "[::1]",
  "[2001:DB8:0::1]": "[2001:db8::1]",
};

test("normaliseDomain() gives names the spelling of hosts", () => {
  for (const [name, domain] of Object.entries(GOOD)) assert.equal(normaliseDomain(name), domain, name);
});

test("normaliseDomain() and normaliseHost() agree on what both know", () => {
  for (const domain of Object.values(GOOD)) if (!domain.startsWith("*")) assert.equal(normaliseHost(domain), domain);
});

test("normaliseDomain() refuses what is no host name", () => {
  const bad = [
    "",
    ".",
    "*",
    "*.",
    "a..b",
    ".a",
    "-a.test",
    "a-.test",
    "a b.test",
    "a/b",
    "a:80",
    "http://a",
    "a*.test",
    "*.*.test",
    "x.*.test",
  ];
  // A runtime's punycode may take them for parts of a URL, or for numbers
  const disguised = ["/x", "?x", "#x", "\\x", ":80", "/", "%", " x", "\tx", "\rx"].map((end) => `bücher.test${end}`);
  disguised.push("bü%63her.test", "bü\tcher.test", "u@bücher.test", "bücher.test／x", "１２７.1", "①.②.③.④", "０x7f.1");
  const long = [`${"a".repeat(64)}.test`, `${"a.".repeat(127)}a`, "me@a.test", "[a]", "a\0b", "a,b"];
  for (const name of [...bad, ...disguised, ...long]) assert.equal(normaliseDomain(name), null, JSON.stringify(name));
});

test("isNormalisedDomain() knows what normaliseDomain() would leave alone", () => {
  const long = `${"a".repeat(63)}.`.repeat(4);
  const others = [
    "",
    "*.",
    "a..b",
    ".a",
    "a.",
    "-a.test",
    "a-.test",
    "a b",
    "A.test",
    "a.*.test",
    "**.test",
    "[::1",
    "[::01]",
    "ü.test",
  ];
  for (
    const name of [...Object.keys(GOOD), ...Object.values(GOOD), ...others, long.slice(0, 253), long.slice(0, 255), "a".repeat(64)]
  ) {
    assert.equal(isNormalisedDomain(name), normaliseDomain(name) === name && name !== "::1", name);
  }
});

test("isNormalisedDomain() knows them in the middle of a text, too", () => {
  const letters = ["a", "z", "0", "_", "-", ".", "*", "A", " ", "ü", ":", "["];
  let normal = 0;
  for (let n = 0; n < letters.length ** 4; n++) {
    let name = "";
    for (let rest = n; rest > 0; rest = Math.floor(rest / letters.length)) name += letters[rest % letters.length];
    const expected = normaliseDomain(name) === name;
    if (expected) normal++;
    for (const [before, after] of [["", ""], ["b\n", "\nc"], ["*", ".a"], [".", "."]] as const) {
      assert.equal(
        isNormalisedDomain(before + name + after, before.length, before.length + name.length),
        expected,
        JSON.stringify([before, name, after]),
      );
    }
  }
  assert.ok(normal > 100);
});
