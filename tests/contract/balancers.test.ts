/** What every balancer promises, and what each one adds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type BalanceKind, PLAIN_SERVICE, type ServiceEndpoint, type ServicePolicy } from "../../src/table/policy.ts";
import { Balancers, type BalanceView, takesTurns } from "../../src/upstream/balance/balancer.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { keyHash } from "../../src/wire/key-hash.ts";
import { serviceVm } from "../fixtures/services.ts";

const KINDS: readonly BalanceKind[] = ["round-robin", "weighted", "least-connections", "ip-hash", "consistent-hash", "p2c"];
const HASHING: readonly BalanceKind[] = ["ip-hash", "consistent-hash"];
const BUSY_AWARE: readonly BalanceKind[] = ["least-connections", "p2c"];
const REQUESTS = 10_000;

/** Chance, but the same in each run. */
function chance(seed = 1): () => number {
  return () => {
    seed = Math.imul(seed, 0x2c1b3c6d) + 0x297a2d39 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, 0x85ebca6b);
    mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35);
    return ((mixed ^ mixed >>> 16) >>> 0) / 2 ** 32;
  };
}

/** One service, as a worker sees it. */
class Balanced {
  readonly policy: ServicePolicy;
  /** Attempts under way. */
  readonly load: Map<string, number> = new Map();
  readonly counts: Map<string, number> = new Map();
  /** Of the weight; what a slow start leaves. */
  readonly shares: Map<string, number> = new Map();
  readonly #balancers: Balancers;
  readonly #random: () => number = chance();

  /** `cells`: those of another worker, if there are several. */
  constructor(balance: BalanceKind, cells: CellTable = new CellTable()) {
    this.#balancers = new Balancers(cells);
    this.policy = { ...PLAIN_SERVICE, balance };
  }

  choose(offer: readonly ServiceEndpoint[], client: string | null = null, onlooker = false): ServiceEndpoint {
    const view: BalanceView = {
      keyHash: client === null ? null : keyHash(client),
      onlooker,
      weight: ({ key, weight }) => weight * (this.shares.get(key) ?? 1),
      load: ({ key }) => this.load.get(key) ?? 0,
      random: this.#random,
    };
    return this.#balancers.choose(this.policy, offer, view);
  }

  /** Many requests, each from a client of its own, that are over at once. */
  serve(offer: readonly ServiceEndpoint[], requests = REQUESTS): Map<string, number> {
    this.counts.clear();
    for (let i = 0; i < requests; i++) {
      const { key } = this.choose(offer, `10.0.${i >> 8}.${i & 255}`);
      this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    }
    return this.counts;
  }
}

function vms(...weights: readonly number[]): ServiceEndpoint[] {
  return weights.map((weight, i) => serviceVm(`10.1.0.${i + 1}`, weight));
}

function assertNear(actual: number, expected: number, within: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= within, `${what}: ${actual}, expected ${expected} +- ${within}`);
}

for (const kind of KINDS) {
  test(`${kind} spreads requests evenly over equal endpoints`, () => {
    const offer = vms(1, 1, 1, 1, 1);
    const counts = new Balanced(kind).serve(offer);
    for (const { key } of offer) assertNear(counts.get(key) ?? 0, REQUESTS / 5, REQUESTS * 0.02, key);
  });

  test(`${kind} spreads requests by weight${kind === "round-robin" ? ", which is none of its business" : ""}`, () => {
    const offer = vms(6, 3, 1);
    const counts = new Balanced(kind).serve(offer);
    const expected = kind === "round-robin" ? [1 / 3, 1 / 3, 1 / 3] : [0.6, 0.3, 0.1];
    for (const [i, { key }] of offer.entries()) assertNear((counts.get(key) ?? 0) / REQUESTS, expected[i]!, 0.02, key);
  });

  test(`${kind} gives an endpoint that starts slowly its part of a share`, () => {
    const offer = vms(1, 1);
    const balanced = new Balanced(kind);
    balanced.shares.set(offer[0]!.key, 0.25);
    assertNear((balanced.serve(offer).get(offer[0]!.key) ?? 0) / REQUESTS, 0.2, 0.02, "share");
  });

  test(`${kind} chooses only what it is offered, and begins at once with what comes back`, () => {
    const all = vms(1, 1, 1);
    const balanced = new Balanced(kind);
    balanced.serve(all, 500);
    const left = all.slice(0, 2);
    assert.deepEqual([...balanced.serve(left, 500).keys()].sort(), left.map(({ key }) => key));
    const after = balanced.serve(all, 900);
    for (const { key } of all) assertNear(after.get(key) ?? 0, 300, 60, `${key} after its return`);
  });

  test(`${kind} takes the only one there is`, () => {
    const [only] = vms(1);
    assert.equal(new Balanced(kind).choose([only!], "10.0.0.1"), only);
  });
}

