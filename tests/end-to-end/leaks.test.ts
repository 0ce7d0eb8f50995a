/** Nothing is left of exchanges that broke off: as many as CI has time for; `deno task soak` runs a million. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { DataPlane } from "../fixtures/served-vms.ts";
import { soak, soakSummary } from "../soak/soak.ts";

const COUNT = 60_000;
/**
 * What may be left of an exchange. Resident memory swings by some 15 MiB with the garbage collector, so a slope over so few is only
 * good to some hundred bytes; a connection that is not let go of weighs several KiB.
 */
const MAX_BYTES_EACH = 1536;

test(`${COUNT} aborted exchanges leave no memory, no connection and no file behind`, async () => {
  await using plane = await DataPlane.start();
  const result = await soak(plane, COUNT);
  process.stdout.write(`${soakSummary(COUNT, result)}\n`);
  assert.ok(result.slope * 1024 / 1000 < MAX_BYTES_EACH, soakSummary(COUNT, result));
  assert.ok(result.filesAfter <= result.filesBefore, soakSummary(COUNT, result));
});
