import assert from "node:assert/strict";
import { test } from "node:test";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { JointCount, JointCounts } from "../../src/upstream/joint-count.ts";
import { workersCells } from "../fixtures/workers-cells.ts";

test("a count lets in as many as its limit, and again whoever comes when one has left", () => {
  const count = new JointCount(new CellTable(), "places/a");
  assert.deepEqual([1, 2, 3].map(() => count.take(2)), [true, true, false]);
  count.release();
  assert.deepEqual([count.count, count.take(2), count.take(2)], [1, true, false]);
  assert.equal(count.take(0), true, "without a limit");
});

test("a count never falls below nothing", () => {
  const count = new JointCount(new CellTable(), "places/a");
  count.release();
  assert.equal(count.count, 0);
});

test("two workers count together, and a third that is gone counts no more", () => {
  const clock = { nowMs: 1000 };
  const [one, two, three] = workersCells(3, clock).map((cells) => ({ cells, count: new JointCount(cells, "places/a") })) as [
    { cells: CellTable; count: JointCount },
    { cells: CellTable; count: JointCount },
    { cells: CellTable; count: JointCount },
  ];
  try {
    assert.deepEqual([one.count.take(3), two.count.take(3), three.count.take(3)], [true, true, true]);
    assert.deepEqual([one.count.take(3), two.count.take(3), one.count.count], [false, false, 3]);
    for (const { cells } of [one, two, three]) cells.leave(); // all of a process leave with the first
    for (const { cells } of [one, two]) cells.attend();
    clock.nowMs += 1000;
    assert.deepEqual([one.count.count, one.count.take(3), two.count.take(3)], [2, true, false]);
  } finally {
    for (const { cells } of [one, two, three]) cells.leave();
  }
});

test("what is held survives that its row is given to another name", () => {
  const clock = { nowMs: 1000 };
  const [cells] = workersCells(1, clock) as [CellTable];
  const count = new JointCount(cells, "places/a");
  count.take(5);
  count.take(5);
  cells.of(`places/a/${cells.seat}`).fill(0); // as after an hour without a question
  assert.equal(count.take(5), true);
  assert.equal(count.count, 3);
  cells.leave();
});

test("there is one count for a name as long as something of it is held", () => {
  const counts = new JointCounts(new CellTable());
  const held = counts.of("a"), free = counts.of("b");
  held.take(1);
  counts.tidy();
  assert.equal(counts.of("a"), held);
  assert.notEqual(counts.of("b"), free);
});

test("a service with thousands of endpoints: a look at a count asks for no row, until the list of workers is read anew", () => {
  const clock = { nowMs: 1000 };
  const [one, two] = workersCells(2, clock) as [CellTable, CellTable];
  try {
    const [ours, theirs] = [one, two].map((cells) => new JointCount(cells, "places/a")) as [JointCount, JointCount];
    assert.deepEqual([ours.take(0), theirs.take(0), ours.count], [true, true, 2]);
    let asked = 0;
    const { of } = one;
    Object.assign(one, { of: (name: string) => (asked++, of.call(one, name)) });
    theirs.take(0);
    assert.deepEqual([ours.count, ours.count, asked], [3, 3, 0]);
    clock.nowMs += 1000;
    assert.ok(ours.count === 3 && asked > 0);
  } finally {
    for (const cells of [one, two]) cells.leave();
  }
});