// The busy-aware ones have no turns
for (const kind of KINDS.filter((each) => !BUSY_AWARE.includes(each))) {
  test(`${kind} takes no turn for onlookers`, () => {
    const offer = vms(1, 2, 3);
    const alone = new Balanced(kind), watched = new Balanced(kind);
    for (const balanced of [alone, watched]) balanced.serve(offer, 10);
    for (let i = 0; i < 7; i++) watched.choose(offer, "10.9.9.9", true);
    for (let i = 0; i < 12; i++) {
      const client = `10.8.0.${i}`;
      assert.equal(watched.choose(offer, client).key, alone.choose(offer, client).key);
    }
  });
}

for (const kind of HASHING) {
  test(`${kind} leads a client to the same endpoint, in any worker and whatever the order`, () => {
    const offer = vms(1, 2, 3, 4);
    const here = new Balanced(kind), there = new Balanced(kind);
    for (let i = 0; i < 500; i++) {
      const client = `user-${i}`;
      const { key } = here.choose(offer, client);
      here.load.set(key, 1000);
      assert.equal(here.choose(offer, client).key, key);
      assert.equal(there.choose(offer.toReversed().map((each) => ({ ...each })), client).key, key);
    }
  });

  for (const count of [2, 3, 10, 50]) {
    test(`${kind} moves no more than 1/${count} + 2 % of the keys when one of ${count} endpoints goes`, () => {
      const balanced = new Balanced(kind);
      const all = vms(...Array.from({ length: count }, () => 1));
      const left = all.filter((_, i) => i !== 1);
      let moved = 0;
      for (let i = 0; i < REQUESTS; i++) {
        const before = balanced.choose(all, `session ${i}`);
        const after = balanced.choose(left, `session ${i}`);
        if (before === after) continue;
        moved++;
        assert.equal(before, all[1], "only the keys of the endpoint that has gone move");
      }
      assert.ok(moved / REQUESTS <= 1 / count + 0.02, `${moved} moved`);
    });
  }

  test(`${kind} spreads requests that have no key`, () => {
    const offer = vms(1, 1);
    const balanced = new Balanced(kind);
    const first = Array.from({ length: 1000 }, () => balanced.choose(offer)).filter((each) => each === offer[0]).length;
    assertNear(first, 500, 60, "of 1000");
  });
}

for (const kind of BUSY_AWARE) {
  test(`${kind} prefers the endpoint with fewer attempts under way, and takes it back when they are over`, () => {
    const offer = vms(1, 1);
    const balanced = new Balanced(kind);
    const [busy, idle] = offer;
    balanced.load.set(busy!.key, 3); // under way
    assert.equal(balanced.serve(offer, 100).get(idle!.key), 100);
    balanced.load.set(busy!.key, 0); // aborted
    assertNear(balanced.serve(offer, 1000).get(busy!.key) ?? 0, 500, 60, "after the aborts");
  });

  test(`${kind} weighs what is under way: 2 of 3 are less than 1 of 1`, () => {
    const [light, heavy] = vms(1, 3);
    const balanced = new Balanced(kind);
    balanced.load.set(light!.key, 1).set(heavy!.key, 2);
    assert.equal(balanced.serve([light!, heavy!], 50).get(heavy!.key), 50);
  });

  test(`${kind} keeps slow endpoints from filling up`, () => {
    const offer = vms(1, 1, 1, 1);
    const balanced = new Balanced(kind);
    const under: string[] = [];
    for (let i = 0; i < 4000; i++) {
      const { key } = balanced.choose(offer);
      balanced.load.set(key, (balanced.load.get(key) ?? 0) + 1);
      if (key !== offer[0]!.key) under.push(key); // the first one never answers
      if (under.length > 30) {
        const over = under.shift()!;
        balanced.load.set(over, balanced.load.get(over)! - 1);
      }
    }
    assert.ok(balanced.load.get(offer[0]!.key)! <= 30, `${balanced.load.get(offer[0]!.key)} under way at one that never answers`);
  });
}

