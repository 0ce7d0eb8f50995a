/** How a worker's table follows the control plane's: whatever comes, lookups see one revision, whole. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RouteReceiver } from "../../src/lifecycle/route-receiver.ts";
import type { DownMessage, UpMessage } from "../../src/lifecycle/worker-channel.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import { KEPT_MS } from "../../src/table/recent-routes.ts";
import { changes } from "../../src/table/routes.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { batchOf, ELSEWHERE, region, route, type RouteDelta, routesOf, vm } from "../fixtures/records.ts";

const HOSTS = 1500;
const ENDPOINTS = [...Array.from({ length: 60 }, (_, i) => vm(`10.0.0.${i}`)), region(ELSEWHERE, "203.0.113.7")];

/** Both ends, with a pipe that the test moves and turns that the test gives. The clock makes every slice one step. */
class Both {
  readonly table: RoutingTable = new RoutingTable();
  readonly link: WorkerLink;
  readonly receiver: RouteReceiver;
  readonly pipe: DownMessage[] = [];
  /** All tables there have been, by revision. */
  readonly history: ReadonlyMap<string, RouteRecord>[] = [new Map()];
  /** Endpoints that were in force and have not been forgotten. */
  readonly alive: Set<string> = new Set();
  resyncs = 0;
  slices = 0;
  #turns: (() => void)[] = [];
  #clock = 0;

  constructor() {
    this.link = new WorkerLink({
      send: (message) => this.pipe.push(message),
      snapshot: () => ({ revision: this.history.length - 1, routes: routesOf(this.history.at(-1)!.values()) }),
    });
    this.receiver = new RouteReceiver({
      table: this.table,
      committed: () => {},
      send: (message) => this.#hear(message),
      later: (run) => this.#turns.push(run),
      nowMs: () => this.#clock++,
    });
  }

  get busy(): boolean {
    return this.#turns.length > 0;
  }

  change(delta: RouteDelta): void {
    const routes = new Map(this.history.at(-1));
    for (const host of delta.removals) routes.delete(host);
    for (const each of delta.upserts) routes.set(each.host, each);
    this.history.push(routes);
    this.link.routesChanged();
  }

  deliver(): void {
    const message = this.pipe.shift();
    if (message?.type === "routes") this.receiver.receive(message);
  }

  /** The worker never sees the next message, if that is a delta of its own. */
  lose(): void {
    const [message] = this.pipe;
    if (message?.type !== "routes" || !message.first || !message.last || message.base === 0) return;
    this.pipe.shift();
    this.link.receive({ type: "taken", revision: this.table.revision });
  }

  turn(): void {
    this.slices++;
    this.#turns.shift()?.();
  }

  finish(): void {
    while (this.pipe.length > 0 || this.busy) {
      this.deliver();
      this.turn();
    }
  }

