/** What a worker is told, at the pace at which it takes it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BatchReader } from "../../src/lifecycle/route-batch.ts";
import { BATCH, type Snapshot } from "../../src/lifecycle/route-transfer.ts";
import type { DownMessage } from "../../src/lifecycle/worker-channel.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import { Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import type { Verdict } from "../../src/upstream/endpoint-findings.ts";
import { ELSEWHERE, recordsOf, region, route, type RouteDelta, routesOf, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2"), FAR = region(ELSEWHERE, "203.0.113.7");

/** The control side: a table that changes, and a link that is told. */
class Told {
  readonly messages: DownMessage[] = [];
  readonly link: WorkerLink;
  snapshot: Snapshot = { revision: 0, routes: Routes.none };

  constructor(send?: (message: DownMessage) => void) {
    this.link = new WorkerLink({ send: send ?? ((message) => this.messages.push(message)), snapshot: () => this.snapshot });
  }

  change(delta: RouteDelta): void {
    const records = new Map(recordsOf(this.snapshot.routes).map((each) => [each.host, each]));
    for (const host of delta.removals) records.delete(host);
    for (const each of delta.upserts) records.set(each.host, each);
    this.snapshot = { revision: this.snapshot.revision + 1, routes: routesOf(records.values()) };
    this.link.routesChanged();
  }

  /** As a worker that reads everything; answers how many messages there were. */
  readAll(worker: ReadingWorker): number {
    let count = 0;
    for (let message = this.messages.shift(); message !== undefined; message = this.messages.shift()) {
      count++;
      worker.read(message, this.link);
    }
    return count;
  }
}

/** Takes what it is told, one message at a time. */
class ReadingWorker {
  routes: Routes = Routes.none;
  revision = 0;
  #draft: RoutesDraft = new RoutesDraft();
  readonly #services: Services = new Services();
  #reader: BatchReader = new BatchReader(this.#draft, this.#services);
  readonly verdicts: Verdict[] = [];

  read(message: DownMessage, link: WorkerLink): void {
    if (message.type === "health") {
      this.verdicts.push(...message.verdicts);
      link.receive({ type: "judged" });
    }
    if (message.type !== "routes") return;
    if (message.base !== 0) assert.equal(message.base, this.revision);
    if (message.first) {
      this.#draft = message.base === 0 ? new RoutesDraft() : this.routes.draft();
      this.#reader = new BatchReader(this.#draft, this.#services);
    }
    this.#reader.begin(message);
    while (!this.#reader.read(7));
    if (message.last) {
      this.routes = this.#draft.finish();
      this.revision = message.revision;
    }
    link.receive({ type: "taken", revision: this.revision });
  }
}

function assertSame(worker: ReadingWorker, snapshot: Snapshot): void {
  assert.deepEqual(recordsOf(worker.routes), recordsOf(snapshot.routes));
  assert.equal(worker.revision, snapshot.revision);
}

function routes(count: number, from = 0): RouteRecord[] {
  return Array.from({ length: count }, (_, i) => route(`h${from + i}.test`, i % 2 === 0 ? A : B, FAR));
}

test("start() says nothing before the first table, then sends it whole", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.link.start();
  assert.equal(told.messages.length, 0);
  told.change({ upserts: routes(3), removals: [] });
  assert.equal(told.messages.length, 1);
  const [message] = told.messages;
  assert.ok(message?.type === "routes" && message.base === 0 && message.first && message.last);
  assert.equal(message.services.length, 2, "each once");
  told.readAll(worker);
  assertSame(worker, told.snapshot);
  assert.equal(told.link.appliedRevision, 1);
});

test("start() sends an empty table, too: it is one", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.change({ upserts: [], removals: [] });
  told.link.start();
  told.readAll(worker);
  assert.equal(worker.revision, 1);
});

test("a large table goes out in batches, eight of them not yet taken", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.change({ upserts: routes(10_000), removals: [] });
  told.link.start();
  assert.equal(told.messages.length, 8);
  worker.read(told.messages.shift()!, told.link);
  assert.equal(told.messages.length, 8);
  assert.ok(told.messages.every((message) => message.type === "routes" && message.size === BATCH && !message.first));
  assert.equal(told.link.appliedRevision, 0);
  assert.equal(told.readAll(worker), Math.ceil(10_000 / BATCH) - 1);
  assertSame(worker, told.snapshot);
});

test("a large delta goes out in batches, and names each service once", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.link.start();
  told.change({ upserts: routes(2000), removals: [] });
  told.readAll(worker);
  told.change({ upserts: routes(1600, 1501), removals: routes(700).map((each) => each.host) });
  const batches = told.messages.filter((message) => message.type === "routes");
  assert.deepEqual(batches.map(({ base, size }) => [base, size]), [...Array(4).fill([1, BATCH]), [1, 2300 - 4 * BATCH]]);
  assert.equal(batches.flatMap((batch) => batch.services).length, 2);
  told.readAll(worker);
  assertSame(worker, told.snapshot);
});

test("what changes while the table is on its way follows it, small deltas as one", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.change({ upserts: routes(5000), removals: [] });
  told.link.start();
  told.change({ upserts: [route("new.test", A), route("h1.test", B)], removals: ["h2.test"] });
  told.change({ upserts: [route("h2.test", A)], removals: ["new.test", "h3.test"] });
  told.change({ upserts: [], removals: ["h1.test"] });
  assert.equal(told.readAll(worker), Math.ceil(5000 / BATCH) + 1);
  assertSame(worker, told.snapshot);
});

