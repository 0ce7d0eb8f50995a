import assert from "node:assert/strict";
import { test } from "node:test";
import { type EdgeEvent, EventLog, type StoredEvent } from "../../src/observation/event-log.ts";
import { noBlames } from "../../src/observation/proxy-error.ts";
import { exchangeReport } from "../fixtures/exchange-report.ts";

test("after() answers the events of the asked types after an id, oldest first", () => {
  const log = new EventLog(() => 5);
  log.publish(source("one"));
  log.publish(worker("starting"));
  log.publish(source("two"));
  assert.deepEqual(log.after(0, ["source", "worker"]).map(({ id }) => id), [1, 2, 3]);
  assert.deepEqual(log.after(1, ["source"]), [{ ...source("two"), id: 3, atMs: 5 }]);
  assert.equal(log.lastId, 3);
});

test("after() keeps the last 1000 of each type, whatever there is of the others", () => {
  const log = new EventLog();
  log.publish(worker("starting"));
  for (let i = 0; i < 5000; i++) log.publish(source(String(i)));
  const kept = log.after(0, ["source", "worker"]);
  assert.equal(kept.length, 1001);
  assert.equal(kept[0]?.type, "worker");
  assert.equal(kept[1]?.id, 4002);
});

test("after() keeps the last 1000 errors by each, whatever the others do", () => {
  const log = new EventLog();
  for (const blame of ["vm", "database", "vm"] as const) log.publish({ type: "error", exchange: exchangeReport({ blame }) });
  for (let i = 0; i < 5000; i++) log.publish({ type: "error", exchange: exchangeReport({ blame: "client" }) });
  const kept = log.after(0, ["error"]);
  assert.deepEqual([kept.length, ...kept.slice(0, 4).map(({ id }) => id)], [1003, 1, 2, 3, 4004]);
});

test("lost errors add up by whose doing they were", () => {
  const log = new EventLog();
  for (const client of [3, 4]) log.lose({ ...noBlames(), client });
  assert.deepEqual(log.lost, { client: 7, vm: 0, region: 0, edge: 0, database: 0 });
});

test("subscribe() hears of each event until it is undone", () => {
  const log = new EventLog();
  const heard: StoredEvent[] = [];
  const undo = log.subscribe((event) => heard.push(event));
  log.publish(source("one"));
  undo();
  log.publish(source("two"));
  assert.deepEqual(heard.map(({ id }) => id), [1]);
});

function source(problem: string): EdgeEvent {
  return { type: "source", state: "failed", problem };
}

function worker(state: string): EdgeEvent {
  return { type: "worker", worker: 1, state, reason: "" };
}
