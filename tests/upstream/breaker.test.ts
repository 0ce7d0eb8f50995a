import assert from "node:assert/strict";
import { test } from "node:test";
import type { BreakerPolicy } from "../../src/table/policy.ts";
import { type Breaker, type BreakerEvent, readBreaker, step, writeBreaker } from "../../src/upstream/breaker.ts";
import { CELLS } from "../../src/upstream/cell-table.ts";

const POLICY: BreakerPolicy = {
  failures: 3,
  failureRate: 0,
  minRequests: 10,
  windowMs: 10_000,
  openForMs: 30_000,
  halfOpenRequests: 2,
  scope: "endpoint",
  strategy: "retry-elsewhere",
  fallback: null,
};
const BY_RATE: BreakerPolicy = { ...POLICY, failures: 0, failureRate: 0.5 };

/** A breaker and what happens to it, results by default of attempts that began a moment ago. */
class Life {
  breaker: Breaker = readBreaker(new Float64Array(CELLS));
  readonly #policy: BreakerPolicy;

  constructor(policy: BreakerPolicy) {
    this.#policy = policy;
  }

  say(event: BreakerEvent): Breaker {
    return this.breaker = step(this.breaker, event, this.#policy);
  }

  results(text: string, atMs: number, opened = this.breaker.opened): string {
    for (const each of text) this.say({ kind: each === "+" ? "succeeded" : "failed", atMs, opened });
    return this.breaker.state;
  }
}

test("a breaker opens by failures in a row, and a success ends the row", () => {
  const life = new Life(POLICY);
  assert.equal(life.results("--+--", 1000), "closed");
  assert.equal(life.results("-", 1000), "open");
  assert.deepEqual(life.breaker, { state: "open", opened: 1, untilMs: 31_000 });
});

test("a breaker opens by the share of failures once there are enough requests", () => {
  const life = new Life(BY_RATE);
  assert.equal(life.results("+-+-+-+-+", 1000), "closed", "nine requests are too few");
  assert.equal(life.results("-", 1000), "open", "five of ten");
  const good = new Life(BY_RATE);
  assert.equal(good.results("+-+-+-+-+++-+-+", 1000), "closed", "less than half");
});

test("what is older than the window does not count", () => {
  const life = new Life(BY_RATE);
  life.results("---------", 1000);
  assert.equal(life.results("+", 11_001), "closed");
  assert.equal(life.results("++++++++-", 11_001), "closed", "one of ten, the nine before are over");

  const straddling = new Life(BY_RATE);
  straddling.results("------", 5000);
  assert.equal(straddling.results("---", 9000), "closed");
  assert.equal(straddling.results("-", 10_500), "open", "ten within the window, over its halves");
});

test("an open breaker lets nobody in before its time, then half-opens for who asks", () => {
  const life = new Life(POLICY);
  life.results("---", 0);
  const open = life.breaker;
  assert.equal(life.say({ kind: "asked", atMs: 29_999 }), open, "the same object: nothing has changed");
  assert.deepEqual(life.say({ kind: "asked", atMs: 30_000 }), { state: "half-open", opened: 1, successes: 0 });
});

test("so many successes close a half-open breaker, one failure opens it again, for the same time", () => {
  const life = new Life(POLICY);
  life.results("---", 0);
  life.say({ kind: "asked", atMs: 30_000 });
  assert.equal(life.results("+", 30_010), "half-open");
  assert.equal(life.results("+", 30_020), "closed");
  assert.equal(life.results("--", 30_030), "closed", "the row begins anew");

  const again = new Life(POLICY);
  again.results("---", 0);
  again.say({ kind: "asked", atMs: 30_000 });
  again.results("+-", 30_010);
  assert.deepEqual(again.breaker, { state: "open", opened: 2, untilMs: 60_010 });
});

test("results of attempts that began at another time of the breaker count for nothing", () => {
  const life = new Life(POLICY);
  life.results("---", 0);
  life.say({ kind: "asked", atMs: 30_000 });
  const halfOpen = life.breaker;
  assert.equal(life.results("++--", 30_001, 0), "half-open", "sent while it was closed");
  assert.equal(life.breaker, halfOpen);
});

test("a reset closes from everywhere", () => {
  for (const events of [[], ["asked"]] as const) {
    const life = new Life(POLICY);
    life.results("---", 0);
    for (const kind of events) life.say({ kind, atMs: 30_000 });
    assert.equal(life.say({ kind: "reset" }).state, "closed");
    assert.equal(life.results("--", 30_000), "closed");
  }
});

test("a breaker is the same as numbers", () => {
  const states: Breaker[] = [
    {
      state: "closed",
      opened: 3,
      row: 2,
      halfAtMs: 12_345.5,
      half: { requests: 7, failures: 2 },
      halfBefore: { requests: 1, failures: 1 },
    },
    { state: "open", opened: 4, untilMs: 1e12 },
    { state: "half-open", opened: 4, successes: 1 },
  ];
  for (const before of states) {
    for (const state of states) {
      const cells = new Float64Array(CELLS);
      writeBreaker(cells, before);
      writeBreaker(cells, state);
      assert.deepEqual(readBreaker(cells), state);
    }
  }
});
