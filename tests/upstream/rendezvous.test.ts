/** Where keys lead: how evenly, and how many move when endpoints or weights change. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PLAIN_SERVICE, type ServiceEndpoint } from "../../src/table/policy.ts";
import { Balancers, type BalanceView } from "../../src/upstream/balance/balancer.ts";
import { keyHash } from "../../src/wire/key-hash.ts";
import { serviceVm } from "../fixtures/services.ts";

const VIEW: BalanceView = { keyHash: null, onlooker: false, weight: ({ weight }) => weight, load: () => 0, random: () => 0 };

function vms(weights: readonly number[]): ServiceEndpoint[] {
  return weights.map((weight, i) => serviceVm(`10.1.${i >> 8}.${i & 255}`, weight));
}

/** Whom each of so many keys leads to. */
function winnersOf(all: readonly ServiceEndpoint[], keys: number): ServiceEndpoint[] {
  const balancers = new Balancers(), policy = { ...PLAIN_SERVICE, balance: "consistent-hash" as const };
  return Array.from(
    { length: keys },
    (_, i) => balancers.draw(policy, all, { ...VIEW, keyHash: keyHash(`user-${i}`) }, () => true)!,
  );
}

function weigh(endpoints: readonly ServiceEndpoint[]): number {
  return endpoints.reduce((sum, { weight }) => sum + weight, 0);
}

for (const count of [2, 3, 10, 100, 1000]) {
  for (const weightOf of [() => 1, (i: number) => 1 + i % 5]) {
    const all = vms(Array.from({ length: count }, (_, i) => weightOf(i)));
    const what = `consistent-hash over ${count} endpoints ${weightOf(1) === 1 ? "alike" : "of different weights"}`;
    const keys = 8000;

    test(`${what} leads to each as often as it weighs, whatever their order`, () => {
      const winners = winnersOf(all, keys), counts = new Map(all.map(({ key }) => [key, 0]));
      for (const { key } of winners) counts.set(key, counts.get(key)! + 1);
      // As chance has it, not more uneven: this sum is about the number of endpoints
      const uneven = all.reduce((sum, { key, weight }) => {
        const expected = keys * weight / weigh(all);
        return sum + (counts.get(key)! - expected) ** 2 / expected;
      }, 0);
      assert.ok(uneven < count + 5 * Math.sqrt(2 * count), `${uneven}`);
      const shuffled = all.map((each) => ({ ...each })).sort((a, b) => keyHash(a.key) - keyHash(b.key));
      assert.deepEqual(winnersOf(shuffled, 1000).map(({ key }) => key), winners.slice(0, 1000).map(({ key }) => key));
    });

    test(`${what} moves the keys of one that goes, and of no other; one that weighs more takes only what it gains`, () => {
      const before = winnersOf(all, keys), gone = all[1]!;
      const left = all.filter((each) => each !== gone), after = winnersOf(left, keys);
      const moved = before.filter((each, i) => each.key !== after[i]!.key);
      assert.deepEqual([...new Set(moved)], moved.length === 0 ? [] : [gone]);
      assert.ok(moved.length / keys <= gone.weight / weigh(all) + 0.02, `${moved.length} of ${keys} have moved`);
      const heavier = { ...gone, weight: gone.weight + 1 }, others = all.map((each) => each === gone ? heavier : each);
      const then = winnersOf(others, keys), takers = then.filter((each, i) => each.key !== before[i]!.key);
      assert.ok(takers.every((each) => each === heavier));
      assert.ok(takers.length / keys <= heavier.weight / weigh(others) - gone.weight / weigh(all) + 0.02);
    });
  }
}
