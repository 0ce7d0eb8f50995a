import assert from "node:assert/strict";
import { test } from "node:test";
import type { BreakerPolicy } from "../../src/table/policy.ts";
import { BreakerGuard } from "../../src/upstream/breaker-guard.ts";
import type { CellTable } from "../../src/upstream/cell-table.ts";
import { JointCount } from "../../src/upstream/joint-count.ts";
import { workersCells } from "../fixtures/workers-cells.ts";

const POLICY: BreakerPolicy = {
  failures: 2,
  failureRate: 0,
  minRequests: 10,
  windowMs: 10_000,
  openForMs: 5000,
  halfOpenRequests: 1,
  scope: "endpoint",
  strategy: "retry-elsewhere",
  fallback: null,
};

/** One breaker as several workers see it. */
class Stage implements Disposable {
  readonly clock = { nowMs: 1000 };
  readonly told: string[] = [];
  readonly guards: readonly BreakerGuard[];
  readonly #cells: readonly CellTable[];

  constructor(workers: number, policy: Partial<BreakerPolicy> = {}) {
    this.#cells = workersCells(workers, this.clock);
    this.guards = this.#cells.map((cells) =>
      new BreakerGuard("vm/10.0.0.5:80@users", { ...POLICY, ...policy }, {
        cells,
        trials: new JointCount(cells, "trials/a"),
        noticed: () => {},
        turned: ({ from, to, reason }) => void this.told.push(`${from} > ${to}${reason === "" ? "" : `: ${reason}`}`),
      })
    );
  }

  fail(worker = 0): void {
    this.guards[worker]!.enter()!.ended("connect_failed");
  }

  [Symbol.dispose](): void {
    for (const cells of this.#cells) cells.leave();
  }
}

test("a breaker shuts its door in all workers, by what all of them have seen, and tells once", () => {
  using stage = new Stage(2);
  const [one, two] = stage.guards as [BreakerGuard, BreakerGuard];
  stage.fail(0);
  assert.equal(two.look(), null);
  stage.fail(1);
  assert.deepEqual([one.look(), two.look(), one.enter(), two.enter()], ["open", "open", null, null]);
  assert.deepEqual(stage.told, ["closed > open: connect_failed"]);
});

test("half-open, one worker has the trial; its success opens the door for all", () => {
  using stage = new Stage(2);
  const [one, two] = stage.guards as [BreakerGuard, BreakerGuard];
  stage.fail();
  stage.fail();
  stage.clock.nowMs += 4999;
  assert.equal(one.look(), "open");
  stage.clock.nowMs += 1;
  assert.deepEqual([one.look(), two.look()], [null, null], "whoever comes first");
  const trial = one.enter()!;
  assert.deepEqual([one.look(), two.look(), two.enter()], ["open", "open", null]);
  trial.answered(200);
  assert.deepEqual([one.look(), two.look()], [null, null], "the head is enough: it may be a stream");
  trial.ended(null);
  assert.deepEqual(stage.told.slice(1), ["open > half-open", "half-open > closed"]);
});

test("a trial that goes on as a stream or a tunnel keeps no later trial out, and that it stands still says nothing", () => {
  for (const status of [200, 101]) {
    using stage = new Stage(2, { openForMs: 1000 });
    const [one, two] = stage.guards as [BreakerGuard, BreakerGuard];
    const open = () => {
      stage.fail();
      stage.fail();
      stage.clock.nowMs += 1000;
    };
    open();
    const endless = one.enter()!;
    endless.answered(status);
    open();
    assert.deepEqual([one.look(), two.look()], [null, null], "the next trial may come");
    const next = two.enter()!;
    assert.deepEqual([one.look(), one.enter()], ["open", null], "one at a time");
    next.answered(200);
    next.ended(null);
    stage.fail();
    endless.ended("stream_timeout");
    assert.equal(one.look(), null);
  }
  using stage = new Stage(1, { failures: 1 });
  stage.fail();
  stage.clock.nowMs += 5000;
  const trial = stage.guards[0]!.enter()!;
  trial.answered(200);
  trial.ended("stream_timeout");
  assert.equal(stage.guards[0]!.look(), null);
});

test("a trial that was given up says nothing, and the next one comes", () => {
  using stage = new Stage(1);
  const [guard] = stage.guards as [BreakerGuard];
  stage.fail();
  stage.fail();
  stage.clock.nowMs += 5000;
  guard.enter()!.ended(null);
  assert.equal(guard.breaker.state, "half-open");
  const trial = guard.enter()!;
  trial.answered(503);
  trial.ended(null);
  assert.deepEqual([guard.breaker.state, guard.look()], ["open", "open"]);
});

test("answers in trouble and failures of the endpoint count, what the client or we do does not", () => {
  using stage = new Stage(1, { failures: 3 });
  const [guard] = stage.guards as [BreakerGuard];
  const visit = (status: number, failure: "upstream_reset" | "overloaded" | "stream_timeout" | null = null) => {
    const each = guard.enter()!;
    if (status > 0) each.answered(status);
    each.ended(failure);
    return guard.breaker;
  };
  visit(0, "overloaded");
  visit(0);
  visit(404);
  assert.deepEqual({ ...visit(501) }, { ...guard.breaker });
  visit(500);
  const row = visit(200, "upstream_reset");
  assert.equal(row.state === "closed" && row.row, 2, "an answer that breaks off is a failure, and no success before that");
  const stalled = visit(200, "stream_timeout");
  assert.equal(stalled.state === "closed" && stalled.row, 2, "an answer that stalls is neither");
  visit(200);
  assert.equal(guard.breaker.state === "closed" && guard.breaker.row, 0);
  for (let i = 0; i < 3; i++) visit(0, "stream_timeout");
  assert.equal(guard.breaker.state, "open", "no answer is a failure, whatever ended the wait");
});

test("a reset closes it for all", () => {
  using stage = new Stage(2);
  const [one, two] = stage.guards as [BreakerGuard, BreakerGuard];
  stage.fail();
  stage.fail();
  two.reset();
  assert.deepEqual([one.look(), stage.told.at(-1)], [null, "open > closed"]);
});
