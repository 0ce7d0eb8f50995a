/** The end of a generation: phases in order, a deadline that counts from the right moment, and words about it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Drain, type DrainWork } from "../../src/lifecycle/drain.ts";
import type { WorkLeft } from "../../src/observation/drain-status.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";

const NOTHING: WorkLeft = { exchanges: 0, tunnels: 0, connections: 0 };

/** A drain over workers that the test plays. */
function drainOf(delayMs: number, graceMs: number) {
  const timers = new FakeTimers();
  const log = new CollectingLog();
  const calls: (readonly [graceMs: number, succeeded: boolean] | "kill")[] = [];
  const through = Promise.withResolvers<number>();
  const play = { left: NOTHING };
  const work: DrainWork = {
    finish: (...parameters) => {
      calls.push(parameters);
      return through.promise;
    },
    left: () => play.left,
    collect: () => Promise.resolve(),
    kill: () => calls.push("kill"),
  };
  const drain = new Drain(work, { delayMs, graceMs, log, timers });
  const phase = () => drain.status?.phase;
  return { drain, timers, log, calls, through, play, phase };
}

test("Drain goes from serving to drained at once when there is nothing to wait for", async () => {
  const { drain, calls, through, phase, timers } = drainOf(0, 30_000);
  assert.equal(drain.status, null);
  const over = drain.begin("SIGTERM");
  assert.equal(phase(), "finishing");
  assert.deepEqual(calls, [[30_000, false]]);
  through.resolve(0);
  assert.equal(await over, 0);
  assert.equal(phase(), "drained");
  assert.deepEqual(timers.delays, []);
});

test("Drain stays a lame duck for the delay, and the grace counts from its end", async () => {
  const { drain, timers, calls, through, phase } = drainOf(15_000, 30_000);
  const startedAtMs = timers.nowMs();
  const over = drain.begin("SIGTERM");
  assert.deepEqual([phase(), calls], ["lame-duck", []]);
  assert.equal(drain.status?.deadlineAtMs, startedAtMs + 45_000);
  assert.ok(drain.mostMs > 45_000);
  await timers.advance(14_999);
  assert.deepEqual([phase(), calls], ["lame-duck", []]);
  await timers.advance(1);
  assert.deepEqual([phase(), calls], ["finishing", [[30_000, false]]]);
  assert.equal(drain.status?.deadlineAtMs, startedAtMs + 45_000);
  assert.equal(drain.status?.phaseSinceAtMs, startedAtMs + 15_000);
  await timers.advance(30_000);
  assert.equal(phase(), "cutting");
  through.resolve(3);
  assert.equal(await over, 3);
  assert.equal(drain.status?.sinceAtMs, startedAtMs);
});

test("Drain is no lame duck when a successor has taken over, or when nobody could notice", () => {
  for (const [manner, succeeded] of [[{ succeeded: true }, true], [{ atOnce: true }, false]] as const) {
    const { drain, calls, phase } = drainOf(15_000, 30_000);
    void drain.begin("succeeded by pid 12", manner);
    assert.deepEqual([phase(), calls], ["finishing", [[30_000, succeeded]]]);
  }
});

test("Drain ends its lame duck when a successor takes over meanwhile", async () => {
  const { drain, timers, calls, through, phase } = drainOf(15_000, 30_000);
  const first = drain.begin("SIGTERM");
  await timers.advance(1000);
  const second = drain.begin("succeeded by pid 12", { succeeded: true });
  assert.deepEqual([phase(), calls, drain.status?.reason], ["finishing", [[30_000, true]], "succeeded by pid 12"]);
  assert.equal(drain.status?.deadlineAtMs, timers.nowMs() + 30_000);
  await timers.advance(14_000);
  assert.equal(calls.length, 1, "the lame duck's own end does not come again");
  through.resolve(2);
  assert.deepEqual([await first, await second], [2, 2]);
});

test("Drain begins once, whoever asks again", async () => {
  const { drain, timers, calls, phase } = drainOf(15_000, 30_000);
  void drain.begin("SIGTERM");
  void drain.begin("SIGINT");
  assert.deepEqual([phase(), drain.status?.reason], ["lame-duck", "SIGTERM"]);
  await timers.advance(15_000);
  void drain.begin("succeeded by pid 12", { succeeded: true });
  assert.deepEqual([calls.length, drain.status?.reason], [1, "SIGTERM"]);
});

test("Drain ends workers that do not end by themselves, and counts what they had", async () => {
  const { drain, timers, calls, play, log } = drainOf(0, 1000);
  play.left = { exchanges: 2, tunnels: 1, connections: 4 };
  const over = drain.begin("SIGTERM");
  await timers.advance(1000);
  await timers.advance(4999);
  assert.equal(calls.includes("kill"), false);
  await timers.advance(1);
  assert.equal(await over, 3);
  assert.equal(calls.at(-1), "kill");
  assert.ok(log.take().includes("error workers did not end"));
  assert.equal(drain.status?.phase, "drained");
});

test("Drain comes to its end also when a worker fails", async () => {
  const { drain, through, log } = drainOf(0, 1000);
  const over = drain.begin("SIGTERM");
  through.reject(new Error("channel closed"));
  assert.equal(await over, 0);
  assert.deepEqual(log.take(), ["info draining", "error drain failed"]);
});

test("Drain says what is left when it begins and every few seconds, and nothing when it is over", async () => {
  const { drain, timers, through, play, log } = drainOf(2000, 30_000);
  play.left = { exchanges: 3, tunnels: 1, connections: 9 };
  void drain.begin("SIGTERM");
  await settle();
  await timers.advance(5000);
  play.left = { exchanges: 1, tunnels: 1, connections: 2 };
  await timers.advance(5000);
  through.resolve(0);
  await settle();
  await timers.advance(60_000);
  assert.deepEqual(log.lines.map(({ msg, fields }) => ({ msg, ...fields })), [
    { msg: "draining", reason: "SIGTERM", lame_duck_ms: 2000, grace_ms: 30_000, exchanges: 3, tunnels: 1, connections: 9 },
    { msg: "draining", phase: "finishing", exchanges: 3, tunnels: 1, connections: 9, left_ms: 27_000 },
    { msg: "draining", phase: "finishing", exchanges: 1, tunnels: 1, connections: 2, left_ms: 22_000 },
  ]);
});
