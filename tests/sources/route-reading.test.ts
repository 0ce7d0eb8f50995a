import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Block, type ReadingTools, RouteReading, type RouteState } from "../../src/sources/route-reading.ts";
import type { Exclusion } from "../../src/sources/source.ts";
import { Services } from "../../src/table/services.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const tools = { services: new Services(), here: { regionId: HERE, regionPort: 80 } };

function block(names: readonly string[], address = "10.0.0.5"): Block {
  return {
    vm: { privateIp: address, port: "8080", regionId: HERE, publicIpv4: null },
    names: names.join("\n"),
    nameless: 0,
  };
}

/** `first`: the order in which names were verified. */
async function readAll(
  blocks: readonly Block[],
  first: readonly string[] = [],
  before: RouteState | null = null,
  given: ReadingTools = tools,
): Promise<RouteState> {
  const reading = new RouteReading(given, null, before);
  await reading.add(blocks);
  const contested = await reading.contested();
  await reading.settle(first.filter((name) => contested.includes(name)));
  return await reading.finish();
}

async function readAgain(
  state: RouteState,
  names: readonly string[],
  blocks: readonly Block[],
  first: readonly string[] = [],
): Promise<RouteState> {
  const reading = new RouteReading(tools, state, state);
  for (const name of names) reading.forget(name);
  await reading.add(blocks);
  const contested = await reading.contested();
  await reading.settle(first.filter((name) => contested.includes(name)));
  return await reading.finish();
}

function keys({ routes }: RouteState): Record<string, string[]> {
  return Object.fromEntries([...routes.entries()].map(([host, { endpoints }]) => [host, endpoints.map(({ key }) => key)]));
}

function excluded({ exclusions }: RouteState): string[] {
  return exclusions.list.map(({ domain, code, reason }: Exclusion) => `${code} ${domain}: ${reason}`);
}

