import { test } from "node:test";
import assert from "node:assert/strict";
import { createLog } from "../../src/observation/log.ts";
import { RateLimitedLog } from "../../src/observation/rate-limited-log.ts";

function limitedLog(lines: number, level: "info" | "error" = "info") {
  const written: { msg: string; host?: string; suppressed?: number }[] = [];
  const clock = { nowMs: 0 };
  const log = createLog(level, (line) => written.push(JSON.parse(line)));
  return { log: new RateLimitedLog(log, { lines, windowMs: 10_000 }, () => clock.nowMs), written, clock };
}

test("RateLimitedLog lets a few lines pass per window and counts the others", () => {
  const { log, written, clock } = limitedLog(3);
  for (let i = 0; i < 10; i++) log.warn("no route", { host: `h${i}` });
  assert.deepEqual(written.map((line) => line.host), ["h0", "h1", "h2"]);
  clock.nowMs = 9_999;
  log.warn("no route", { host: "still" });
  assert.equal(written.length, 3);
  clock.nowMs = 10_000;
  log.warn("no route", { host: "next" });
  log.warn("no route", { host: "after" });
  assert.deepEqual(written.slice(3).map((line) => [line.host, line.suppressed]), [["next", 8], ["after", undefined]]);
});

test("RateLimitedLog limits each message on its own", () => {
  const { log, written } = limitedLog(1);
  log.warn("one");
  log.warn("one");
  log.warn("two");
  assert.deepEqual(written.map((line) => line.msg), ["one", "two"]);
});

test("RateLimitedLog does not count what the level leaves out", () => {
  const { log, written, clock } = limitedLog(1, "error");
  for (let i = 0; i < 5; i++) log.warn("quiet");
  clock.nowMs = 20_000;
  log.error("quiet");
  assert.deepEqual(written.map((line) => line.suppressed), [undefined]);
});
