/** Rate limits by the clock: floods, bursts, clients that keep to the limit, and any traffic against an exact count. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMIT_NUMBERS, limitWords, seePlace, takePlace } from "../../src/decision/rate-limit.ts";
import type { RateLimitPolicy } from "../../src/table/policy.ts";

const START_MS = 123_456_789.25;

class Client {
  nowMs = START_MS;
  readonly policy: RateLimitPolicy;
  readonly #row = limitWords(new Float64Array(LIMIT_NUMBERS));

  constructor(requests: number, windowMs: number, burst = 0) {
    this.policy = { requests, windowMs, burst, key: null };
  }

  ask() {
    return takePlace(this.#row, this.policy, this.nowMs);
  }

  see() {
    return seePlace(this.#row, this.policy, this.nowMs);
  }

  /** How many of so many at once are let through. */
  send(count: number): number {
    let passed = 0;
    for (let i = 0; i < count; i++) if (this.ask().allowed) passed++;
    return passed;
  }

  wait(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  /** As many as it can, one each `stepMs`. */
  flood(forMs: number, stepMs: number): number {
    let passed = 0;
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs - 1e-6; this.nowMs += stepMs) if (this.ask().allowed) passed++;
    return passed;
  }
}

test("a client may use all at once, and has all back one window later, not before", () => {
  const client = new Client(100, 1000);
  assert.equal(client.send(150), 100);
  assert.equal(client.wait(990).send(150), 0);
  assert.equal(client.wait(11).send(150), 100);
});

test("the burst comes on top once, and again when it has been saved", () => {
  const client = new Client(100, 1000, 20);
  assert.equal(client.send(300), 120);
  assert.equal(client.wait(1001).send(300), 100, "nothing was left unused");
  assert.equal(client.wait(1001).send(300), 100);
  assert.equal(client.wait(1001).send(95), 95);
  assert.equal(client.wait(1001).send(300), 105, "five were");
  assert.equal(client.wait(3000).send(300), 120);
});

for (
  const [requests, windowMs, burst] of [[100, 1000, 0], [100, 1000, 20], [7, 1000, 3], [1000, 60_000, 0], [50, 250, 50]] as const
) {
  test(`a flood gets ${requests} per ${windowMs} ms, and ${burst} once`, () => {
    const client = new Client(requests, windowMs, burst);
    const windows = 20;
    assertWithin(client.flood(windows * windowMs, windowMs / requests / 7.3), windows * requests + burst, 0.01);
  });
}

for (const requests of [1, 2, 10, 100, 777]) {
  test(`a client that sends ${requests} in each window is never refused, however it does it`, () => {
    const evenly = new Client(requests, 1000);
    for (let i = 0; i < 10 * requests; i++) assert.ok(evenly.wait(1000 / requests + 0.05).ask().allowed, `request ${i}`);
    const together = new Client(requests, 1000);
    for (let i = 0; i < 10; i++) assert.equal(together.wait(1000.1).send(requests), requests);
  });
}

test("whatever the traffic, a window never has more than 5 % beyond the limit, nor is much refused that would fit", () => {
  let state = 42;
  const random = (): number => (state = Math.imul(state, 1103515245) + 12345 >>> 0) / 2 ** 32;
  for (const requests of [20, 100, 1000]) {
    const client = new Client(requests, 1000);
    const passed: number[] = [];
    let unjust = 0, refused = 0;
    while (client.nowMs < START_MS + 30_000) {
      // Now together, now evenly, now nothing for a while
      const count = Math.ceil(random() * requests / 3), gapMs = random() < 0.5 ? 0 : random() * 600 / requests;
      for (let i = 0; i < count; i++) {
        const inWindow = passed.filter((atMs) => atMs > client.nowMs - 1000).length;
        if (client.ask().allowed) {
          passed.push(client.nowMs);
          assert.ok(inWindow + 1 <= Math.ceil(requests * 1.05), `${inWindow + 1} of ${requests} within a window`);
        } else {
          refused++;
          if (inWindow < requests * 0.95) unjust++;
        }
        client.wait(gapMs);
      }
      client.wait(random() * 300);
      while (passed.length > 0 && passed[0]! < client.nowMs - 1000) passed.shift();
    }
    assert.ok(refused > 100, `${refused} were refused`);
    assert.ok(unjust <= refused * 0.05, `${unjust} of ${refused} were refused while 5 % of ${requests} were free`);
  }
});

test("Retry-After is when the next one passes, and the rest says what is left", () => {
  const client = new Client(3, 1000);
  assert.deepEqual(client.ask(), { allowed: true, limit: 3, remaining: 2, resetMs: 1000, retryAfterMs: 0 });
  client.wait(100).send(1);
  client.wait(400);
  assert.equal(client.see().remaining, 0);
  assert.equal(client.see().allowed, true, "looking takes nothing");
  client.ask();
  const refused = client.wait(100).ask();
  assert.deepEqual([refused.allowed, refused.remaining], [false, 0]);
  assert.ok(Math.abs(refused.retryAfterMs - 400) < 1, String(refused.retryAfterMs));
  assert.ok(Math.abs(refused.resetMs - 900) < 1, String(refused.resetMs));
  assert.equal(client.wait(refused.retryAfterMs - 2).see().allowed, false);
  assert.equal(client.wait(3).ask().allowed, true);
});

test("a limit of nothing refuses everything, for a window at a time", () => {
  const client = new Client(0, 5000);
  assert.deepEqual(client.ask(), { allowed: false, limit: 0, remaining: 0, resetMs: 0, retryAfterMs: 5000 });
});

test("clocks that are a little apart, and a row that was left for weeks, do no harm", () => {
  const client = new Client(10, 1000);
  client.send(5);
  assert.equal(client.wait(-0.4).send(10), 5);
  assert.equal(client.wait(40 * 24 * 3_600_000).send(20), 10);
});

function assertWithin(actual: number, expected: number, share: number): void {
  assert.ok(Math.abs(actual - expected) <= Math.max(1, expected * share), `${actual} instead of ${expected}`);
}