describe("RouteReading", () => {
  it("leads each name of a block to its VM", async () => {
    const state = await readAll([block(["a.test", "*.a.test", "::1"]), block(["b.test"], "10.0.0.6")]);
    assert.deepEqual(keys(state), {
      "a.test": ["vm/10.0.0.5:8080"],
      "*.a.test": ["vm/10.0.0.5:8080"],
      "[::1]": ["vm/10.0.0.5:8080"],
      "b.test": ["vm/10.0.0.6:8080"],
    });
    assert.deepEqual(excluded(state), []);
  });

  it("makes several endpoints of several rows of a name, in an order that does not depend on theirs", async () => {
    const elsewhere = { ...block(["a.test"]), vm: { privateIp: null, port: null, regionId: THERE, publicIpv4: "203.0.113.7" } };
    const blocks = [elsewhere, block(["a.test", "a.test"], "10.0.0.7"), block(["A.test", "a.test"]), elsewhere];
    const expected = ["vm/10.0.0.5:8080", "vm/10.0.0.7:8080", "region/203.0.113.7:80"];
    assert.deepEqual(keys(await readAll(blocks, ["a.test"])), { "a.test": expected });
    assert.deepEqual(keys(await readAll(blocks.reverse(), ["a.test"])), { "a.test": expected });
  });

  it("excludes what cannot be used and keeps the rest", async () => {
    const state = await readAll([
      { ...block(["a.test", "not a host"]), nameless: 2 },
      { ...block(["b.test", "-"]), vm: { privateIp: null, port: "1", regionId: HERE, publicIpv4: null } },
    ]);
    assert.deepEqual(keys(state), { "a.test": ["vm/10.0.0.5:8080"] });
    assert.deepEqual(excluded(state), [
      "bad_row : has no name",
      "bad_row -: is not a host name",
      "bad_row b.test: its VM has no private address",
      "bad_row not a host: is not a host name",
    ]);
    assert.equal(state.exclusions.count, 5);
  });

  it("gives a host that several spellings claim to the one that was verified first", async () => {
    const names = ["app.test", "App.test", "app.test.", "bücher.test", "xn--bcher-kva.test", "::1", "0:0::1"];
    const blocks = names.map((name, at) => block([name], `10.0.0.${at}`));
    const state = await readAll(blocks, ["App.test", "app.test.", "app.test", "bücher.test", "0:0::1"]);
    assert.deepEqual(keys(state), {
      "app.test": ["vm/10.0.0.1:8080"],
      "xn--bcher-kva.test": ["vm/10.0.0.3:8080"],
      "[::1]": ["vm/10.0.0.6:8080"],
    });
    assert.deepEqual(excluded(state), [
      'conflict ::1: its host [::1] belongs to "0:0::1", which was verified first',
      'conflict app.test: its host app.test belongs to "App.test", which was verified first',
      'conflict app.test.: its host app.test belongs to "App.test", which was verified first',
      'conflict xn--bcher-kva.test: its host xn--bcher-kva.test belongs to "bücher.test", which was verified first',
    ]);
  });

  it("does not let a spelling that leads nowhere claim a host", async () => {
    const nowhere = { ...block(["App.test"]), vm: { privateIp: null, port: "1", regionId: HERE, publicIpv4: null } };
    const state = await readAll([nowhere, block(["app.test"])], ["App.test"]);
    assert.deepEqual(keys(state), { "app.test": ["vm/10.0.0.5:8080"] });
    assert.deepEqual(excluded(state), ["bad_row App.test: its VM has no private address"]);
  });

  it("keeps the host for its normal form while that leads nowhere, if it was verified first", async () => {
    const state = await readAll([block(["App.test"]), block(["Other.test"], "10.0.0.6")], [
      "app.test",
      "App.test",
      "Other.test",
      "other.test",
    ]);
    assert.deepEqual(keys(state), { "other.test": ["vm/10.0.0.6:8080"] });
    assert.deepEqual(excluded(state), ['conflict App.test: its host app.test belongs to "app.test", which was verified first']);
    assert.deepEqual(new RouteReading(tools, state, state).siblings("app.test"), ["App.test"]);
    const ready = await readAgain(state, ["app.test", "App.test"], [block(["app.test"], "10.0.0.7"), block(["App.test"])], [
      "app.test",
      "App.test",
    ]);
    assert.deepEqual(keys(ready), { "app.test": ["vm/10.0.0.7:8080"], "other.test": ["vm/10.0.0.6:8080"] });
    const given = await readAgain(ready, ["app.test", "App.test"], [block(["App.test"])], ["App.test", "app.test"]);
    assert.deepEqual(keys(given), { "app.test": ["vm/10.0.0.5:8080"], "other.test": ["vm/10.0.0.6:8080"] });
  });

  it("lets the second take over when the first is gone, and excludes it again when the first is back", async () => {
    const before = await readAll([block(["App.test"]), block(["app.test"], "10.0.0.6")], ["App.test"]);
    const without = new RouteReading(tools, before, before);
    assert.deepEqual(without.siblings("App.test"), ["app.test"]);
    const alone = await readAgain(before, ["App.test", "app.test"], [block(["app.test"], "10.0.0.6")]);
    assert.deepEqual(keys(alone), { "app.test": ["vm/10.0.0.6:8080"] });
    assert.deepEqual(excluded(alone), []);

    assert.deepEqual(new RouteReading(tools, alone, alone).siblings("App.test"), ["app.test"]);
    assert.deepEqual(new RouteReading(tools, alone, alone).siblings("app.test"), []);
    const both = [block(["App.test"]), block(["app.test"], "10.0.0.6")];
    const again = await readAgain(alone, ["App.test", "app.test"], both, ["App.test", "app.test"]);
    assert.deepEqual(keys(again), { "app.test": ["vm/10.0.0.5:8080"] });
    assert.equal(excluded(again).length, 1);
  });

  it("knows the siblings of each spelling, also of those that lost", async () => {
    const state = await readAll(["a.test", "A.test", "a.test."].map((name) => block([name])), ["A.test"]);
    for (const name of ["a.test", "A.test", "a.test.", "A.TEST"]) {
      const siblings = new RouteReading(tools, state, state).siblings(name);
      assert.deepEqual(siblings.toSorted(), ["A.test", "a.test", "a.test."].filter((other) => other !== name).toSorted());
    }
    assert.deepEqual(new RouteReading(tools, state, state).siblings("b.test"), []);
    assert.deepEqual(new RouteReading(tools, state, state).siblings("no host"), []);
  });

  it("reads names anew: changed, gone, added, excluded and no longer excluded", async () => {
    const blocks = [
      block(["keep.test", "move.test", "go.test"]),
      { ...block(["heal.test"]), vm: { privateIp: null, port: "1", regionId: HERE, publicIpv4: null } },
    ];
    const before = await readAll(blocks);
    const bad = { ...block(["break.test"]), vm: { privateIp: null, port: "1", regionId: HERE, publicIpv4: null } };
    const after = await readAgain(before, ["move.test", "go.test", "heal.test", "break.test", "new.test"], [
      block(["move.test", "heal.test", "new.test"], "10.0.0.9"),
      bad,
    ]);
    assert.deepEqual(keys(after), {
      "keep.test": ["vm/10.0.0.5:8080"],
      "move.test": ["vm/10.0.0.9:8080"],
      "heal.test": ["vm/10.0.0.9:8080"],
      "new.test": ["vm/10.0.0.9:8080"],
    });
    assert.deepEqual(excluded(after), ["bad_row break.test: its VM has no private address"]);
  });

  it("ends with the same objects when nothing has changed", async () => {
    const blocks = [block(["a.test", "B.test", "b.test", "no host"]), block(["c.test"], "10.0.0.6")];
    const before = await readAll(blocks, ["b.test"]);
    const after = await readAll(blocks.toReversed(), ["b.test"], before);
    assert.equal(after.routes, before.routes);
    assert.equal(after.exclusions.list, before.exclusions.list);
    const again = await readAgain(after, ["c.test"], [block(["c.test"], "10.0.0.6")]);
    assert.equal(again.routes, before.routes);
    assert.equal(again.exclusions.list, before.exclusions.list);
  });

  it("tells of an exclusion whose reason is another one", async () => {
    const before = await readAll([block(["a.test"], "10.0.0.x")]);
    const after = await readAll([block(["a.test"], "10.0.0.y")], [], before);
    assert.deepEqual(excluded(after), ['bad_row a.test: its VM has an unusable private address "10.0.0.y"']);
  });

  it("begins with the objects of what is served, where it is the first", async () => {
    const blocks = [block(["a.test", "b.test"]), block(["c.test"], "10.0.0.6")];
    const { routes } = await readAll(blocks);
    assert.equal((await readAll(blocks.toReversed(), [], null, { ...tools, like: () => routes })).routes, routes);
  });

  it("keeps the details of the first 10,000 exclusions, and counts all", async () => {
    const state = await readAll([block(Array.from({ length: 12_000 }, (_, n) => `no host ${n}`))]);
    assert.equal(state.exclusions.list.length, 10_000);
    assert.equal(state.exclusions.count, 12_000);
  });
});