/** Requests at the busiest endpoint, on average, when `workers` that see what is theirs, or what is everybody's, share all requests. */
function busiest(workers: number, seesAll: boolean): number {
  const random = chance(3), offer = vms(1, 1, 1, 1, 1, 1, 1, 1);
  const balanced = Array.from({ length: workers }, () => new Balanced("p2c"));
  const under: { readonly key: string; readonly worker: number }[] = [];
  const together = new Map(offer.map(({ key }) => [key, 0]));
  let sum = 0;
  const count = (key: string, worker: number, change: number): void => {
    together.set(key, together.get(key)! + change);
    for (const [i, { load }] of balanced.entries()) if (seesAll || i === worker) load.set(key, (load.get(key) ?? 0) + change);
  };
  for (let i = 0; i < 20_000; i++) {
    const worker = Math.floor(random() * workers), { key } = balanced[worker]!.choose(offer);
    count(key, worker, 1);
    under.push({ key, worker });
    sum += Math.max(...together.values());
    if (under.length < 64) continue;
    // Each of those under way may end next; at the first endpoint that takes four times as long
    for (;;) {
      const place = Math.floor(random() * under.length), over = under[place]!;
      if (over.key === offer[0]!.key && random() > 0.25) continue;
      under[place] = under.at(-1)!;
      under.pop();
      count(over.key, over.worker, -1);
      break;
    }
  }
  return sum / 20_000;
}

test("p2c evens out nearly as well when each of several workers sees only its own requests", () => {
  const one = busiest(1, false);
  for (const workers of [2, 4]) {
    const apart = busiest(workers, false), joint = busiest(workers, true);
    assert.ok(
      apart < 1.35 * joint,
      `${workers} workers: ${apart.toFixed(1)} apart, ${joint.toFixed(1)} with one view, ${one.toFixed(1)} alone`,
    );
  }
});

test("weighted is smooth: no run of one endpoint is longer than its weight asks for", () => {
  const offer = vms(5, 1, 1);
  const balanced = new Balanced("weighted");
  const turns = Array.from({ length: 70 }, () => balanced.choose(offer).key);
  const runs = turns.join(",").split(/(?:vm\/10\.1\.0\.[23]:8080@users,?)+/).map((run) => run.split(",").filter(Boolean).length);
  assert.ok(Math.max(...runs) <= 4, `runs ${runs}`);
  assert.equal(turns.filter((key) => key === offer[0]!.key).length, 50);
});

test("round-robin gives every endpoint one of each round", () => {
  const offer = vms(1, 7, 1);
  const balanced = new Balanced("round-robin");
  for (let round = 0; round < 5; round++) {
    assert.equal(new Set(offer.map(() => balanced.choose(offer).key)).size, 3);
  }
});

for (const kind of KINDS.filter(takesTurns)) {
  test(`${kind}: turns are those of all workers together`, () => {
    const cells = new CellTable();
    const offer = vms(1, 1);
    const workers = [new Balanced(kind, cells), new Balanced(kind, cells)];
    const chosen = [0, 0, 1, 1, 0, 1, 1, 1, 0, 1].map((worker) => workers[worker]!.choose(offer).key);
    assert.equal(chosen.filter((key) => key === offer[0]!.key).length, 5, String(chosen));
    for (const [i, key] of chosen.entries()) if (i > 0) assert.notEqual(key, chosen[i - 1]);
  });

  test(`${kind} takes what one has taken alone as its turn: the other one's first probe was late`, () => {
    const offer = vms(1, 1);
    const balanced = new Balanced(kind);
    assert.equal(balanced.choose([offer[0]!]), offer[0]);
    const turns = Array.from({ length: 5 }, () => balanced.choose(offer).key);
    assert.equal(turns.filter((key) => key === offer[0]!.key).length, 2, String(turns));
  });

  test(`${kind}: who was alone for long owes one turn, not more`, () => {
    const offer = vms(1, 1);
    const balanced = new Balanced(kind);
    for (let i = 0; i < 100; i++) balanced.choose([offer[0]!]);
    const turns = Array.from({ length: 10 }, () => balanced.choose(offer).key);
    assert.ok(turns.filter((key) => key === offer[0]!.key).length >= 4, String(turns));
  });
}

test("other weights begin without a burst", () => {
  const cells = new CellTable();
  const heavy = vms(100, 1), even = vms(1, 1);
  const before = new Balanced("weighted", cells);
  for (let i = 0; i < 50; i++) before.choose(heavy);
  const after = new Balanced("round-robin", cells);
  const turns = Array.from({ length: 10 }, () => after.choose(even).key);
  assert.ok(turns.filter((key) => key === even[1]!.key).length <= 7, String(turns));
});
