/** Packed routes: a model test against a Map, what revisions share, and what does not belong. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hashHost } from "../../src/table/host-hash.ts";
import { changes, Routes, RoutesDraft } from "../../src/table/routes.ts";
import { type Service, Services } from "../../src/table/services.ts";
import { collectGarbage } from "../fixtures/collecting.ts";
import { vm } from "../fixtures/records.ts";

const services = new Services();
const [A, B, C] = [services.of([vm("10.0.0.1")]), services.of([vm("10.0.0.2")]), services.of([vm("10.0.0.3")])];
const MANY: readonly Service[] = Array.from({ length: 40 }, (_, i) => services.of([vm(`10.1.0.${i}`)]));

type Model = Map<string, Service>;

function routesOf(model: Iterable<readonly [string, Service]>, like?: Routes): Routes {
  const draft = new RoutesDraft();
  for (const [host, service] of model) draft.put(host, service);
  return draft.finish(like);
}

function numbered(count: number, from = 0): Model {
  return new Map(Array.from({ length: count }, (_, i) => [`d${from + i}.bench.test`, MANY[(from + i) % MANY.length]!]));
}

function assertIs(routes: Routes, model: Model): void {
  assert.equal(routes.size, model.size);
  assert.equal(routes.wildcards, [...model.keys()].filter((host) => host.startsWith("*.")).length);
  const entries = [...routes.entries()];
  assert.equal(entries.length, model.size);
  assert.deepEqual(entries.filter(([host, service]) => model.get(host) !== service), []);
  assert.deepEqual([...model].filter(([host, service]) => routes.get(host) !== service), []);
}

/** As `host before after`, in order. */
function told(before: Routes, after: Routes): string[] {
  return [...changes(before, after)].map((each) => line(each.host, each.before, each.after)).sort();
}

function differing(before: Model, after: Model): string[] {
  const hosts = [...new Set([...before.keys(), ...after.keys()])].filter((host) => before.get(host) !== after.get(host));
  return hosts.map((host) => line(host, before.get(host), after.get(host))).sort();
}

function line(host: string, before: Service | undefined, after: Service | undefined): string {
  return `${host} ${before?.endpoints[0]?.key} ${after?.endpoints[0]?.key}`;
}

function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

function randomHost(random: () => number, hosts: number): string {
  const n = Math.floor(random() * hosts);
  return n % 17 === 0 ? `*.w${n}.test` : n % 23 === 0 ? `[::${n.toString(16)}]` : `${"x".repeat(n % 7 * 30 + 1)}${n}.test`;
}

test("random drafts leave what a map would hold, and changes() tells the difference", () => {
  for (let seed = 1; seed <= 24; seed++) {
    const random = generator(seed);
    const hosts = [3, 60, 1000, 6000][seed % 4]!;
    let model: Model = new Map();
    let routes = Routes.none;
    for (let revision = 0; revision < 12; revision++) {
      const whole = random() < 0.15;
      const next: Model = new Map(whole ? [] : model);
      const draft = whole ? new RoutesDraft() : routes.draft();
      for (let i = random() ** 3 * 2 * hosts; i > 0; i--) {
        const host = randomHost(random, hosts);
        const kind = random();
        if (kind < 0.1) assert.equal(draft.get(host), next.get(host));
        else if (kind < 0.5 && revision % 4 === 3) {
          draft.remove(host);
          next.delete(host);
        } else {
          const service = MANY[Math.floor(random() * MANY.length)]!;
          draft.put(`(${host})`, service, 1, host.length + 1);
          next.set(host, service);
        }
      }
      assert.equal(draft.size, next.size);
      const after = draft.finish(whole || random() < 0.3 ? routes : undefined);
      assertIs(after, next);
      assert.deepEqual(told(routes, after), differing(model, next));
      assert.deepEqual(told(after, Routes.none), differing(next, new Map()));
      [model, routes] = [next, after];
    }
  }
});

test("a draft does not change its base, and the base does not change with another draft", () => {
  const model = numbered(5000);
  const base = routesOf(model);
  const first = base.draft(), second = base.draft();
  for (let i = 0; i < 5000; i += 2) first.remove(`d${i}.bench.test`);
  for (let i = 0; i < 5000; i += 3) second.put(`d${i}.bench.test`, A);
  assert.equal(first.finish().size, 2500);
  assert.equal([...second.finish().entries()].filter(([, service]) => service === A).length, 1667);
  assertIs(base, model);
});

test("get() finds only what was put, whatever is asked", () => {
  const routes = routesOf([["a.test", A], ["*.b.test", B]]);
  for (const host of ["", "a.tes", "a.testt", "A.test", "b.test", "x.b.test", "\u0161.test", "a\u0101.test", "a".repeat(300)]) {
    assert.equal(routes.get(host), undefined, host);
  }
  assert.equal(routes.get("*.b.test"), B);
});

test("what is no host name of at most 255 ASCII characters is refused, and leaves no trace", () => {
  const draft = new RoutesDraft();
  for (const host of ["", "b\u00fccher.test", "x".repeat(256), "\u0161.test"]) {
    assert.throws(() => draft.put(host, A), RangeError, host);
  }
  draft.put("x".repeat(255), B);
  assertIs(draft.finish(), new Map([["x".repeat(255), B]]));
});

test("the last that is said of a host counts, a thousand times in one draft, too", () => {
  const draft = numbered(100);
  const routes = routesOf(draft).draft();
  for (let i = 0; i < 3000; i++) {
    routes.put("d7.bench.test", MANY[i % 40]!);
    if (i % 2 === 0) routes.remove("d7.bench.test");
  }
  const finished = routes.finish();
  assert.equal(finished.get("d7.bench.test"), MANY[2999 % 40]);
  assert.equal(finished.size, 100);
});

