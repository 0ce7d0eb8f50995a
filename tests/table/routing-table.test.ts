/** The table of a worker: lookups, what hosts led to before, and which endpoints nothing leads to any more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { KEPT_MS } from "../../src/table/recent-routes.ts";
import type { EndpointRecord, RouteRecord } from "../../src/table/record.ts";
import { Routes } from "../../src/table/routes.ts";
import { ELSEWHERE, FAR_AWAY, region, route, routesOf, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2"), C = vm("10.0.0.3"), D = vm("10.0.0.4");

/** With a clock. */
class Timed {
  readonly table: RoutingTable = new RoutingTable();
  nowMs = 5000;

  commit(...routes: readonly RouteRecord[]): void {
    this.table.commit(routesOf(routes), this.table.revision + 1, this.nowMs);
  }

  /** What becomes known within the time, looking every 50 ms. */
  wait(ms: number): string[] {
    const keys: string[] = [];
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += 50;
      while (this.table.expiryAtMs <= this.nowMs) keys.push(...this.table.expire(this.nowMs, 3));
    }
    return keys;
  }

  previous(host: string): string | undefined {
    return this.table.previous(host)[0]?.endpoints[0]?.key;
  }
}

function tableOf(...routes: readonly RouteRecord[]): RoutingTable {
  const timed = new Timed();
  timed.commit(...routes);
  return timed.table;
}

test("RoutingTable is loaded from its first revision on, even an empty one", () => {
  const table = new RoutingTable();
  assert.equal(table.loaded, false);
  table.commit(Routes.none, 1, 0);
  assert.deepEqual([table.loaded, table.size, table.revision], [true, 0, 1]);
});

test("find() prefers the exact name, then the longest wildcard, at any depth", () => {
  const table = tableOf(route("a.example.com", A), route("*.example.com", B), route("*.deep.example.com", C));
  const expected: readonly [host: string, match: string, endpoint: EndpointRecord][] = [
    ["a.example.com", "a.example.com", A],
    ["b.example.com", "*.example.com", B],
    ["x.a.example.com", "*.example.com", B],
    ["x.deep.example.com", "*.deep.example.com", C],
    ["x.y.deep.example.com", "*.deep.example.com", C],
    ["deep.example.com", "*.example.com", B],
  ];
  for (const [host, match, endpoint] of expected) {
    assert.equal(table.match(host), match);
    assert.deepEqual(table.find(host)?.endpoints, [endpoint], host);
  }
});

test("find() does not take a wildcard for its own name, nor for others that end alike", () => {
  const table = tableOf(route("*.example.com", A));
  for (const host of ["example.com", "badexample.com", "com", "", "example.com.evil.test", "[::1]"]) {
    assert.equal(table.find(host), undefined, host);
    assert.equal(table.match(host), undefined, host);
  }
});

test("a request keeps the service it began with", () => {
  const timed = new Timed();
  timed.commit(route("a.test", A));
  const held = timed.table.find("a.test")!;
  timed.commit(route("a.test", B));
  assert.deepEqual(held.endpoints, [A]);
  assert.ok(Object.isFrozen(held) && Object.isFrozen(held.endpoints) && Object.isFrozen(held.endpoints[0]));
  assert.deepEqual(timed.table.find("a.test")?.endpoints, [B]);
});

test("previous() is what the host led to within the last ten seconds, if that is not what it leads to now", () => {
  const timed = new Timed();
  assert.equal(timed.previous("a.test"), undefined);
  timed.commit(route("a.test", A), route("b.test", B), route("*.w.test", C));
  assert.equal(timed.previous("a.test"), undefined, "nothing was before the first table");
  timed.wait(600);
  timed.commit(route("a.test", B), route("b.test", B), route("x.w.test", D), route("new.test", A));
  assert.equal(timed.previous("a.test"), A.key);
  assert.equal(timed.previous("b.test"), undefined);
  assert.equal(timed.previous("new.test"), undefined);
  assert.equal(timed.previous("x.w.test"), C.key);
  assert.equal(timed.previous("y.w.test"), C.key, "a host that has lost its route");
  timed.wait(600);
  timed.commit(route("a.test", C), route("b.test", B), route("x.w.test", D), route("new.test", A));
  assert.deepEqual(timed.table.previous("a.test").map(({ endpoints }) => endpoints[0]!.key), [B.key, A.key], "the last first");
  timed.wait(KEPT_MS - 700);
  assert.equal(timed.previous("x.w.test"), C.key);
  timed.wait(200);
  assert.equal(timed.previous("x.w.test"), undefined);
  assert.equal(timed.previous("a.test"), B.key);
  timed.wait(600);
  assert.equal(timed.previous("a.test"), undefined);
});