test("a delta goes out at once when nothing is on the way", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.link.start();
  told.change({ upserts: routes(3), removals: [] });
  told.readAll(worker);
  for (let i = 0; i < 3; i++) {
    told.change({ upserts: [route(`n${i}.test`, A)], removals: [] });
    assert.equal(told.messages.length, i + 1);
  }
});

test("for a worker that does not read nothing piles up: in the end it is sent the table as it is then", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.change({ upserts: routes(100), removals: [] });
  told.link.start();
  for (let i = 0; i < 3000; i++) told.change({ upserts: [route(`h${i % 100}.test`, i % 3 === 0 ? A : B)], removals: [] });
  assert.equal(told.messages.length, 8);
  // The first, seven deltas, and one table instead of 2993 deltas
  assert.ok(told.readAll(worker) <= 8 + 1 + 4);
  assertSame(worker, told.snapshot);
});

test("`resync` is answered by the whole table, also in the middle of a delta", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.link.start();
  told.change({ upserts: routes(10_000), removals: [] });
  for (let i = 0; i < 5; i++) worker.read(told.messages.shift()!, told.link);
  told.change({ upserts: [route("late.test", A)], removals: [] });
  assert.equal(told.link.receive({ type: "resync", revision: 0 }), true);
  const batches = told.readAll(worker);
  assert.equal(batches, 8 + Math.ceil(10_001 / BATCH));
  assertSame(worker, told.snapshot);
});

for (let seed = 1; seed <= 8; seed++) {
  test(`random changes, pauses and resyncs leave the worker with the same table (${seed})`, () => {
    const random = generator(seed);
    const told = new Told(), worker = new ReadingWorker();
    for (let step = 0; step < 200; step++) {
      const kind = random();
      if (step === 20) told.link.start();
      if (kind < 0.5) told.change(randomDelta(random, told.snapshot));
      else if (kind < 0.95) {
        for (let i = random() * 12; i > 1 && told.messages.length > 0; i--) worker.read(told.messages.shift()!, told.link);
      } else if (step > 20) told.link.receive({ type: "resync", revision: worker.revision });
    }
    told.readAll(worker);
    assertSame(worker, told.snapshot);
  });
}

test("verdicts do not wait for routes; those that wait are kept by endpoint, the last counts", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.change({ upserts: routes(10_000), removals: [] });
  told.link.start();
  told.messages.length = 0;
  for (let i = 0; i < 1000; i++) {
    const verdict: Verdict = i % 2 === 0 ? [A.key, "healthy"] : [A.key, "unhealthy", `status ${i}`];
    told.link.healthChanged([verdict, [`vm/10.1.0.${i % 200}:80`, "healthy"]]);
  }
  assert.deepEqual(told.messages.map((message) => message.type), ["health", "health", "health", "health"]);
  told.messages.splice(0).forEach((message) => worker.read(message, told.link));
  const rest = told.messages.filter((message) => message.type === "health");
  assert.deepEqual(rest.map((message) => message.verdicts.length), [201]);
  told.readAll(worker);
  assert.deepEqual(worker.verdicts.filter(([key]) => key === A.key).at(-1), [A.key, "unhealthy", "status 999"]);
});

test("`wanted` and `failed` are heard at once, and left for the control plane", () => {
  const told = new Told();
  told.link.start();
  assert.equal(told.link.receive({ type: "wanted", key: A.key }), false);
  assert.equal(told.link.receive({ type: "failed", key: B.key, error: "ECONNREFUSED" }), false);
  assert.deepEqual(told.messages, [{ type: "heard", key: A.key }, { type: "heard", key: B.key }]);
});

test("the link works with a worker that answers within `send`, without a stack that grows", () => {
  const worker = new ReadingWorker();
  const told: Told = new Told((message) => worker.read(message, told.link));
  told.change({ upserts: routes(100_000), removals: [] });
  told.link.start();
  assertSame(worker, told.snapshot);
  told.link.healthChanged(Array.from({ length: 50_000 }, (_, i) => [`vm/${i}`, "healthy"] as const));
  assert.equal(worker.verdicts.length, 50_000);
});

test("a link knows the revision that is in force, and is silent once it is closed", () => {
  const told = new Told(), worker = new ReadingWorker();
  told.link.start();
  told.change({ upserts: routes(600), removals: [] });
  worker.read(told.messages.shift()!, told.link);
  assert.equal(told.link.appliedRevision, 0);
  told.readAll(worker);
  assert.equal(told.link.appliedRevision, 1);
  told.link.close();
  told.change({ upserts: [], removals: ["h1.test"] });
  assert.deepEqual(told.messages, []);
});

function randomDelta(random: () => number, snapshot: Snapshot): RouteDelta {
  const count = random() < 0.1 ? 3000 : 5;
  const removals = recordsOf(snapshot.routes).map(({ host }) => host).filter(() => random() < 0.05);
  const gone = new Set(removals);
  const upserts = routes(Math.floor(random() * count), Math.floor(random() * 2000)).filter((each) => !gone.has(each.host));
  return { upserts, removals };
}

function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
