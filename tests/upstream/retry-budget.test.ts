import assert from "node:assert/strict";
import { test } from "node:test";
import { RetryBudget } from "../../src/upstream/retry-budget.ts";

/** How many of `wanted` retries are had at that moment. */
function had(budget: RetryBudget, nowMs: number, wanted: number): number {
  let count = 0;
  for (let i = 0; i < wanted; i++) if (budget.withdraw(nowMs)) count++;
  return count;
}

test("retries are a share of the requests, and ten in ten seconds for whoever has few", () => {
  const budget = new RetryBudget(0.2);
  assert.equal(had(budget, 50_000, 100), 10, "the floor");
  for (let i = 0; i < 1000; i++) budget.deposit(50_500);
  assert.equal(had(budget, 50_900, 1000), 190, "not beside the share");
  assert.equal(had(budget, 50_900, 1), 0);
});

test("what is older than ten seconds counts no more, retries and requests alike", () => {
  const budget = new RetryBudget(0.5);
  for (let i = 0; i < 100; i++) budget.deposit(1_000_000);
  assert.equal(had(budget, 1_004_000, 1000), 50);
  assert.equal(had(budget, 1_009_999, 10), 0);
  assert.equal(had(budget, 1_010_000, 1000), 0, "the requests are gone, the retries are not yet");
  assert.equal(had(budget, 1_014_000, 1000), 10);
  assert.equal(had(budget, 9_000_000, 1000), 10, "after a long rest");
});

test("a total outage at a steady pace gets the share and the floor, not more", () => {
  const budget = new RetryBudget(0.2);
  let retries = 0;
  for (let ms = 0; ms < 60_000; ms += 10) {
    budget.deposit(ms);
    retries += had(budget, ms, 2);
  }
  assert.ok(retries <= 6000 * 0.2 + 10, `${retries} retries of 6,000 requests`);
  assert.ok(retries >= 6000 * 0.19, `${retries} retries of 6,000 requests`);
});

test("a share of 0 is no retry at all", () => {
  const budget = new RetryBudget(0);
  budget.deposit(50_000);
  assert.equal(had(budget, 50_000, 10), 0);
});
