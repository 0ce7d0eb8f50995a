/** A map by host that does not change: what is made of it, and what differs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hostChanges, HostMap } from "../../src/table/host-map.ts";
import { chance } from "../fixtures/chance.ts";

test("HostMap answers as a map does, whatever has been put and removed, and the ones before stay as they were", () => {
  for (const seed of [1, 2, 3]) {
    const random = chance(seed);
    const model = new Map<string, object>();
    let map: HostMap<object> = HostMap.none;
    for (let round = 0; round < 60; round++) {
      const before = map, beforeModel = new Map(model);
      const count = Math.floor(random() ** 3 * 400);
      const name = () => `h${Math.floor(random() * 3000)}.example.com`;
      const removals = Array.from({ length: Math.floor(random() * count) }, name);
      const puts = Array.from({ length: count }, (): [string, object] => [name(), {}]);
      for (const host of removals) model.delete(host);
      for (const [host, value] of puts) model.set(host, value);
      map = map.with(puts, removals);
      assert.equal(map.size, model.size);
      assert.deepEqual(new Map(map), model, `seed ${seed}`);
      for (const [host, value] of model) assert.ok(map.has(host) && map.get(host) === value);
      assert.deepEqual(new Map(before), beforeModel);
      const made = new Map(beforeModel);
      for (const { host, before: was, after } of hostChanges(before, map)) {
        assert.equal(made.get(host), was);
        if (after === undefined) made.delete(host);
        else made.set(host, after);
      }
      assert.deepEqual(made, model, "what differs makes one of the other");
    }
    assert.ok(map.size > 1000);
  }
});

test("HostMap is the same object when nothing changes, and is looked into only where it differs", () => {
  const values = Array.from({ length: 5000 }, (_, n): [string, number] => [`h${n}.example.com`, n]);
  const map = HostMap.of(values);
  assert.equal(HostMap.of(map), map);
  assert.equal(map.with([["h7.example.com", 7]], ["nobody.example.com"]), map);
  const other = map.with([["h7.example.com", 8]], ["h9.example.com"]);
  let looked = 0;
  for (const [shard] of other.differingFrom(map)) looked += shard.size;
  assert.ok(looked < 500, `${looked}`);
  assert.equal([...hostChanges(map, other)].length, 2);
  assert.equal([...hostChanges(map, map)].length, 0);
  assert.deepEqual([...hostChanges(new Map([["a", 1]]), HostMap.of([["a", 2], ["b", 1]]))].map(({ host }) => host), ["a", "b"]);
});
