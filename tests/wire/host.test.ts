/** The host of a request: one spelling or nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normaliseHost } from "../../src/wire/host.ts";

const GOOD: Readonly<Record<string, string>> = {
  "a.test": "a.test",
  "A.Test": "a.test",
  "a.test.": "a.test",
  "a.test:80": "a.test",
  "A.test.:65535": "a.test",
  "a.test:": "a.test",
  "a.test:0": "a.test",
  "my_app-1.test": "my_app-1.test",
  "xn--bcher-kva.test": "xn--bcher-kva.test",
  "10.0.0.1:8080": "10.0.0.1",
  "localhost": "localhost",
  "[::1]": "[::1]",
  "[::1]:8080": "[::1]",
  "[0:0::0001]:": "[::1]",
  "[2001:DB8::A]": "[2001:db8::a]",
  [`${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}.`]: `${"a".repeat(63)}.${"b".repeat(63)}.${
    "c".repeat(63)
  }.${"d".repeat(61)}`,
};

test("normaliseHost() gives one spelling per host", () => {
  for (const [authority, host] of Object.entries(GOOD)) assert.equal(normaliseHost(authority), host, authority);
});

const BAD: readonly string[] = [
  "",
  ".",
  "..",
  ".a.test",
  "a.test..",
  ":80",
  "a.test:65536",
  "a.test:000080",
  "a.test:8a",
  "a.test:-1",
  "a.test:80:80",
  "a.test:80.",
  "me@a.test",
  "me:pw@a.test",
  "a.test/x",
  "a.test\\x",
  "a.test?x",
  "a.test#x",
  "a.test, b.test",
  "a.test b.test",
  "a.test\tb",
  "a.test%00",
  "*.test",
  "b\xfccher.test",
  "::1",
  "[::1",
  "::1]",
  "[]",
  "[a.test]",
  "[10.0.0.1]",
  "[::1]x",
  "[::1]:x",
  "[::1]:65536",
  "[::1%eth0]",
  "[::1]]",
  "[[::1]]",
  "a".repeat(254),
];

test("normaliseHost() refuses what is no host", () => {
  for (const authority of BAD) assert.equal(normaliseHost(authority), null, authority);
});
