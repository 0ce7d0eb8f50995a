/** Whom a rate limit counts together: nobody is somebody else by another spelling, or by saying two things at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MatchedRoute } from "../../src/decision/match-route.ts";
import { RateLimits } from "../../src/decision/rate-limits.ts";
import type { KeySource } from "../../src/table/policy.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { fieldList, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";

const CELLS = new CellTable();
let routes = 0;

/** Whether each of these requests is let through, where one key may have one. */
function allowed(
  key: KeySource,
  requests: readonly { readonly path?: string; readonly fields?: Record<string, string> }[],
): boolean[] {
  const limits = new RateLimits(CELLS);
  const route = policyRoute(`limited-${routes++}`, { rateLimit: { requests: 1, windowMs: 60_000, burst: 0, key } });
  return requests.map(({ path = "/", fields = {} }) => {
    const view = { ...requestView("a.test"), path, fields: fieldList(fields) };
    const matched: MatchedRoute = {
      route,
      service: null,
      routeKey: null,
      host: "a.test",
      domain: null,
      view,
      drained: false,
      told: null,
      limit: null,
    };
    return limits.take(matched).allowed;
  });
}

test("a path counts as one, however it is spelled", () => {
  const spellings = ["/login", "/%6cogin", "//login", "/x/../login", "/login;a", "/%2flogin", "/logout"];
  assert.deepEqual(allowed({ kind: "path" }, spellings.map((path) => ({ path }))), [true, ...Array(5).fill(false), true]);
});

test("who sends several values of the key counts by address", () => {
  const header = ["1", "2", "3"].map((made) => ({ fields: { "X-Token": made, "x-token": "mine" } }));
  assert.deepEqual(allowed({ kind: "header", name: "x-token" }, header), [true, false, false]);
  const folded = ["1", "2", "3"].map((made) => ({ fields: { "X-Token": made, "X_Token": "mine" } }));
  assert.deepEqual(allowed({ kind: "header", name: "x-token" }, folded), [true, false, false]);
  const cookies = ["1", "2", "3"].map((made) => ({ fields: { Cookie: `sid=${made}; sid=mine` } }));
  assert.deepEqual(allowed({ kind: "cookie", name: "sid" }, cookies), [true, false, false]);
  const one = ["1", "2", "1"].map((made) => ({ fields: { Cookie: `sid=${made}; a=b; sid=${made}` } }));
  assert.deepEqual(allowed({ kind: "cookie", name: "sid" }, one), [true, true, false]);
});
