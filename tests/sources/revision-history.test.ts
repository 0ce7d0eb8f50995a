/** What is remembered of the revisions, and what is let go. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Revision, RevisionHistory, type RevisionRecord } from "../../src/sources/revision-history.ts";
import { Routes } from "../../src/table/routes.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A history of revisions that changed so many hosts each, a minute apart or as told. */
function historyOf(changes: readonly number[], apartMs = MINUTE_MS): { history: RevisionHistory; tables: Routes[] } {
  const history = new RevisionHistory();
  const tables = [Routes.none];
  changes.forEach((changed, index) => {
    const after = routesOf([route(`r${index}.test`, vm("10.0.0.5"))]);
    history.record(recordOf(index + 1, tables.at(-1)!, after, changed, index * apartMs));
    tables.push(after);
  });
  return { history, tables };
}

function recordOf(revision: number, before: Routes, after: Routes, changed: number, atMs: number): RevisionRecord {
  return { revision, atMs, reason: "interval", source: "postgres", tally: { added: 0, removed: 0, changed }, before, after };
}

function oldestFirst(history: RevisionHistory): Revision[] {
  return [...history.list(2000)].reverse();
}

/** The revisions that can be served again, oldest first. */
function restorable(history: RevisionHistory): number[] {
  return history.list(2000).filter(({ after }) => after !== null).map(({ revision }) => revision).reverse();
}

test("list() shows the newest first, page by page", () => {
  const { history } = historyOf([1, 1, 1, 1, 1]);
  assert.deepEqual(history.list(2).map(({ revision }) => revision), [5, 4]);
  assert.deepEqual(history.list(2, 4).map(({ revision }) => revision), [3, 2]);
  assert.deepEqual(history.list(9, 2).map(({ revision }) => revision), [1]);
  assert.deepEqual(history.list(9, 1), []);
});

test("find() has the routes before and after", () => {
  const { history, tables } = historyOf([1, 2, 3]);
  assert.deepEqual(history.find(4), undefined);
  const second = history.find(2)!;
  assert.equal(second.before, tables[1]);
  assert.equal(second.after, tables[2]);
  assert.deepEqual([second.routes, second.tally.changed, second.reason, second.source], [1, 2, "interval", "postgres"]);
});

test("record() keeps small revisions for a day, 1,000 of them, and 20 in any case", () => {
  const day = historyOf(new Array(60).fill(1), HOUR_MS).history;
  assert.deepEqual([day.list(2000).length, day.find(35)?.revision, day.find(34)], [25, undefined, undefined]);
  assert.equal(historyOf(new Array(60).fill(1), 100 * HOUR_MS).history.list(2000).length, 20);
  assert.equal(historyOf(new Array(1100).fill(1)).history.list(2000).length, 1000);
});

test("record() lets go of the routes before a large revision once another has come", () => {
  const { history, tables } = historyOf([1, 1, 500_000]);
  assert.deepEqual(restorable(history), [1, 2, 3], "the revision before a large mistake can be served again");
  assert.equal(history.find(3)!.before, tables[2]);
  history.record(recordOf(4, tables[3]!, routesOf([]), 1, 4000));
  assert.deepEqual(restorable(history), [3, 4]);
  assert.deepEqual([history.find(3)!.before, history.find(2)!.after, history.find(4)!.before], [null, null, tables[3]]);
  assert.deepEqual(history.list(9).map(({ revision }) => revision), [4, 3, 2, 1]);
});

test("record() bounds what all revisions together hold", () => {
  const { history } = historyOf(new Array(10).fill(30_000));
  assert.deepEqual(restorable(history), [6, 7, 8, 9, 10]);
});

test("record() lets more changes be kept in the last 20 revisions than beyond", () => {
  const { history } = historyOf(new Array(100).fill(900));
  assert.equal(restorable(history).at(0), 77, "as many as hold 20,000 changes together, the last one left aside");
  const small = historyOf(new Array(500).fill(100)).history;
  assert.equal(restorable(small).length, 202);
});

test("a first table of any size costs nothing to list", () => {
  const { history } = historyOf([1_000_000, 5, 5]);
  assert.deepEqual(restorable(history), [1, 2, 3]);
  assert.equal(history.find(1)!.before, Routes.none);
});

test("record() keeps one revision for each minute beyond the last 20, which stands for all of it", () => {
  const { history, tables } = historyOf(new Array(200).fill(1), 1000);
  const listed = oldestFirst(history).map(({ revision, revisions, tally: { changed } }) => [revision, revisions, changed]);
  const last = Array.from({ length: 20 }, (_, index) => [181 + index, 1, 1]);
  assert.deepEqual(listed, [[60, 60, 60], [120, 60, 60], [180, 60, 60], ...last]);
  assert.equal(history.find(120)!.before, tables[60]);
  assert.equal(history.find(120)!.after, tables[120]);
  assert.equal(history.find(181)!.before, history.find(180)!.after, "none is skipped in between");
});

test("record() keeps the revision before a large one", () => {
  const sizes = new Array<number>(50).fill(1);
  sizes[9] = 1000;
  const { history, tables } = historyOf(sizes, 1000);
  const listed = oldestFirst(history).map(({ revision, revisions }) => [revision, revisions]);
  assert.deepEqual(listed.slice(0, 2), [[9, 9], [30, 21]]);
  assert.equal(history.find(30)!.before, tables[9]);
});
