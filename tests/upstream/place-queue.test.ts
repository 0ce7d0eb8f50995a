import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { ConcurrencyPolicy } from "../../src/table/policy.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { PlaceQueue, PlaceQueues, type Waiter } from "../../src/upstream/place-queue.ts";
import { PlacesGuard } from "../../src/upstream/places-guard.ts";
import { JointCount } from "../../src/upstream/joint-count.ts";
import { workersCells } from "../fixtures/workers-cells.ts";

const LIMITS: ConcurrencyPolicy = { soft: 0, hard: 1, queue: 3, queueTimeoutMs: 60_000 };

/** Waiters that take places as long as there are any, and write down who got one. */
class Stage {
  places = 0;
  readonly served: string[] = [];
  readonly timedOut: EventTarget = new EventTarget();

  waiter(name: string, wants: () => boolean = () => true): Waiter {
    return {
      offer: () => {
        if (this.places === 0 || !wants()) return false;
        this.places--;
        this.served.push(name);
        return true;
      },
      onTimeout: () => {
        this.served.push(`${name} timed out`);
        this.timedOut.dispatchEvent(new Event(name));
      },
    };
  }
}

test("places go to who has waited longest, and no more may wait than the policy says", () => {
  const queue = new PlaceQueue(new CellTable(), "users");
  const stage = new Stage();
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => stage.waiter(name)) as [Waiter, Waiter, Waiter, Waiter];
  assert.deepEqual([a, b, c, d].map((each) => queue.join(each, LIMITS)), [true, true, true, false]);
  stage.places = 2;
  queue.offer();
  assert.deepEqual([stage.served, queue.length], [["a", "b"], 1]);
  assert.equal(queue.join(d, LIMITS), true);
  assert.equal(queue.leave(c), true);
  assert.equal(queue.leave(c), false, "once");
  stage.places = 5;
  queue.offer();
  assert.deepEqual([stage.served, queue.length, queue.anybody], [["a", "b", "d"], 0, false]);
});

test("nobody waits where the queue has no length", () => {
  assert.equal(new PlaceQueue(new CellTable(), "users").join(new Stage().waiter("a"), { ...LIMITS, queue: 0 }), false);
});

test("who has no use for a place does not keep it from the next", () => {
  const queue = new PlaceQueue(new CellTable(), "users");
  const stage = new Stage();
  let picky = true;
  queue.join(stage.waiter("a", () => !picky), LIMITS);
  queue.join(stage.waiter("b"), LIMITS);
  stage.places = 1;
  queue.offer();
  picky = false;
  stage.places = 1;
  queue.offer();
  assert.deepEqual(stage.served, ["b", "a"]);
});

test("whoever waits too long is told so, and leaves its place in the queue", async () => {
  const queue = new PlaceQueue(new CellTable(), "users");
  const stage = new Stage();
  const over = once(stage.timedOut, "a");
  queue.join(stage.waiter("a"), { ...LIMITS, queueTimeoutMs: 1 });
  const alive = setInterval(() => {}, 1000); // the queue's timers keep no process alive
  await over;
  clearInterval(alive);
  assert.deepEqual([stage.served, queue.length], [["a timed out"], 0]);
});

test("a freed place is offered once whoever freed it is done", async () => {
  const queue = new PlaceQueue(new CellTable(), "users");
  const stage = new Stage();
  queue.join(stage.waiter("a"), LIMITS);
  stage.places = 1;
  queue.freed();
  queue.freed();
  assert.deepEqual(stage.served, []);
  await Promise.resolve();
  assert.deepEqual(stage.served, ["a"]);
});

test("of two workers, the one whose oldest has waited longer comes first, unless it has no use for the place", () => {
  const clock = { nowMs: 1000 };
  const [one, two] = workersCells(2, clock) as [CellTable, CellTable];
  try {
    const stage = new Stage();
    const first = new PlaceQueue(one, "users"), second = new PlaceQueue(two, "users");
    const a = stage.waiter("a"), b = stage.waiter("b");
    first.join(a, LIMITS);
    clock.nowMs += 200;
    second.join(b, LIMITS);
    assert.equal(second.join(stage.waiter("c"), { ...LIMITS, queue: 2 }), false, "two wait, one in each worker");
    assert.equal(new PlaceQueue(two, "users").anybody, true);
    stage.places = 1;
    second.offer();
    assert.deepEqual(stage.served, []);
    first.offer();
    assert.deepEqual(stage.served, ["a"]);
    stage.places = 1;
    second.offer();
    assert.deepEqual(stage.served, ["a", "b"]);
  } finally {
    for (const cells of [one, two]) cells.leave();
  }
});

test("an endpoint is busy from its soft limit on and full at its hard one, and its places come back", () => {
  const count = new JointCount(new CellTable(), "places/a");
  let freed = 0;
  const guard = new PlacesGuard(count, { ...LIMITS, soft: 1, hard: 2 }, () => void freed++);
  assert.equal(guard.look(), null);
  const visit = guard.enter()!;
  assert.equal(guard.look(), "busy");
  assert.notEqual(guard.enter(), null);
  assert.deepEqual([guard.look(), guard.enter()], ["full", null]);
  visit.ended(null);
  assert.deepEqual([guard.look(), freed], ["busy", 1]);
});

test("there is one queue for a service as long as somebody waits", () => {
  const queues = new PlaceQueues(new CellTable());
  const queue = queues.of("users");
  const waiter = new Stage().waiter("a");
  queue.join(waiter, LIMITS);
  queues.tidy();
  assert.equal(queues.of("users"), queue);
  queue.leave(waiter);
});

test("where each look for a place takes its time, those behind the first do not hold up everybody else", () => {
  const queue = new PlaceQueue(new CellTable(), "thousands");
  let offers = 0;
  const waiters = Array.from({ length: 3 }, (): Waiter => ({
    offer: () => {
      offers++;
      for (const untilMs = performance.now() + 3; performance.now() < untilMs;);
      return false;
    },
    onTimeout: () => {},
  }));
  for (const waiter of waiters) assert.ok(queue.join(waiter, LIMITS));
  queue.offer();
  for (const waiter of waiters) queue.leave(waiter);
  assert.equal(offers, 1);
});