  /** A slice of what the table does with revisions that are old. */
  expire(): void {
    const current = keysOf(this.expected);
    for (const key of this.table.expire(this.#clock, 20)) {
      assert.ok(!current.has(key), `${key} is still in use`);
      this.alive.delete(key);
    }
  }

  /** Until nothing is kept. */
  expireAll(): void {
    this.#clock += 2 * KEPT_MS;
    while (this.table.expiryAtMs <= this.#clock) this.expire();
    assert.equal(this.table.expiryAtMs, Infinity);
  }

  /** What a lookup must find now. */
  get expected(): ReadonlyMap<string, RouteRecord> {
    return this.history[this.table.revision]!;
  }

  #hear(message: UpMessage): void {
    if (message.type === "resync") this.resyncs++;
    for (const key of keysOf(this.expected)) this.alive.add(key);
    this.link.receive(message);
  }
}

function keysOf(routes: ReadonlyMap<string, RouteRecord>): Set<string> {
  const keys = new Set<string>();
  for (const { endpoints } of routes.values()) for (const { key } of endpoints) keys.add(key);
  return keys;
}

function nameOf(index: number): string {
  return index % 50 === 0 ? `*.w${index}.test` : `h${index}.test`;
}

/** By the plain rule: the exact name, else the longest wildcard. */
function lookUp(routes: ReadonlyMap<string, RouteRecord>, host: string): RouteRecord | undefined {
  const labels = host.split(".");
  const wildcards = labels.map((_, i) => `*.${labels.slice(i + 1).join(".")}`);
  for (const name of [host, ...wildcards]) if (routes.has(name)) return routes.get(name);
  return undefined;
}

function assertLookups(both: Both, random: () => number, count: number): void {
  const { table, expected } = both;
  assert.equal(table.size, expected.size);
  for (let i = 0; i < count; i++) {
    const index = Math.floor(random() * HOSTS);
    const host = index % 50 === 0 ? `deep.x${i}.w${index}.test` : `h${index}.test`;
    const found = table.find(host), wanted = lookUp(expected, host);
    assert.equal(table.match(host), wanted?.host, `${host} in revision ${table.revision}`);
    assert.deepEqual(found?.endpoints.map((each) => each.key).sort(), wanted?.endpoints.map((each) => each.key).sort());
  }
}

function randomDelta(random: () => number, routes: ReadonlyMap<string, RouteRecord>): RouteDelta {
  const share = random() < 0.5 ? 0.6 * random() : 0.004;
  const fresh = ENDPOINTS.slice(Math.floor(random() * 40));
  const pick = () => fresh[Math.floor(random() * fresh.length)]!;
  const upserts: RouteRecord[] = [], removals: string[] = [];
  for (let i = 0; i < HOSTS; i++) {
    if (random() >= share) continue;
    if (routes.has(nameOf(i)) && random() < 0.4) removals.push(nameOf(i));
    else upserts.push(random() < 0.8 ? route(nameOf(i), pick()) : route(nameOf(i), ...new Set([pick(), pick()])));
  }
  return { upserts, removals };
}

/** Of all random runs. */
let resyncs = 0;
// A test each for a few, so that a busy machine does not run out of its time
for (const seeds of [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15], [16, 17, 18, 19, 20], [21, 22, 23, 24, 25]]) {
  test(`random deltas, whole tables and losses: between all slices lookups equal one revision of a plain model (${seeds})`, () => {
    for (const seed of seeds) leadAtRandom(seed);
  });
}

test("random losses were met at all", () => assert.ok(resyncs > 0));

function leadAtRandom(seed: number): void {
  const random = generator(seed), both = new Both();
  both.link.start();
  for (let step = 0; step < 400; step++) {
    const kind = random();
    if (kind < 0.06) both.change(randomDelta(random, both.history.at(-1)!));
    else if (kind < 0.3) both.deliver();
    else if (kind < 0.32) both.lose();
    else if (kind < 0.325) both.link.receive({ type: "resync", revision: both.table.revision });
    else if (kind < 0.4) both.expire();
    else if (both.busy) both.turn();
    assertLookups(both, random, 5);
  }
  both.finish();
  both.change(randomDelta(random, both.history.at(-1)!)); // what was lost last comes to light
  both.finish();
  assert.equal(both.table.revision, both.history.length - 1);
  assertLookups(both, random, 2000);
  assert.deepEqual([...both.table.routes.entries()].map(([host]) => host).sort(), [...both.expected.keys()].sort());
  both.expireAll();
  assert.deepEqual([...both.alive].sort(), [...keysOf(both.expected)].sort());
  resyncs += both.resyncs;
}

