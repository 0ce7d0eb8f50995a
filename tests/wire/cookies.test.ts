import assert from "node:assert/strict";
import { test } from "node:test";
import { cookieValues } from "../../src/wire/cookies.ts";
import { fieldList } from "../fixtures/requests-under-policies.ts";

test("cookieValues() gives all values of a name, in order, as servers read them", () => {
  const fields = fieldList({ Cookie: 'a=1; b="2;a=3;\ta = 4 ;c', cookie: "a=5=6; a", "X-Cookie": "a=7" });
  assert.deepEqual(cookieValues(fields, "a"), ["1", "3", "4", "5=6"]);
  assert.deepEqual([cookieValues(fields, "b"), cookieValues(fields, "c"), cookieValues(fields, "A")], [['"2'], [], []]);
});

// rule: RFC 9110, 5.6.3 | the second byte of an à is no white space
test("cookieValues() takes spaces and tabs for white space, and no other byte", () => {
  const fields = fieldList({ Cookie: "a=voilà; \u00a0a=2; a\x0b=3" });
  assert.deepEqual(cookieValues(fields, "a").map((value) => Buffer.from(value, "latin1").toString()), ["voilà"]);
});