test("previous() forgets what a host led to before it was gone: it may belong to somebody else by now", () => {
  const timed = new Timed();
  timed.commit(route("a.test", A));
  timed.wait(600);
  timed.commit();
  timed.wait(600);
  timed.commit(route("a.test", B));
  assert.equal(timed.previous("a.test"), undefined);
  timed.wait(600);
  timed.commit(route("a.test", C));
  assert.deepEqual(timed.table.previous("a.test").map(({ endpoints }) => endpoints[0]!.key), [B.key]);
});

test("previous() knows where hosts led before many changes in a short time", () => {
  const timed = new Timed();
  timed.commit(route("a.test", A), route("b.test", A));
  for (let i = 0; i < 1000; i++) {
    timed.commit(route("a.test", i % 2 === 0 ? B : C), route("b.test", i === 999 ? D : A));
    timed.wait(50);
  }
  assert.equal(timed.previous("a.test"), B.key, "the last before");
  assert.equal(timed.previous("b.test"), A.key);
});

test("an endpoint is told of ten seconds after its last route, once", () => {
  const timed = new Timed();
  timed.commit(route("a.test", A, B), route("b.test", A), route("c.test", C));
  timed.wait(1000);
  timed.commit(route("a.test", A), route("b.test", A));
  assert.deepEqual(timed.wait(KEPT_MS - 100), []);
  assert.deepEqual(timed.wait(1000).sort(), [B.key, C.key]);
  timed.commit(route("b.test", A));
  assert.deepEqual(timed.wait(3 * KEPT_MS), [], "another route leads there");
  timed.commit(route("b.test", D));
  assert.deepEqual(timed.wait(3 * KEPT_MS), [A.key]);
  timed.commit();
  assert.deepEqual(timed.wait(3 * KEPT_MS), [D.key]);
  assert.equal(timed.table.expiryAtMs, Infinity);
});

test("an endpoint that gets a route again in time is not told of", () => {
  const timed = new Timed();
  timed.commit(route("a.test", A));
  timed.wait(700);
  timed.commit(route("a.test", B));
  timed.wait(KEPT_MS - 1000);
  timed.commit(route("b.test", A), route("a.test", B));
  assert.deepEqual(timed.wait(3 * KEPT_MS), []);
  timed.commit(route("b.test", A, A), route("a.test", A));
  assert.deepEqual(timed.wait(3 * KEPT_MS), [B.key]);
});

test("an endpoint of another region is another service, and the same endpoint", () => {
  const timed = new Timed();
  timed.commit(route("c.test", region(ELSEWHERE, "203.0.113.7")));
  timed.commit(route("c.test", region(FAR_AWAY, "203.0.113.7")));
  assert.equal(timed.table.find("c.test")!.endpoints[0]!.region, FAR_AWAY);
  assert.deepEqual(timed.wait(2 * KEPT_MS), []);
  timed.commit();
  assert.deepEqual(timed.wait(2 * KEPT_MS), ["region/203.0.113.7:80"]);
});

test("random revisions: never is an endpoint told of that was in use within ten seconds, and in the end all others are", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = generator(seed), timed = new Timed();
    const endpoints = Array.from({ length: 12 }, (_, i) => vm(`10.2.0.${i}`));
    const alive = new Set<string>();
    let routes: RouteRecord[] = [];
    const tell = (keys: readonly string[]): void => {
      const current = new Set(routes.map((each) => each.endpoints[0]!.key));
      for (const key of keys) {
        assert.ok(!current.has(key), key);
        assert.ok(alive.delete(key), `${key} has been told of`);
      }
    };
    for (let step = 0; step < 150; step++) {
      routes = Array.from({ length: 30 }, (_, i) => {
        const moved = random() < 0.1 || routes[i] === undefined;
        return moved ? route(`h${i}.test`, endpoints[Math.floor(random() * (seed % 2 === 0 ? 12 : 1 + step % 12))]!) : routes[i]!;
      });
      timed.commit(...routes);
      for (const each of routes) alive.add(each.endpoints[0]!.key);
      // Not at all, in part, or until nothing is left to do
      for (let i = Math.floor(random() * 4); i > 0; i--) tell(timed.table.expire(timed.nowMs, 7));
      if (random() < 0.3) tell(timed.wait(random() < 0.2 ? 4000 : 300));
    }
    tell(timed.wait(3 * KEPT_MS));
    assert.deepEqual([...alive].sort(), [...new Set(routes.map((each) => each.endpoints[0]!.key))].sort());
  }
});

function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