test("a delta of any size is worked in slice by slice, and in force with the last", () => {
  const both = new Both();
  both.link.start();
  const routes = (endpoint = ENDPOINTS[0]!) => Array.from({ length: 20_000 }, (_, i) => route(`d${i}.test`, endpoint));
  both.change({ upserts: routes(), removals: [] });
  both.deliver();
  assert.equal(both.table.loaded, false);
  both.finish();
  assert.ok(both.slices >= 20_000 / 64, "each slice is one step of 64 changes here");
  both.slices = 0;
  both.change({ upserts: routes(ENDPOINTS[1]), removals: [] });
  let seen: string[] = [];
  while (both.pipe.length > 0 || both.busy) {
    both.deliver();
    both.turn();
    seen.push(["d0.test", "d9999.test", "d19999.test"].map((host) => both.table.find(host)!.endpoints[0]!.address).join(" "));
  }
  seen = seen.filter((each, i) => each !== seen[i - 1]);
  assert.deepEqual(seen, ["10.0.0.0 10.0.0.0 10.0.0.0", "10.0.0.1 10.0.0.1 10.0.0.1"]);
  assert.ok(both.slices >= 20_000 / 64 + 1000, "noted, and finished page by page");
  both.expireAll();
  assert.deepEqual([...both.alive], ["vm/10.0.0.1:8080"]);
});

test("a small delta is in force at once when nothing else is on the way", () => {
  const both = new Both();
  both.link.start();
  both.change({ upserts: Array.from({ length: 5000 }, (_, i) => route(`d${i}.test`, ENDPOINTS[0]!)), removals: [] });
  both.finish();
  both.change({ upserts: [route("d7.test", ENDPOINTS[1]!), route("new.test", ENDPOINTS[2]!)], removals: ["d4500.test"] });
  both.deliver();
  assert.equal(both.link.appliedRevision, 2);
  assert.deepEqual([both.table.size, both.table.find("d7.test")?.endpoints[0]?.address], [5000, "10.0.0.1"]);
  assert.equal(both.busy, false);
});

test("what changed while a delta was on its way follows as one", () => {
  const both = new Both();
  both.link.start();
  both.change({ upserts: Array.from({ length: 3000 }, (_, i) => route(`d${i}.test`, ENDPOINTS[0]!)), removals: [] });
  for (let i = 0; i < 100; i++) both.change({ upserts: [route("d5.test", ENDPOINTS[i % 7]!)], removals: [`d${i + 10}.test`] });
  const revisions = new Set<number>();
  while (both.pipe.length > 0 || both.busy) {
    both.deliver();
    both.turn();
    revisions.add(both.table.revision);
  }
  assert.ok(revisions.size <= 5 && both.table.revision === 101, `${[...revisions]}`);
  assertLookups(both, Math.random, 100);
});

test("a whole table that comes again shares what is the same with the table in force", () => {
  const both = new Both();
  both.link.start();
  both.change({ upserts: Array.from({ length: 3000 }, (_, i) => route(`d${i}.test`, ENDPOINTS[i % 9]!)), removals: [] });
  both.finish();
  const before = both.table.routes;
  both.link.receive({ type: "resync", revision: 1 });
  both.finish();
  assert.equal(both.table.routes, before);
  both.change({ upserts: [route("d7.test", ENDPOINTS[50]!)], removals: [] });
  both.link.receive({ type: "resync", revision: 1 });
  both.finish();
  assert.deepEqual([...changes(before, both.table.routes)].map(({ host }) => host), ["d7.test"]);
});

test("a delta for another revision is answered by `resync`, once, and nothing of it counts", () => {
  const batch = { type: "routes", ...batchOf([route("a.test", ENDPOINTS[0]!)]) } as const;
  const heard: UpMessage[] = [], turns: (() => void)[] = [];
  const table = new RoutingTable();
  const receiver = new RouteReceiver({
    table,
    committed: () => {},
    send: (message) => heard.push(message),
    later: (run) => turns.push(run),
    nowMs: () => 0,
  });
  receiver.receive({ ...batch, base: 4, revision: 5, first: true, last: false });
  receiver.receive({ ...batch, base: 4, revision: 5, first: false, last: true });
  receiver.receive({ ...batch, base: 5, revision: 6, first: true, last: true });
  for (const turn of turns.splice(0)) turn();
  assert.deepEqual(heard.map((message) => message.type), ["resync", "taken", "taken", "taken"]);
  assert.equal(table.loaded, false);
  receiver.receive({ ...batch, base: 0, revision: 6, first: true, last: true });
  assert.deepEqual(heard.at(-1), { type: "taken", revision: 6 });
  assert.ok(table.find("a.test") !== undefined);
});

function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
