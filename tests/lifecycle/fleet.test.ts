/** Workers are started, watched, replaced. The processes are stand-ins here; tests/end-to-end/workers.test.ts kills real ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkerEvents } from "../../src/lifecycle/fleet-member.ts";
import { Fleet, type FleetOptions } from "../../src/lifecycle/fleet.ts";
import { type DownMessage, NO_ORDERS, type UpMessage } from "../../src/lifecycle/worker-channel.ts";
import { NOTHING_COUNTED } from "../../src/observation/host-figures.ts";
import { NOTHING_POLICED } from "../../src/observation/policed-figures.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { Routes } from "../../src/table/routes.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";

/** A process that says what the test wants. */
class StandIn {
  readonly worker: number;
  readonly events: WorkerEvents;
  readonly received: DownMessage[] = [];
  /** Answers `collect` and says that it listens. */
  awake = true;
  requests = 0;
  killed = false;
  stallSeconds = 0;

  constructor(worker: number, events: WorkerEvents) {
    this.worker = worker;
    this.events = events;
  }

  receive(message: DownMessage): void {
    this.received.push(message);
    if (!this.awake) return;
    if (message.type === "listen") this.events.message({ type: "listening", port: 80, sockets: "epoll" });
    if (message.type === "collect") this.events.message(this.stats(message.serial));
  }

  stats(serial: number): UpMessage {
    const metrics = { ...new Metrics().snapshot(), connectionsAccepted: this.requests, connectionsOpen: 1 };
    return {
      type: "stats",
      serial,
      metrics,
      process: { residentBytes: 0, cpuSeconds: 0, stallSeconds: this.stallSeconds },
      hosts: NOTHING_COUNTED,
      policed: NOTHING_POLICED,
      used: [],
    };
  }

  /** What it was last told to accept from. */
  get sockets(): readonly number[] | undefined {
    return this.received.findLast((message) => message.type === "listen")?.sockets;
  }

  told(type: DownMessage["type"]): boolean {
    return this.received.some((message) => message.type === type);
  }
}

class World {
  readonly timers = new FakeTimers();
  readonly log = new CollectingLog();
  readonly started: StandIn[] = [];
  readonly failures: string[] = [];
  readonly told: string[] = [];
  readonly fleet: Fleet;
  /** Of those that are started from now on. */
  awake = true;
  pid = 100;

  constructor(options: Partial<FleetOptions> = {}) {
    this.fleet = new Fleet({
      orders: () => NO_ORDERS,
      workers: [1, 2],
      sockets: 2,
      start: (worker, events) => {
        const standIn = new StandIn(worker, events);
        standIn.awake = this.awake;
        this.started.push(standIn);
        return {
          pid: this.pid++,
          send: (message) => queueMicrotask(() => standIn.receive(message)),
          kill: () => {
            if (standIn.killed) return;
            standIn.killed = true;
            events.exit("SIGKILL");
          },
        };
      },
      snapshot: () => ({ revision: 0, routes: Routes.none }),
      receive: () => {},
      tell: (worker, state, reason) => this.told.push(`${worker} ${state} ${reason}`.trim()),
      failed: (reason) => this.failures.push(reason),
      graceMs: 1000,
      log: this.log,
      timers: this.timers,
      ...options,
    });
  }

  async run(): Promise<void> {
    this.fleet.start();
    this.fleet.listen();
    await this.timers.advance(0);
  }

  states(): string[] {
    return this.fleet.statuses().map(({ worker, state }) => `${worker} ${state}`);
  }
}

test("Fleet starts every worker and gives each a socket of its own", async () => {
  const world = new World();
  await world.run();
  assert.deepEqual(world.states(), ["1 serving", "2 serving"]);
  assert.deepEqual(world.started.map(({ sockets }) => sockets), [[0], [1]]);
});

test("Fleet replaces a worker that dies at once, and lets the others accept from its socket meanwhile", async () => {
  const world = new World();
  await world.run();
  const [first, second] = world.started;
  world.awake = false;
  first!.events.exit("SIGKILL");
  await world.timers.advance(0);
  assert.deepEqual(second!.sockets, [1, 0]);
  const [, , third] = world.started;
  assert.equal(third!.worker, 1);
  third!.awake = true;
  third!.events.message({ type: "listening", port: 80, sockets: "epoll" });
  await world.timers.advance(0);
  assert.deepEqual(world.states(), ["1 serving", "2 serving"]);
  assert.deepEqual(second!.sockets, [1]);
  assert.equal(world.fleet.restarts.killed, 1);
  assert.ok(world.log.take().includes("error worker died"));
  assert.deepEqual(world.told, ["1 starting", "2 starting", "1 serving", "2 serving", "1 died SIGKILL", "1 starting", "1 serving"]);
});

