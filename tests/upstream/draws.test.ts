/** Draws from many endpoints: the same as with a look at all of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type BalanceKind, PLAIN_SERVICE, type ServiceEndpoint } from "../../src/table/policy.ts";
import { Balancers, type BalanceView, type Usable } from "../../src/upstream/balance/balancer.ts";
import { goldenStride } from "../../src/upstream/balance/draw-list.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { chance } from "../fixtures/chance.ts";
import { serviceVm } from "../fixtures/services.ts";

const everyone: Usable = () => true;

function vms(weights: readonly number[]): ServiceEndpoint[] {
  return weights.map((weight, i) => serviceVm(`10.1.${i >> 8}.${i & 255}`, weight));
}

/** With weights from 0 on. */
function someVms(random: () => number, most = 3): ServiceEndpoint[] {
  return vms(Array.from({ length: 9 + Math.floor(random() * 40) }, () => Math.floor(random() * (most + 1))));
}

function viewOf(random: () => number, change: Partial<BalanceView> = {}): BalanceView {
  return { keyHash: null, onlooker: false, weight: ({ weight }) => weight, load: () => 0, random, ...change };
}

/** As a decision does it. */
function drawnOrChosen(
  balancers: Balancers,
  balance: BalanceKind,
  all: readonly ServiceEndpoint[],
  view: BalanceView,
  usable: Usable,
) {
  const policy = { ...PLAIN_SERVICE, balance };
  return balancers.draw(policy, all, view, usable) ?? balancers.choose(policy, offered(all, usable), view);
}

function offered(all: readonly ServiceEndpoint[], usable: Usable): ServiceEndpoint[] {
  return all.filter((each) => each.weight > 0 && usable(each));
}

test("p2c draws by the same chance the one that it would choose of all", () => {
  const random = chance(1);
  for (let i = 0; i < 3000; i++) {
    const all = someVms(random);
    if (offered(all, everyone).length < 2) continue;
    const loads = new Map(all.map(({ key }) => [key, Math.floor(random() * 4)]));
    const load = ({ key }: ServiceEndpoint) => loads.get(key)!;
    const balancers = new Balancers(), policy = { ...PLAIN_SERVICE, balance: "p2c" as const };
    const drawn = balancers.draw(policy, all, viewOf(chance(i), { load }), everyone);
    assert.equal(drawn, balancers.choose(policy, offered(all, everyone), viewOf(chance(i), { load })));
    assert.notEqual(drawn, null);
  }
});

for (const balance of ["ip-hash", "consistent-hash"] as const) {
  test(`${balance} draws for each key whom it would choose of those that are usable`, () => {
    const random = chance(2);
    let drawn = 0;
    for (let i = 0; i < 300; i++) {
      const all = someVms(random, i % 2 === 0 ? 5 : 1);
      const out = new Set(all.filter(() => random() < 0.2).map(({ key }) => key));
      const slow = new Set(all.filter(() => random() < 0.1).map(({ key }) => key));
      const usable: Usable = ({ key }) => !out.has(key);
      if (offered(all, usable).length === 0) continue;
      const balancers = new Balancers(), policy = { ...PLAIN_SERVICE, balance };
      const weight = (each: ServiceEndpoint) => slow.has(each.key) ? each.weight / 4 : each.weight;
      for (let client = 0; client < 30; client++) {
        const keyHash = Math.floor(random() * 2 ** 32);
        const view = viewOf(random, { weight, keyHash });
        const expected = balancers.choose(policy, offered(all, usable), view);
        for (const time of [1, 2]) {
          const found = balancers.draw(policy, all, view, usable);
          if (found === null) continue;
          drawn++;
          assert.equal(found, expected, `of ${all.length}, time ${time}`);
        }
      }
    }
    assert.ok(drawn > 10_000, `${drawn} times without a look at all`);
  });

  test(`${balance} leads requests that have no key to any of many`, () => {
    const balancers = new Balancers(), view = viewOf(chance(3)), all = vms(Array(20).fill(1));
    const found = Array.from({ length: 500 }, () => balancers.draw({ ...PLAIN_SERVICE, balance }, all, view, everyone));
    assert.equal(new Set(found).size, 20);
  });
}

for (const balance of ["p2c", "round-robin", "weighted", "least-connections"] as const) {
  test(`${balance} gives those of many that are usable the shares that they have when all are looked at`, () => {
    const REQUESTS = 20_000;
    for (const weights of [Array<number>(20).fill(2), [0, ...Array<number>(10).fill(1), ...Array<number>(9).fill(3)]]) {
      const all = vms(weights);
      const out = new Set([1, 7, 12].map((i) => all[i]!.key)), slow = all[3]!.key;
      const usable: Usable = ({ key }) => !out.has(key);
      const weight = (each: ServiceEndpoint) => each.key === slow ? each.weight / 2 : each.weight;
      const shares = (once: (balancers: Balancers, view: BalanceView) => ServiceEndpoint): number[] => {
        const counts = new Map<string, number>();
        const balancers = new Balancers(), view = viewOf(chance(4), { weight });
        for (let i = 0; i < REQUESTS; i++) {
          const { key } = once(balancers, view);
          counts.set(key, (counts.get(key) ?? 0) + 1);
        }
        return all.map(({ key }) => (counts.get(key) ?? 0) / REQUESTS);
      };
      const drawn = shares((balancers, view) => drawnOrChosen(balancers, balance, all, view, usable));
      const looked = shares((balancers, view) => balancers.choose({ ...PLAIN_SERVICE, balance }, offered(all, usable), view));
      for (const [i, share] of looked.entries()) {
        assert.ok(
          Math.abs(drawn[i]! - share) < (balance === "least-connections" ? 0.012 : 0.005),
          `endpoint ${i}: ${drawn[i]} drawn, ${share} when all are looked at`,
        );
      }
    }
  });
}

