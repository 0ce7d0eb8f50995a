/** How changed routes are told in the log. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangeReport } from "../../src/sources/change-report.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";

function stage() {
  const log = new CollectingLog();
  const timers = new FakeTimers();
  const report = new ChangeReport(log, timers);
  let revision = 0;
  const tell = (reason = "change", durationMs = 2.4): void => {
    const tally = { added: 1, removed: 2, changed: 3 };
    report.tell({ revision: ++revision, reason, source: "postgres", tally, routes: 100 + revision, durationMs });
  };
  /** Revision, number and reason of each line, which are then forgotten. */
  const told = () => log.lines.splice(0).map(({ fields }) => [fields["revision"], fields["revisions"], fields["reason"]]);
  return { log, timers, report, tell, told };
}

test("tell() writes the first change at once and sums up those of the second after it", async () => {
  const { log, timers, tell } = stage();
  tell();
  assert.deepEqual(log.lines.splice(0).map(({ msg, fields }) => [msg, fields]), [
    ["routes changed", {
      added: 1,
      removed: 2,
      changed: 3,
      routes: 101,
      revision: 1,
      revisions: 1,
      duration_ms: 2,
      reason: "change",
      source: "postgres",
    }],
  ]);
  for (let i = 0; i < 99; i++) {
    await timers.advance(10);
    tell("change", i);
  }
  assert.deepEqual(log.lines, []);
  await timers.advance(10);
  assert.deepEqual(log.lines.splice(0).map(({ fields }) => fields), [{
    added: 99,
    removed: 198,
    changed: 297,
    routes: 200,
    revision: 100,
    revisions: 99,
    duration_ms: 98,
    reason: "change",
    source: "postgres",
  }]);
  assert.deepEqual(timers.delays, []);
});

test("tell() writes a line a second while changes go on, and at once after a pause", async () => {
  const { timers, tell, told } = stage();
  for (let i = 0; i < 30; i++) {
    tell();
    await timers.advance(100);
  }
  assert.deepEqual(told(), [[1, 1, "change"], [10, 9, "change"], [20, 10, "change"], [30, 10, "change"]]);
  await timers.advance(1000);
  tell();
  assert.deepEqual(told(), [[31, 1, "change"]]);
});

test("tell() writes what has another reason at once, in order", () => {
  const { timers, tell, told } = stage();
  for (const reason of ["start", "change", "change", "change", "SIGHUP", "change"]) tell(reason);
  assert.deepEqual(told(), [[1, 1, "start"], [2, 1, "change"], [4, 2, "change"], [5, 1, "SIGHUP"], [6, 1, "change"]]);
  assert.deepEqual(timers.delays, []);
});

test("flush() leaves nothing untold and no timer", () => {
  const { timers, report, tell, told } = stage();
  tell();
  tell();
  report.flush();
  assert.deepEqual(told(), [[1, 1, "change"], [2, 1, "change"]]);
  assert.deepEqual(timers.delays, []);
});
