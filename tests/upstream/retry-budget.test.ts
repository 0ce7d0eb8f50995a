import assert from "node:assert/strict";
import { test } from "node:test";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { RetryBudget, RetryBudgets } from "../../src/upstream/retry-budget.ts";
import { workersCells } from "../fixtures/workers-cells.ts";

/** The budget of a service, and a clock that stands until it is moved. */
class Stage {
  nowMs = 0;
  readonly cells: CellTable = new CellTable();
  readonly budget: RetryBudget;

  constructor() {
    this.cells.nowMs = () => this.nowMs;
    this.budget = new RetryBudget(this.cells, "users");
  }

  deposit(requests: number, atMs: number): void {
    this.nowMs = atMs;
    for (let i = 0; i < requests; i++) this.budget.deposit();
  }

  /** How many of `wanted` retries are had at that moment. */
  had(share: number, atMs: number, wanted: number): number {
    this.nowMs = atMs;
    return had(this.budget, share, wanted);
  }
}

function had(budget: RetryBudget, share: number, wanted: number): number {
  let count = 0;
  for (let i = 0; i < wanted; i++) if (budget.withdraw(share)) count++;
  return count;
}

test("retries are a share of the requests, and ten in ten seconds for whoever has few", () => {
  const stage = new Stage();
  assert.equal(stage.had(0.2, 50_000, 100), 10, "the floor");
  stage.deposit(1000, 50_500);
  assert.equal(stage.had(0.2, 50_900, 1000), 190, "not beside the share");
  assert.equal(stage.had(0.2, 50_900, 1), 0);
});

test("what is older than ten seconds counts no more, retries and requests alike", () => {
  const stage = new Stage();
  stage.deposit(100, 1_000_000);
  assert.equal(stage.had(0.5, 1_004_000, 1000), 50);
  assert.equal(stage.had(0.5, 1_009_999, 10), 0);
  assert.equal(stage.had(0.5, 1_010_000, 1000), 0, "the requests are gone, the retries are not yet");
  assert.equal(stage.had(0.5, 1_014_000, 1000), 10);
  assert.equal(stage.had(0.5, 9_000_000, 1000), 10, "after a long rest");
});

test("a total outage at a steady pace gets the share and the floor, not more", () => {
  const stage = new Stage();
  let retries = 0;
  for (let ms = 0; ms < 60_000; ms += 10) {
    stage.deposit(1, ms);
    retries += stage.had(0.2, ms, 2);
  }
  assert.ok(retries <= 6000 * 0.2 + 10, `${retries} retries of 6,000 requests`);
  assert.ok(retries >= 6000 * 0.19, `${retries} retries of 6,000 requests`);
});

test("a share of 0 is no retry at all", () => {
  const stage = new Stage();
  stage.deposit(1, 50_000);
  assert.equal(stage.had(0, 50_000, 10), 0);
});

test("several workers have one budget: ten for whoever has few, and a share of what all have had", () => {
  const clock = { nowMs: 50_000 };
  const workers = workersCells(4, clock);
  try {
    const budgets = workers.map((cells) => new RetryBudgets(cells).of("users"));
    const hadByAll = (wanted: number) => budgets.reduce((sum, budget) => sum + had(budget, 0.2, wanted), 0);
    assert.equal(hadByAll(100), 10);
    for (let i = 0; i < 1000; i++) budgets[i % 3]!.deposit();
    assert.equal(hadByAll(1000), 190, "whoever has had them");
    clock.nowMs += 20_000;
    assert.equal(hadByAll(1000), 10);
    assert.equal(had(new RetryBudgets(workers[0]!).of("orders"), 0.2, 100), 10, "another service has its own");
  } finally {
    for (const cells of workers) cells.leave();
  }
});

test("an outage over two workers at a steady pace gets the share and the floor, whatever each of them has", () => {
  const clock = { nowMs: 50_000 };
  const workers = workersCells(2, clock);
  try {
    const budgets = workers.map((cells) => new RetryBudgets(cells).of("users"));
    let retries = 0;
    for (let i = 0; i < 6000; i++, clock.nowMs += 10) {
      const budget = budgets[i % 10 === 0 ? 0 : 1]!;
      budget.deposit();
      retries += had(budget, 0.2, 2);
    }
    assert.ok(retries <= 6000 * 0.2 + 10 && retries >= 6000 * 0.19, `${retries} retries of 6,000 requests`);
  } finally {
    for (const cells of workers) cells.leave();
  }
});

test("a row that was given to another name is not written any more", () => {
  const clock = { nowMs: 50_000 };
  const [cells] = workersCells(1, clock) as [CellTable];
  const budget = new RetryBudgets(cells).of("users");
  assert.equal(had(budget, 0.2, 100), 10);
  for (let i = 0; i < 400_000; i++) {
    clock.nowMs += 0.001;
    cells.passing(`flood ${i}`)[0] = 1;
  }
  assert.equal(had(budget, 0.2, 100), 10, "it begins anew");
  assert.equal(had(budget, 0.2, 100), 0, "in a row of its own");
  cells.leave();
});
