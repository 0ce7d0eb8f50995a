/** Ejection, step by step, in cells, and at the door of an endpoint. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EjectionPolicy } from "../../src/table/policy.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { type Ejection, mostEjected, readEjection, step, writeEjection } from "../../src/upstream/ejection.ts";
import { chance } from "../fixtures/chance.ts";
import { workersCells } from "../fixtures/workers-cells.ts";
import { EjectionGuard } from "../../src/upstream/ejection-guard.ts";

const POLICY: EjectionPolicy = { errors: 3, windowMs: 10_000, timeMs: 10_000, maxShare: 0.5 };
const START_MS = 1_000_000;
const FRESH = readEjection(new Float64Array(6));

function failing(ejection: Ejection, atMs: number, mayEject = true): Ejection {
  return step(ejection, { kind: "failed", atMs: START_MS + atMs, mayEject: () => mayEject }, POLICY);
}

function looked(ejection: Ejection, atMs: number): Ejection {
  return step(ejection, { kind: "looked", atMs: START_MS + atMs }, POLICY);
}

/** The state after failures at these moments. */
function after(...moments: readonly number[]): Ejection {
  return moments.reduce((ejection, atMs) => failing(ejection, atMs), FRESH);
}

/** For how long it is out; 0: it is not. */
function outMs(ejection: Ejection): number {
  return ejection.state === "out" ? ejection.untilAtMs - ejection.sinceAtMs : 0;
}

test("step() ejects with the third error in ten seconds, wherever these ten seconds begin", () => {
  assert.equal(after(0, 1).state, "in");
  assert.equal(after(0, 1, 2).state, "out");
  assert.equal(after(0, 0, 0).state, "out");
  assert.equal(after(0, 9_000, 10_500, 11_000).state, "out", "over the border of a window");
  assert.equal(after(0, 6_000, 12_000, 18_000, 24_000).state, "in", "one error in six seconds");
  assert.equal(after(0, 1, 60_000, 60_001).state, "in", "long ago");
});

test("step() counts errors of a worker whose clock is behind as of now", () => {
  assert.equal(after(5, 0, 5).state, "out");
  assert.equal(after(5, 5, 0).state, "out");
});

test("step() doubles the time with each ejection, to five minutes, and begins anew after a good time", () => {
  let ejection = FRESH, atMs = 0;
  const times: number[] = [];
  for (let i = 0; i < 8; i++) {
    for (let error = 0; error < 3; error++) ejection = failing(ejection, atMs);
    times.push(outMs(ejection) / 1000);
    atMs += outMs(ejection) + 500;
    ejection = looked(ejection, atMs);
    assert.equal(ejection.state, "in");
  }
  assert.deepEqual(times, [10, 20, 40, 80, 160, 300, 300, 300]);
  atMs += 300_000;
  for (let error = 0; error < 3; error++) ejection = failing(ejection, atMs);
  assert.equal(outMs(ejection), 10_000);
});

test("step() leaves an endpoint in where too many others are out", () => {
  let ejection = FRESH;
  for (let i = 0; i < 10; i++) ejection = failing(ejection, i, false);
  assert.equal(ejection.state, "in");
  assert.equal(failing(ejection, 11).state, "out", "as soon as it may");
});

test("mostEjected() is half of the endpoints, and the only one", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 10].map((count) => mostEjected(count, 0.5)), [1, 1, 1, 2, 2, 5]);
  assert.equal(mostEjected(10, 0), 0);
});

test("step() returns an endpoint when a trial succeeds, not when a request of before does", () => {
  const out = after(100, 100, 100);
  const before = step(out, { kind: "succeeded", atMs: START_MS + 200, beganAtMs: START_MS + 50 }, POLICY);
  assert.equal(before, out);
  const trial = step(out, { kind: "succeeded", atMs: START_MS + 900, beganAtMs: START_MS + 800 }, POLICY);
  assert.deepEqual([trial.state, trial.state === "in" && trial.returnedAtMs], ["in", START_MS + 900]);
});

test("step() gives the same object for what means nothing", () => {
  assert.equal(looked(FRESH, 5), FRESH);
  assert.equal(step(FRESH, { kind: "tried", atMs: START_MS }, POLICY), FRESH);
  const out = after(0, 0, 0);
  assert.equal(failing(out, 10), out);
  assert.equal(looked(out, 10), out);
});

