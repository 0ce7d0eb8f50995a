/** When answers tell clients what is left of their rate limit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MatchedRoute } from "../../src/decision/match-route.ts";
import type { Exchange } from "../../src/downstream/exchange.ts";
import { UnderPolicy } from "../../src/forwarding/under-policy.ts";
import { policyRoute } from "../fixtures/policies.ts";

function toldOf(remaining: number, allowed = true): string {
  const route = policyRoute("paced", "app", { rateLimit: { requests: 5, windowMs: 60_000, burst: 0, key: null } });
  const limit = { allowed, limit: 5, remaining, resetMs: 1000, retryAfterMs: 1000 };
  const exchange = { answerFields: "" } as Exchange;
  new UnderPolicy({ route, limit } as MatchedRoute, {} as never, null).tellLimit(exchange);
  return exchange.answerFields;
}

test("answers tell what is left of a limit as soon as half of it is used up", () => {
  assert.equal(toldOf(3), "");
  assert.match(toldOf(2), /^RateLimit-Limit: 5\r\nRateLimit-Remaining: 2\r\n/);
  assert.match(toldOf(0, false), /^Retry-After: 1\r\nRateLimit-Limit: 5\r\nRateLimit-Remaining: 0\r\n/);
});
