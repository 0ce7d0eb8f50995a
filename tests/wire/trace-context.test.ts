/** Which trace a request belongs to (W3C Trace Context, levels 1 and 2). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isTraceId, traceIdAt, traceParent, traceparentAt } from "../../src/wire/trace-context.ts";
import { fieldList } from "../fixtures/heads.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c", PARENT = "b7ad6b7169203331";
const VALID = `00-${TRACE}-${PARENT}-01`;

function parentOf(...values: readonly string[]): ReturnType<typeof traceParent> | null {
  const fields = fieldList("X: 1", ...values.map((value) => `traceparent: ${value}`), "tracestate: a=1");
  const start = traceparentAt(fields);
  if (start < 0) return null;
  const parent = traceParent(fields.bytes, start);
  assert.equal(traceIdAt(fields.bytes, start), parent.traceId);
  return parent;
}

test("traceparentAt() finds a valid traceparent, whatever surrounds it", () => {
  assert.deepEqual(parentOf(VALID), { traceId: TRACE, parentId: PARENT, flags: 1 });
  assert.deepEqual(parentOf(` \t${VALID}\t `), { traceId: TRACE, parentId: PARENT, flags: 1 });
  for (const [flags, number] of [["00", 0], ["02", 2], ["ff", 255]] as const) {
    assert.equal(parentOf(`00-${TRACE}-${PARENT}-${flags}`)?.flags, number);
  }
});

test("traceparentAt() reads later versions as far as they are known", () => {
  for (
    const value of [`01-${TRACE}-${PARENT}-01`, `cc-${TRACE}-${PARENT}-01-`, `fe-${TRACE}-${PARENT}-01-what the-future.brings`]
  ) {
    assert.deepEqual(parentOf(value), { traceId: TRACE, parentId: PARENT, flags: 1 }, value);
  }
});

test("traceparentAt() takes a malformed traceparent for none", () => {
  const malformed = {
    "nothing": "",
    "version ff": `ff-${TRACE}-${PARENT}-01`,
    "version FE": `FE-${TRACE}-${PARENT}-01`,
    "a version that is no number": `0g-${TRACE}-${PARENT}-01`,
    "more behind version 00": `${VALID}-x`,
    "only a dash behind version 00": `${VALID}-`,
    "more behind a later version without a dash": `01-${TRACE}-${PARENT}-01x`,
    "a trace id of zeros": `00-${"0".repeat(32)}-${PARENT}-01`,
    "a parent id of zeros": `00-${TRACE}-${"0".repeat(16)}-01`,
    "capitals in the trace id": `00-${TRACE.toUpperCase()}-${PARENT}-01`,
    "capitals in the parent id": `00-${TRACE}-${PARENT.toUpperCase()}-01`,
    "capitals in the flags": `00-${TRACE}-${PARENT}-0A`,
    "a short trace id": `00-${TRACE.slice(1)}-${PARENT}-01`,
    "a long trace id": `00-0${TRACE}-${PARENT}-01`,
    "a short parent id": `00-${TRACE}-${PARENT.slice(1)}-01`,
    "one digit of flags": `00-${TRACE}-${PARENT}-1`,
    "no flags": `00-${TRACE}-${PARENT}`,
    "other dashes": `00_${TRACE}_${PARENT}_01`,
    "a letter that is no digit": `00-${TRACE.replace("a", "g")}-${PARENT}-01`,
    "a list": `${VALID}, ${VALID}`,
  };
  for (const [what, value] of Object.entries(malformed)) assert.equal(parentOf(value), null, what);
});

test("traceparentAt() takes several traceparents for none, also equal ones", () => {
  assert.equal(parentOf(VALID, VALID), null);
  assert.equal(parentOf("", VALID), null);
  assert.equal(parentOf(VALID, ""), null);
  assert.equal(parentOf(), null);
});

test("isTraceId() tells request ids that can be one", () => {
  assert.ok(isTraceId(TRACE));
  for (const id of ["0".repeat(32), TRACE.toUpperCase(), TRACE.slice(1), `${TRACE}0`, "lb-7", `${TRACE}\n`]) {
    assert.ok(!isTraceId(id), id);
  }
});