test("Fleet waits longer and longer for a worker that dies soon, and not for one that has lived", async () => {
  const world = new World();
  await world.run();
  for (const delayMs of [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
    const before = world.started.length;
    world.started.findLast(({ worker }) => worker === 1)!.events.exit("exit code 1");
    if (delayMs > 0) {
      await world.timers.advance(delayMs - 1);
      assert.equal(world.started.length, before, `not before ${delayMs} ms`);
    }
    await world.timers.advance(1);
    assert.equal(world.started.length, before + 1, `after ${delayMs} ms`);
  }
  const startedAtMs = world.timers.nowMs();
  await world.timers.advance(10_000);
  const before = world.started.length;
  world.started.at(-1)!.events.exit("exit code 1");
  const { state, pid, startedAtMs: last } = world.fleet.statuses()[0]!;
  assert.deepEqual([state, pid, last], ["restarting", null, startedAtMs]);
  await world.timers.advance(0);
  assert.equal(world.started.length, before + 1);
  assert.equal(world.fleet.restarts.error, 11);
});

test("Fleet shows a worker that does not answer as silent, lets others have its socket, and ends it", async () => {
  const world = new World();
  await world.run();
  await world.timers.advance(1000);
  const [first, second] = world.started;
  first!.awake = false;
  await world.timers.advance(3000);
  assert.deepEqual(world.states(), ["1 serving", "2 serving"], "asked once and twice in vain");
  await world.timers.advance(1000);
  assert.deepEqual(world.states(), ["1 silent", "2 serving"]);
  assert.deepEqual(second!.sockets, [1, 0]);
  await world.timers.advance(8000);
  assert.ok(first!.killed);
  assert.deepEqual(world.states(), ["1 serving", "2 serving"]);
  assert.equal(world.fleet.restarts.silent, 1);
});

test("Fleet takes a silent worker back when it answers again", async () => {
  const world = new World();
  await world.run();
  await world.timers.advance(1000);
  const [first, second] = world.started;
  first!.awake = false;
  await world.timers.advance(5000);
  assert.deepEqual(world.states(), ["1 silent", "2 serving"]);
  first!.awake = true;
  await world.timers.advance(1000);
  assert.deepEqual(world.states(), ["1 serving", "2 serving"]);
  await world.timers.advance(20_000);
  assert.equal(world.started.length, 2);
  assert.deepEqual(second!.sockets, [1]);
});

test("Fleet drains a worker that is leaving only once its replacement serves", async () => {
  const world = new World();
  await world.run();
  const [first] = world.started;
  world.awake = false;
  first!.events.message({ type: "leaving", reason: "SIGTERM" });
  await world.timers.advance(0);
  assert.equal(world.started.length, 3);
  assert.ok(!first!.told("drain"));
  world.started[2]!.awake = true;
  world.started[2]!.events.message({ type: "listening", port: 80, sockets: "epoll" });
  await world.timers.advance(0);
  assert.deepEqual(first!.received.at(-1), { type: "drain", graceMs: 1000, succeeded: true });
  first!.events.exit("exit code 0");
  await world.timers.advance(20_000);
  assert.equal(world.fleet.restarts.asked, 1);
  assert.ok(!world.log.take().includes("error worker died"));
});

test("Fleet gives up when no worker has ever served", async () => {
  const world = new World();
  world.awake = false;
  await world.run();
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(world.failures, []);
    world.started.findLast(({ worker }) => worker === 1)!.events.exit("exit code 132");
    await world.timers.advance(500);
  }
  assert.deepEqual(world.failures, ["worker 1 ended 3 times before it served, last by exit code 132"]);
});

test("Fleet gives up at once when the first workers say why they cannot start, and later on tries again", async () => {
  const world = new World();
  world.awake = false;
  await world.run();
  const [first, second] = world.started;
  first!.events.message({ type: "failed-to-start", error: "Cannot listen at 127.0.0.1:80: EACCES" });
  first!.events.exit("exit code 1");
  assert.deepEqual(world.failures, ["Cannot listen at 127.0.0.1:80: EACCES"]);
  second!.events.message({ type: "listening", port: 80, sockets: "epoll" });
  for (let i = 0; i < 5; i++) {
    await world.timers.advance(10_000);
    world.started.findLast(({ worker }) => worker === 1)!.events.exit("exit code 1");
  }
  assert.equal(world.failures.length, 1);
});

test("Fleet keeps the counters of workers that are gone, and not their gauges", async () => {
  const world = new World();
  await world.run();
  world.started[0]!.requests = 7;
  await world.fleet.collect();
  world.started[0]!.events.exit("SIGKILL");
  assert.equal(world.fleet.retired.connectionsAccepted, 7);
  assert.equal(world.fleet.retired.connectionsOpen, 0);
});

