/** Nothing is left of exchanges that broke off: as many as CI has time for; `deno task soak` runs a million. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { DataPlane, ONE_PROCESS } from "../fixtures/served-vms.ts";
import { leftBytes } from "../soak/slope.ts";
import { soak, soakSummary } from "../soak/soak.ts";

const COUNT = 80_000;
/** What may be left of an exchange. A dozen runs came to between -50 and 290, or a little more; a connection that is kept weighs several KiB. */
const MAX_BYTES_EACH = 1000;
/** A machine that others use, too, takes its time. */
const PATIENCE_MS = 300_000;

test(`${COUNT} aborted exchanges leave no memory, no connection and no file behind`, { timeout: PATIENCE_MS }, async () => {
  await using plane = await DataPlane.start(ONE_PROCESS);
  const result = await soak(plane, COUNT);
  const left = leftBytes(result.samples);
  process.stdout.write(`${left.toFixed(0)} bytes are left of each. ${soakSummary(COUNT, result)}\n`);
  assert.ok(left < MAX_BYTES_EACH, `${left.toFixed(0)} bytes are left of each. ${soakSummary(COUNT, result)}`);
  assert.ok(result.filesAfter <= result.filesBefore, soakSummary(COUNT, result));
});
