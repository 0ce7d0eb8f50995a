/** Words that policies may use, and those that the forwarding understands, are the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Template } from "../../src/forwarding/variables.ts";
import { variableProblem, VARIABLES } from "../../src/sources/policy-schema-answers.ts";

test("variables are refused exactly where they would stay as they are written", () => {
  const known = [...VARIABLES.map((name) => `{${name}}`), "{header:X-User}", "{cookie:side}"];
  for (const text of known) {
    assert.equal(variableProblem(text), null, text);
    assert.equal(new Template(text).fixed, false, text);
  }
  for (const text of ["{clientip}", "{header:}", "{header:a b}", "{cookie:a;b}", "{body}", "{header}", "{Host}"]) {
    assert.notEqual(variableProblem(text), null, text);
    assert.equal(new Template(text).fixed, true, text);
  }
  for (const text of ["{}", "{ host }", "{1}", '{"error": "x"}', "{{"]) {
    assert.equal(variableProblem(text), null, text);
    assert.equal(new Template(text).fixed, true, text);
  }
});