test("Fleet remembers the longest stall of a worker for half a minute, however often somebody asks", async () => {
  const world = new World();
  await world.run();
  const [worker] = world.started;
  const longest = () => world.fleet.statuses()[0]!.longestStallSeconds;
  for (const seconds of [0.001, 0.3, 0.02, 0.01]) {
    worker!.stallSeconds = seconds;
    await world.fleet.collect();
  }
  assert.equal(longest(), 0.3);
  await world.timers.advance(29_000);
  assert.equal(longest(), 0.3);
  await world.timers.advance(2000);
  assert.equal(longest(), 0.01);
});

test("Fleet waits for a silent worker neither at a scrape nor when a refresh is to be in force", async () => {
  const world = new World({ snapshot: () => ({ revision: 5, routes: Routes.none }) });
  world.fleet.start();
  world.started[1]!.awake = false;
  let collected = false;
  const collecting = world.fleet.collect().then(() => collected = true);
  await world.timers.advance(249);
  assert.ok(!collected);
  await world.timers.advance(1);
  await collecting;
  assert.equal(await world.fleet.applied(5), true, "nobody serves yet");
});

test("Fleet tells every worker of verdicts, and waits for those that serve until they have a revision", async () => {
  let revision = 0;
  const world = new World({ snapshot: () => ({ revision, routes: Routes.none }) });
  await world.run();
  world.fleet.healthChanged([["vm/10.0.0.1:80", "unprobed"]]);
  revision = 1;
  world.fleet.routesChanged();
  await world.timers.advance(0);
  for (const { received } of world.started) assert.deepEqual(received.slice(-2).map(({ type }) => type), ["health", "routes"]);
  const applied = world.fleet.applied(1);
  for (const { events } of world.started) events.message({ type: "taken", revision: 1 });
  assert.equal(await applied, true);
  const never = world.fleet.applied(2);
  await world.timers.advance(10_000);
  assert.equal(await never, false);
});

test("Fleet waits for a worker that is about to accept as for one that serves", async () => {
  let revision = 0;
  const world = new World({ snapshot: () => ({ revision, routes: Routes.none }) });
  world.awake = false; // told to accept from its sockets, and has not said that it does
  await world.run();
  assert.ok(world.started.every((standIn) => standIn.told("listen")));
  revision = 1;
  world.fleet.routesChanged();
  let done = false;
  const applied = world.fleet.applied(1).then((all) => (done = true, all));
  await world.timers.advance(0);
  assert.ok(!done, "its clients would be told that there is no table");
  for (const { events } of world.started) events.message({ type: "taken", revision: 1 });
  assert.equal(await applied, true);
});

test("Fleet lets a worker accept only once it has the present table", async () => {
  const world = new World({ snapshot: () => ({ revision: 5, routes: Routes.none }) });
  await world.run();
  assert.ok(!world.started[0]!.told("listen"));
  world.started[0]!.events.message({ type: "taken", revision: 5 });
  await world.timers.advance(0);
  assert.deepEqual(world.started[0]!.sockets, [0, 1], "the other one's, too, while that has no table");
  assert.ok(!world.started[1]!.told("listen"));
  world.started[1]!.events.message({ type: "taken", revision: 5 });
  await world.timers.advance(0);
  assert.deepEqual(world.started.map(({ sockets }) => sockets), [[0], [1]]);
});

test("Fleet.drain() ends what is left after the grace, and answers how much was cut", async () => {
  const world = new World();
  await world.run();
  const drained = world.fleet.drain(5000, false);
  await world.timers.advance(0);
  const [first, second] = world.started;
  assert.deepEqual(first!.received.at(-1), { type: "drain", graceMs: 5000, succeeded: false });
  first!.events.message({ type: "drained", cut: 3 });
  first!.events.exit("exit code 0");
  await world.timers.advance(8000);
  assert.equal(await drained, 3);
  assert.ok(second!.killed);
  assert.equal(world.started.length, 2, "nobody is replaced");
});

test("Fleet.drain() answers how much all workers together have cut", async () => {
  const world = new World();
  await world.run();
  const drained = world.fleet.drain(5000, false);
  for (const [index, { events }] of world.started.entries()) {
    events.message({ type: "drained", cut: 3 + index });
    events.exit("exit code 0");
  }
  await world.timers.advance(0);
  assert.equal(await drained, 7);
});

test("Fleet.ask() asks all that serve, the first of them, or one", async () => {
  const world = new World();
  await world.run();
  const asked = async (whom?: "all" | "first" | number) => {
    const answers = world.fleet.ask<"nothing">({ kind: "nothing" }, whom);
    await world.timers.advance(0);
    for (const standIn of world.started) {
      const ask = standIn.received.findLast((message) => message.type === "ask");
      if (ask !== undefined) standIn.events.message({ type: "answer", serial: ask.serial, answer: { kind: "nothing" } });
    }
    return (await answers).map(({ worker }) => worker);
  };
  assert.deepEqual([await asked(), await asked("first"), await asked(2), await asked(9)], [[1, 2], [1], [2], []]);
});
