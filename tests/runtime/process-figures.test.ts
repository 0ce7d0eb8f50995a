import assert from "node:assert/strict";
import { test } from "node:test";
import { residentBytes } from "../../src/runtime/process-figures.ts";

test("residentBytes() is as last known when the process has no file left to read it from", () => {
  assert.ok(residentBytes() > 0);
  assert.equal(residentBytes(() => 4096), 4096);
  const noFiles = () => {
    throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
  };
  assert.equal(residentBytes(noFiles), 4096);
});
