/** Numbers by name, in memory of our own and in memory that several tables share. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CellMemory, CELLS, MEMORY_BYTES } from "../../src/upstream/cell-memory.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";

const HOUR_MS = 3_600_000;

test("CellTable gives zeros for a name at first, then what was written", () => {
  const cells = new CellTable();
  assert.deepEqual([...cells.of("breaker users")], new Array(CELLS).fill(0));
  cells.of("breaker users")[5] = 1.5;
  assert.equal(cells.of("breaker users")[5], 1.5);
  assert.equal(cells.of("breaker user")[5], 0);
  cells.passing("client 10.0.0.1")[0] = 7;
  assert.equal(cells.passing("client 10.0.0.1")[0], 7);
  assert.deepEqual(cells.seats(), [cells.seat]);
  assert.equal(cells.isShared, false);
});

test("two CellTables over the same memory see each other's writes", () => {
  const memory = new ArrayBuffer(MEMORY_BYTES);
  const shared = { memory, nowMs: () => 1000 };
  const one = new CellTable(shared), two = new CellTable(shared);
  one.of("breaker users")[0] = 3;
  one.of("breaker users")[1] = 0.25;
  assert.deepEqual([...two.of("breaker users")].slice(0, 2), [3, 0.25]);
  two.passing("client")[2] = 9;
  assert.equal(one.passing("client")[2], 9);
});

test("memory of another layout is refused", () => {
  const memory = new ArrayBuffer(MEMORY_BYTES);
  new Float64Array(memory)[0] = 17;
  assert.throws(() => new CellTable({ memory, nowMs: () => 0 }), /layout 17/);
});

test("CellMemory keeps 40,000 lasting names apart", () => {
  const memory = new CellMemory(new ArrayBuffer(MEMORY_BYTES), () => 0.3);
  const names = Array.from({ length: 40_000 }, (_, i) => `vm/10.0.${i >> 8}.${i & 255}:8080@users`);
  const placed = names.filter((name, i) => {
    const cells = memory.find(name, "lasting", 1);
    if (cells !== null) cells[0] = i + 1;
    return cells !== null;
  });
  assert.equal(placed.length, names.length);
  for (const [i, name] of names.entries()) assert.equal(memory.find(name, "lasting", 2)![0], i + 1);
});

test("lasting names are not pushed out by others until nobody has asked for an hour", () => {
  let nowMs = 1000;
  const cells = new CellTable({ memory: new ArrayBuffer(MEMORY_BYTES), nowMs: () => nowMs });
  const full: string[] = [];
  cells.onFull = (name) => full.push(name);
  const names = Array.from({ length: 80_000 }, (_, i) => `name ${i}`);
  for (const [i, name] of names.entries()) cells.of(name)[0] = i + 1;
  assert.ok(full.length > 14_000, `${full.length} of 80,000 had no place among 65,536`);
  const wrong = names.filter((name, i) => cells.of(name)[0] !== i + 1);
  assert.deepEqual(wrong, [], "no name has the numbers of another, and those without a place keep their own");
  nowMs += HOUR_MS + 1;
  full.length = 0;
  for (let i = 0; i < 30_000; i++) assert.equal(cells.of(`later ${i}`)[0], 0);
  assert.deepEqual(full, []);
});

test("rows of zeros make room when they are not in use: workers that have ended leave theirs", () => {
  let nowMs = 1000;
  const cells = new CellTable({ memory: new ArrayBuffer(MEMORY_BYTES), nowMs: () => nowMs });
  const full: string[] = [];
  cells.onFull = (name) => full.push(name);
  const named = (what: string) => Array.from({ length: 12_000 }, (_, i) => `places/vm ${i}/${what}`);
  for (const name of named("held")) cells.of(name)[0] = 1;
  for (let generation = 0; generation < 6; generation++) {
    for (const name of named(String(generation))) cells.of(name)[0] = 1; // requests under way
    for (const name of named(String(generation))) cells.of(name)[0] = 0; // and over
    assert.equal(named("held").find((name) => cells.of(name)[0] !== 1), undefined);
    nowMs += 10_001;
  }
  assert.deepEqual(full, []);
});

test("passing names always have a place: a flood of others makes us forget those used longest ago", () => {
  let nowMs = 0;
  const cells = new CellTable({ memory: new ArrayBuffer(MEMORY_BYTES), nowMs: () => nowMs });
  cells.passing("seldom")[0] = 1;
  for (let i = 0; i < 400_000; i++) {
    nowMs++;
    cells.passing(`flood ${i}`)[0] = 1;
    if (i % 64 === 0) cells.passing("often")[0]! += 1;
  }
  assert.equal(cells.passing("often")[0], 6250);
  assert.equal(cells.passing("seldom")[0], 0);
});

test("100,000 passing names that are asked for in turn keep their numbers, all but a few", () => {
  let nowMs = 0;
  const memory = new CellMemory(new ArrayBuffer(MEMORY_BYTES), () => 0.3);
  const names = Array.from({ length: 100_000 }, (_, i) => `limit from 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  let lost = 0;
  for (let round = 0; round < 3; round++) {
    for (const name of names) {
      const cells = memory.find(name, "passing", nowMs += 0.001)!;
      if (cells[0] !== round) lost++;
      cells[0] = round + 1;
    }
  }
  assert.ok(lost < 2000, `${lost} times one was forgotten`);
});

test("seats are those of the processes that live", () => {
  let nowMs = 1000;
  const memory = new ArrayBuffer(MEMORY_BYTES);
  const shared = { memory, nowMs: () => nowMs };
  const seats = new CellMemory(memory);
  const table = new CellTable(shared);
  assert.ok(seats.sit(71, 4001, nowMs));
  assert.ok(seats.sit(72, 4002, nowMs));
  assert.deepEqual(table.seats(), [table.seat, (71).toString(36), (72).toString(36)]);
  seats.vacate(4001); // its supervisor has seen it end
  nowMs += 1000;
  assert.deepEqual(table.seats(), [table.seat, (72).toString(36)]);
  nowMs += 5000;
  assert.ok(seats.sit(72, 4002, nowMs));
  nowMs += 6000;
  assert.deepEqual(table.seats(), [table.seat, (72).toString(36)], "it has said a moment ago that it lives");
  nowMs += 5000;
  assert.deepEqual(table.seats(), [table.seat], "nobody has heard of it");
});

test("a seat that is taken or left is known to all at once", () => {
  const memory = new ArrayBuffer(MEMORY_BYTES);
  const seats = new CellMemory(memory);
  const table = new CellTable({ memory, nowMs: () => 1000 });
  assert.deepEqual(table.seats(), [table.seat]);
  assert.ok(seats.sit(71, 4001, 1000));
  assert.deepEqual(table.seats(), [table.seat, (71).toString(36)]);
  assert.equal(table.seats(), table.seats(), "not looked for again");
  seats.vacate(4001);
  assert.deepEqual(table.seats(), [table.seat]);
});

test("seats of dead processes are given to others, those of the living are not", () => {
  const seats = new CellMemory(new ArrayBuffer(MEMORY_BYTES));
  for (let token = 1; token <= 128; token++) assert.ok(seats.sit(token, token, 0));
  assert.equal(seats.sit(1000, 1000, 5000), false);
  assert.ok(seats.sit(5, 5, 9000));
  for (let token = 1001; token <= 1127; token++) assert.ok(seats.sit(token, token, 11_000), String(token));
  assert.equal(seats.sit(1128, 1128, 11_000), false);
  assert.ok(seats.seated(11_000).includes(5));
});