test("a draft that changes nothing in the end is its base", () => {
  const base = routesOf(numbered(3000));
  assert.equal(base.draft().finish(), base);
  const draft = base.draft();
  draft.put("d5.bench.test", A);
  draft.put("d5.bench.test", MANY[5]!);
  draft.put("new.test", A);
  draft.remove("new.test");
  draft.remove("unknown.test");
  assert.equal(draft.finish(), base);
});

test("finish(like) answers `like` itself when it is the same, whatever way led there", () => {
  const like = routesOf(numbered(20_000));
  assert.equal(routesOf([...numbered(20_000)].reverse(), like), like);
  const grown = routesOf(numbered(60_000)).draft();
  for (const host of numbered(40_000, 20_000).keys()) grown.remove(host);
  assert.equal(grown.finish(like), like);
  assert.equal(routesOf([], Routes.none), Routes.none);
});

test("finish(like) shares all but what differs, so that changes() looks at nothing else", () => {
  const before = numbered(20_000);
  const after = new Map(before).set("d7.bench.test", A).set("new.test", B);
  after.delete("d9.bench.test");
  const routes = routesOf(before);
  const next = routesOf(after, routes);
  assert.deepEqual(told(routes, next), differing(before, after));
  const pages = Routes.pagesOf(routes), nextPages = Routes.pagesOf(next);
  assert.ok(pages.filter((page, i) => page !== nextPages[i]).length <= 3);
  const buckets = pages.flatMap((page) => [...page.names]);
  const nextBuckets = new Set(nextPages.flatMap((page) => page.names));
  // A page that has grown beyond its buckets has others, with up to 24 each
  assert.ok(buckets.filter((bucket) => !nextBuckets.has(bucket)).length <= 6);
});

test("finishing() and changes() go on between turns while the base is drafted on", () => {
  const base = routesOf(numbered(4000));
  const draft = base.draft();
  for (let i = 0; i < 4000; i++) draft.put(`d${i}.bench.test`, B);
  const pieces = draft.finishing();
  let count = 0;
  let piece = pieces.next();
  for (; piece.done !== true; piece = pieces.next()) {
    count++;
    if (count === 100) assert.equal(routesOf([["d1.bench.test", C]], base).get("d1.bench.test"), C);
  }
  assert.ok(count > 500);
  assert.equal(piece.value.get("d1.bench.test"), B);
  assert.equal(base.get("d1.bench.test"), MANY[1]);
});

test("names that differ in a few digits are spread like chance", () => {
  for (
    const name of [(i: number) => `d${i}.bench.test`, (i: number) => `${i}`.padStart(30, "0"), (i: number) => `a.b${i.toString(2)}`]
  ) {
    const counts = new Uint32Array(4096);
    for (let i = 0; i < 100_000; i++) counts[hashHost(name(i), 0, name(i).length) >>> 20]!++;
    const expected = 100_000 / 4096;
    const square = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0) / 4095;
    assert.ok(square > 0.8 && square < 1.25, `${square}`);
  }
});

test("names made to collide in a plain multiplicative hash are spread, too", () => {
  const counts = new Map<number, number>();
  // Pairs of letters that x31 cannot tell apart: 2^14 names with one hash
  for (let i = 0; i < 16_384; i++) {
    const name = Array.from({ length: 14 }, (_, bit) => i >> bit & 1 ? "ab" : "bC").join("");
    const hash = hashHost(name, 0, name.length) >>> 12;
    counts.set(hash, (counts.get(hash) ?? 0) + 1);
  }
  assert.ok(Math.max(...counts.values()) <= 5);
});

test("Services.of() makes each list once, in any order, with repetitions", () => {
  const [a, b] = [vm("10.9.0.1"), vm("10.9.0.2")];
  assert.equal(services.of([a, b]), services.of([b, a, b]));
  assert.notEqual(services.of([a]), services.of([{ ...a, region: "elsewhere" }]));
  assert.equal(services.of([b, a]).endpoints[0]?.key, a.key);
});

test("services that nobody holds are forgotten", async () => {
  const some = new Services();
  const kept = some.of([vm("10.8.0.1")]);
  for (let i = 0; i < 50_000; i++) some.of([vm(`10.${i >> 16}.${i >> 8 & 255}.${i & 255}`)]);
  await collectGarbage();
  assert.ok(some.size < 5000, `${some.size}`);
  assert.equal(some.of([vm("10.8.0.1")]), kept);
});

test("gatherHosts() finds hosts whose service leads there, no more than asked for", () => {
  const AB = services.of([vm("10.0.0.1"), vm("10.0.0.2")]);
  const many = Array.from({ length: 3000 }, (_, i) => [`h${i}.test`, B] as const);
  const routes = routesOf([["a.test", A], ["b.test", AB], ...many]);
  const hostsOf = (host: string, most: number): string[] => {
    const hosts: string[] = [];
    const [{ key } = { key: "" }] = routes.get(host)!.endpoints;
    const leads = ({ endpoints }: Service) => endpoints.some((endpoint) => endpoint.key === key);
    for (const _ of routes.gatherHosts(leads, most, hosts)) assert.ok(hosts.length < most);
    return hosts.sort();
  };
  assert.deepEqual(hostsOf("a.test", 100), ["a.test", "b.test"]);
  assert.deepEqual(hostsOf("a.test", 1).length, 1);
  assert.deepEqual([hostsOf("h0.test", 100).length, hostsOf("h0.test", 5000).length], [100, 3001]);
});