test("writeEjection() keeps in cells what readEjection() gives back", () => {
  const cells = new Float64Array(6);
  const states = [after(1), after(1, 9_000, 10_500), after(0, 0, 0), looked(after(0, 0, 0), 20_000)];
  for (const ejection of states) {
    writeEjection(cells, ejection);
    assert.deepEqual(readEjection(cells), ejection);
  }
});

/** Two or more endpoints of a service as one worker guards them. */
class Stage {
  nowMs = START_MS;
  readonly news: string[] = [];
  /** Their checks. */
  readonly failing: Set<string> = new Set();
  readonly later: (() => void)[] = [];
  readonly cells: CellTable = new CellTable();
  readonly guards: readonly EjectionGuard[];

  constructor(...names: readonly string[]) {
    this.cells.nowMs = () => this.nowMs;
    const parts = {
      cells: this.cells,
      peers: () => names.map((key) => ({ key })),
      isLone: () => names.length === 1,
      failsChecks: (key: string) => this.failing.has(key),
      noticed: () => {},
      turned: ({ key, turn, reason, forMs }: { key: string; turn: string; reason: string; forMs: number }) => {
        this.news.push(`${key} ${turn} ${forMs} ${reason}`);
      },
      after: (_delayMs: number, run: () => void) => void this.later.push(run),
    };
    this.guards = names.map((key) => new EjectionGuard(key, POLICY, parts));
  }

  fail(guard: EjectionGuard, times = 3): void {
    for (let i = 0; i < times; i++) guard.enter()?.ended("upstream_reset");
  }
}

function outOf({ cells, guards, nowMs }: Stage): string[] {
  return guards.flatMap((_, i) => {
    const found = readEjection(cells.of(`ejection/vm ${i}`));
    return found.state === "out" && found.untilAtMs > nowMs ? [`vm ${i}`] : [];
  });
}

test("EjectionGuard lets nobody in while the endpoint is out, but one request a second on trial", () => {
  const stage = new Stage("a", "b");
  const [a] = stage.guards;
  assert.equal(a!.look(), null);
  stage.fail(a!);
  assert.deepEqual(stage.news, ["a ejected 10000 upstream_reset"]);
  assert.equal(a!.look(), "trial");
  assert.notEqual(a!.enter(), null);
  assert.equal(a!.look(), "ejected");
  assert.equal(a!.enter(), null);
  stage.nowMs += 1000;
  assert.equal(a!.look(), "trial");
  a!.enter()!.ended("connect_timeout");
  assert.equal(a!.look(), "ejected");
  stage.nowMs += 1000;
  const trial = a!.enter()!;
  trial.answered(200);
  trial.ended(null);
  assert.equal(a!.look(), null);
  assert.deepEqual(stage.news.slice(1), ["a returned 0 a request on trial has succeeded"]);
});

test("EjectionGuard tells of a return by time once, also when nobody asks", () => {
  const stage = new Stage("a");
  stage.fail(stage.guards[0]!);
  stage.nowMs += 10_000;
  for (const run of stage.later) run();
  assert.deepEqual(stage.news, ["a ejected 10000 upstream_reset", "a returned 0 its time is over"]);
  assert.equal(stage.guards[0]!.look(), null);
  assert.equal(stage.news.length, 2);
  stage.nowMs += 300;
  assert.equal(stage.guards[0]!.returnedForMs, 300);
});

test("EjectionGuard never puts more than half of the endpoints out", () => {
  const stage = new Stage("a", "b", "c", "d");
  for (const guard of stage.guards) stage.fail(guard, 10);
  assert.deepEqual(stage.news, ["a ejected 10000 upstream_reset", "b ejected 10000 upstream_reset"]);
  assert.deepEqual(stage.guards.map((guard) => guard.look()), ["ejected", "ejected", null, null]);
});