test("round-robin gives each of many one of each round, over all workers", () => {
  const balancers = new Balancers(), all = vms(Array.from({ length: 30 }, (_, i) => i % 3)), view = viewOf(chance(5));
  const policy = { ...PLAIN_SERVICE, balance: "round-robin" as const };
  for (let round = 0; round < 4; round++) {
    assert.equal(new Set(Array.from({ length: 20 }, () => balancers.draw(policy, all, view, everyone))).size, 20);
  }
});

for (
  const [what, weights] of [
    ["1 to 3", Array.from({ length: 30 }, (_, i) => 1 + i % 3)],
    ["of many sizes", [900, 300, 300, ...Array.from({ length: 40 }, (_, i) => 3 * (i + 1))]],
  ] as const
) {
  test(`weighted gives many with weights ${what} exactly their turns in a round, smoothly, over all workers`, () => {
    const cells = new CellTable(), all = vms(weights), view = viewOf(chance(6));
    const workers = [new Balancers(cells), new Balancers(cells)];
    const unit = what === "1 to 3" ? 1 : 3, round = weights.reduce((sum, weight) => sum + weight, 0) / unit;
    const policy = { ...PLAIN_SERVICE, balance: "weighted" as const };
    const counts = new Map(all.map(({ key }) => [key, 0]));
    let most = 0;
    for (let turn = 1; turn <= 2 * round; turn++) {
      const { key } = workers[turn * 7 % 3 % 2]!.draw(policy, all, view, everyone)!;
      counts.set(key, counts.get(key)! + 1);
      const off = all.map((each) => Math.abs(counts.get(each.key)! - turn * each.weight / unit / round));
      most = Math.max(most, ...off);
      if (turn % round === 0) assert.ok(Math.max(...off) < 1e-9, `after ${turn} turns`);
    }
    assert.ok(most < 3, `somebody is ${most} turns early or late`);
  });
}

test("goldenStride() comes by every place once, however many there are", () => {
  for (let whole = 1; whole <= 200; whole++) {
    const stride = goldenStride(whole), seen = new Set<number>();
    for (let i = 0, place = 0; i < whole; i++, place = (place + stride) % whole) seen.add(place);
    assert.equal(seen.size, whole, `${whole} by ${stride}`);
  }
});

test("least-connections draws one of those with the fewest under way, as when all are looked at", () => {
  const random = chance(8);
  for (let i = 0; i < 2000; i++) {
    const all = someVms(random);
    const loads = new Map(all.map(({ key }) => [key, Math.floor(random() * 3)]));
    const out = new Set(all.filter(() => random() < 0.3).map(({ key }) => key));
    const usable: Usable = ({ key }) => !out.has(key);
    const view = viewOf(random, { load: ({ key }) => loads.get(key)! });
    const perWeight = ({ key, weight }: ServiceEndpoint) => loads.get(key)! / weight;
    const fewest = Math.min(...offered(all, usable).map(perWeight));
    const drawn = new Balancers().draw({ ...PLAIN_SERVICE, balance: "least-connections" }, all, view, usable);
    if (drawn === null) assert.equal(fewest, Infinity);
    else assert.equal(perWeight(drawn), fewest, `of ${all.length}`);
  }
});

test("least-connections: of more than 64 that all are busy it is one of the better ones", () => {
  const random = chance(9), all = vms(Array(1000).fill(1));
  const places = new Map(all.map(({ key }, i) => [key, i]));
  const view = viewOf(random, { load: ({ key }) => 1 + places.get(key)! });
  const balancers = new Balancers(), policy = { ...PLAIN_SERVICE, balance: "least-connections" as const };
  const drawn = Array.from({ length: 2000 }, () => places.get(balancers.draw(policy, all, view, everyone)!.key)!).sort((a, b) =>
    a - b
  );
  assert.ok(drawn[1000]! < 40, `the median is number ${drawn[1000]} of 1000`);
  assert.ok(drawn[1980]! < 250, `of 100 the worst is number ${drawn[1980]} of 1000`);
});

test("weights that differ by the factor of a million cost no more than others", () => {
  const all = vms([1_000_000, 999_999, ...Array<number>(10_000).fill(1)]);
  const balancers = new Balancers(), view = viewOf(chance(10));
  const policy = { ...PLAIN_SERVICE, balance: "weighted" as const };
  const first = Array.from({ length: 2000 }, () => balancers.draw(policy, all, view, everyone)!.weight > 1).filter(Boolean).length;
  assert.ok(Math.abs(first / 2000 - 1_999_999 / 2_009_999) < 0.002, `${first} of 2000`);
});

test("nobody is drawn where nobody is usable, or there is none with a weight", () => {
  const balancers = new Balancers(), view = viewOf(chance(7), { keyHash: 77 });
  for (const balance of ["p2c", "round-robin", "weighted", "least-connections", "ip-hash", "consistent-hash"] as const) {
    assert.equal(balancers.draw({ ...PLAIN_SERVICE, balance }, vms(Array(20).fill(1)), view, () => false), null, balance);
    assert.equal(balancers.draw({ ...PLAIN_SERVICE, balance }, vms(Array(20).fill(0)), view, everyone), null, balance);
    const regions = vms(Array(20).fill(1)).map((each) => ({ ...each, kind: "region" as const }));
    assert.equal(balancers.draw({ ...PLAIN_SERVICE, balance }, regions, view, everyone), null, balance);
  }
});
