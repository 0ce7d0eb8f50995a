/** What is remembered of the clients of a rate limit does not change who is counted where. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MatchedRoute } from "../../src/decision/match-route.ts";
import { RateLimits } from "../../src/decision/rate-limits.ts";
import type { KeySource } from "../../src/table/policy.ts";
import { MEMORY_BYTES } from "../../src/upstream/cell-memory.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { policyRoute } from "../fixtures/policies.ts";

function limited(requests: number, key: KeySource | null) {
  return policyRoute("limited", "app", { rateLimit: { requests, windowMs: 60_000, burst: 0, key } });
}

function from(clientAddress: string, route = limited(2, { kind: "client-ip" })): MatchedRoute {
  return { route, routeKey: null, view: { clientAddress } } as MatchedRoute;
}

function twoWorkers(): { readonly cells: CellTable; readonly limits: RateLimits }[] {
  let nowMs = 1000;
  const shared = { memory: new ArrayBuffer(MEMORY_BYTES), nowMs: () => nowMs++ };
  return [1, 2].map(() => new CellTable(shared)).map((cells) => ({ cells, limits: new RateLimits(cells) }));
}

test("a client's requests at two workers are counted as one, also when both know the client", () => {
  const [one, two] = twoWorkers();
  const route = limited(4, { kind: "client-ip" });
  const left = [one, two, one, two, one].map((worker) => worker!.limits.take(from("10.0.0.1", route)).remaining);
  assert.deepEqual(left, [3, 2, 1, 0, 0]);
  assert.equal(two!.limits.take(from("10.0.0.2", route)).remaining, 3);
});

test("a client whose numbers have given way to others begins anew, and leaves theirs alone", () => {
  const [one, two] = twoWorkers();
  const client = from("10.0.0.1");
  assert.deepEqual([1, 2, 3].map(() => one!.limits.take(client).allowed), [true, true, false]);
  for (let i = 0; i < 1_000_000; i++) two!.cells.passing(`flood ${i}`)[4] = i;
  assert.equal(one!.limits.take(client).remaining, 1);
  const changed = Array.from({ length: 1000 }, (_, i) => 999_999 - i).filter((i) => two!.cells.passing(`flood ${i}`)[4] !== i);
  assert.ok(changed.length <= 1, "only where the client's new row is");
});
