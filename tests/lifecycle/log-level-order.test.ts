import { test } from "node:test";
import assert from "node:assert/strict";
import { LogLevelOrder } from "../../src/lifecycle/log-level-order.ts";
import type { LogLevel } from "../../src/observation/log.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";

function order() {
  const timers = new FakeTimers();
  const log = new CollectingLog();
  const applied: (LogLevel | null)[] = [];
  return {
    timers,
    log,
    applied,
    order: new LogLevelOrder({ configured: "info", apply: (level) => applied.push(level), log, timers }),
  };
}

test("LogLevelOrder ends by itself, and the last word counts", async () => {
  const { timers, log, applied, order: level } = order();
  assert.deepEqual(level.status(), { level: "info", configured: "info", untilAtMs: null });
  level.set("debug", 1000);
  await timers.advance(600);
  level.set("warn", 1000);
  assert.deepEqual(level.status(), { level: "warn", configured: "info", untilAtMs: timers.nowMs() + 1000 });
  await timers.advance(999);
  assert.deepEqual(applied, ["debug", "warn"]);
  await timers.advance(1);
  assert.deepEqual(applied, ["debug", "warn", null]);
  assert.deepEqual(level.status(), { level: "info", configured: "info", untilAtMs: null });
  assert.equal(log.take().at(-1), "info log level is as configured again");
});

test("LogLevelOrder says in the log that it is made quieter, before it is, and that it says more, once it does", () => {
  const { order: level, log, applied } = order();
  const before: number[] = [];
  const info = log.info.bind(log);
  log.info = (msg, fields) => {
    before.push(applied.length);
    info(msg, fields);
  };
  level.set("error", 1000);
  level.set("debug", 2000);
  assert.deepEqual(before, [0, 2]);
  assert.deepEqual(log.lines.map(({ msg, fields }) => [msg, fields]), [
    ["log level changed", { level: "error", from: "info", "for_ms": 1000 }],
    ["log level changed", { level: "debug", from: "error", "for_ms": 2000 }],
  ]);
});

test("LogLevelOrder ends by reset, and by the configured level", async () => {
  const { timers, log, applied, order: level } = order();
  level.set("debug", 1000);
  level.set("info", 1000);
  level.reset("SIGHUP");
  level.set("error", 1000);
  level.reset("SIGHUP");
  await timers.advance(5000);
  assert.deepEqual(applied, ["debug", null, "error", null]);
  assert.deepEqual(log.lines.flatMap(({ fields }) => fields.reason ?? []), ["asked", "SIGHUP"]);
});
