import assert from "node:assert/strict";
import { test } from "node:test";
import { Lots } from "../../src/decision/lots.ts";
import { BARE_ROUTE } from "../../src/decision/match-route.ts";

test("lots are even: in 10,000 no share is off by as much as 1 %, wherever it is cut", () => {
  for (let run = 0; run < 50; run++) {
    const lots = new Lots(Math.random);
    const drawn = Array.from({ length: 10_000 }, () => lots.draw(BARE_ROUTE));
    assert.ok(drawn.every((lot) => lot >= 0 && lot < 1));
    for (const share of [0.5, 0.9, 0.333, 0.0001]) {
      const below = drawn.filter((lot) => lot < share).length / drawn.length;
      assert.ok(Math.abs(below - share) < 0.005, `${below} below ${share}`);
    }
  }
});

test("what one lot was does not tell the next", () => {
  const lots = new Lots(Math.random);
  let same = 0, before = false;
  for (let i = 0; i < 20_000; i++) {
    const now = lots.draw(BARE_ROUTE) < 0.5;
    if (now === before) same++;
    before = now;
  }
  assert.ok(same > 9_000 && same < 10_800, `${same} of 20,000 are as the one before`);
});

test("each route has lots of its own", () => {
  const lots = new Lots(Math.random);
  const other = { ...BARE_ROUTE };
  const drawn = Array.from({ length: 200 }, (_, i) => [lots.draw(i % 2 === 0 ? BARE_ROUTE : other), i % 2] as const);
  for (const parity of [0, 1]) {
    const parts = drawn.filter(([, whose]) => whose === parity).map(([lot]) => Math.floor(lot * 100));
    assert.equal(new Set(parts).size, 100);
  }
});
