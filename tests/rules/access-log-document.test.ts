/** The lines that docs/access-log.md shows are what the writer writes today. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessLineProblems } from "../fixtures/access-line.ts";
import { readDocument } from "./document-tables.ts";

test("docs/access-log.md shows lines of today's schema", async () => {
  const lines = (await readDocument("docs/access-log.md")).split("\n").filter((line) => line.startsWith('{"time"'));
  assert.equal(lines.length, 2);
  assert.deepEqual(lines.flatMap((line) => accessLineProblems(line)), []);
});