test("EjectionGuard counts those that fail their checks as out", () => {
  const stage = new Stage("a", "b", "c", "d");
  stage.failing.add("c").add("d");
  for (const guard of stage.guards.slice(0, 2)) stage.fail(guard, 10);
  assert.deepEqual(stage.news, [], "half of them are out already");
  stage.failing.delete("d");
  stage.fail(stage.guards[0]!);
  assert.deepEqual(stage.news, ["a ejected 10000 upstream_reset"]);
  stage.fail(stage.guards[1]!, 10);
  assert.equal(stage.news.length, 1);
});

test("EjectionGuard never has more than half out, nor a second one of few, whatever fails and whenever", () => {
  const random = chance(11);
  for (const count of [1, 2, 3, 4, 7]) {
    const stage = new Stage(...Array.from({ length: count }, (_, i) => `vm ${i}`));
    let ejections = 0, longestMs = 0;
    for (let i = 0; i < 5000; i++) {
      stage.nowMs += Math.floor(random() * 500);
      const place = Math.floor(random() * count), name = `vm ${place}`;
      if (random() < 0.02) stage.failing.add(name);
      else if (random() < 0.03) stage.failing.delete(name);
      const before = outOf(stage), failing = stage.failing.size, said = stage.news.length;
      const visit = stage.guards[place]!.enter();
      if (random() < 0.3) visit?.answered(200);
      visit?.ended(random() < 0.6 ? "connect_failed" : null);
      const most = Math.max(1, Math.floor(count / 2));
      const news = stage.news.slice(said).filter((each) => each.includes("ejected"));
      for (const each of news) longestMs = Math.max(longestMs, Number(each.split(" ejected ")[1]!.split(" ")[0]));
      ejections += news.length;
      assert.ok(outOf(stage).length <= most, `${outOf(stage)} of ${count} are out`);
      const others = before.filter((each) => each !== name && !stage.failing.has(each)).length;
      if (news.length > 0) assert.ok(others + failing - (stage.failing.has(name) ? 1 : 0) < most, `${name} of ${count}`);
    }
    assert.ok(ejections > 5 && longestMs <= 300_000, `${ejections} ejections of ${count}, the longest of ${longestMs} ms`);
  }
});

test("EjectionGuard gives way when another worker puts another endpoint out in the same moment", () => {
  const clock = { nowMs: START_MS };
  const tables = workersCells(2, clock) as [CellTable, CellTable];
  try {
    const keys = ["a", "b"], news: string[] = [];
    const guards = keys.map((key, i) =>
      new EjectionGuard(key, POLICY, {
        cells: tables[i]!,
        peers: () => keys.map((each) => ({ key: each })),
        isLone: () => false,
        failsChecks: () => false,
        noticed: () => {},
        turned: ({ key, turn }) => void news.push(`${key} ${turn}`),
        after: () => {},
      })
    ) as [EjectionGuard, EjectionGuard];
    const fail = (guard: EjectionGuard, times: number): void => {
      for (let i = 0; i < times; i++) guard.enter()!.ended("upstream_reset");
    };
    fail(guards[0], 2);
    fail(guards[1], 2);
    // Both have seen that nobody is out when each writes that its own is
    const { of } = tables[0];
    let looked = 0;
    Object.assign(tables[0], {
      of: (name: string) => {
        if (name === "ejection/b" && ++looked === 1) {
          const seen = of.call(tables[0], name).slice();
          fail(guards[1], 1);
          return seen;
        }
        return of.call(tables[0], name);
      },
    });
    fail(guards[0], 1);
    assert.equal(looked > 1, true, "it has looked again");
    assert.deepEqual(news, ["b ejected"]);
    assert.deepEqual(guards.map((guard) => guard.look()), [null, "trial"]);
  } finally {
    for (const table of tables) table.leave();
  }
});

test("EjectionGuard counts neither what clients break off nor what we lack", () => {
  const stage = new Stage("a", "b");
  for (let i = 0; i < 10; i++) {
    stage.guards[0]!.enter()!.ended(null);
    stage.guards[0]!.enter()!.ended("overloaded");
    const stream = stage.guards[0]!.enter()!;
    stream.answered(200);
    stream.ended("stream_timeout");
  }
  assert.equal(stage.guards[0]!.look(), null);
  for (let i = 0; i < 3; i++) stage.guards[0]!.enter()!.ended("stream_timeout");
  assert.equal(stage.guards[0]!.look(), "trial", "out: without an answer it is the endpoint's");
});
