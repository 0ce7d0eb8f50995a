/** What becomes of a request whose endpoints have open breakers, are full, busy or have been tried. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import { matchRoute } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import type { BreakerPolicy, ConcurrencyPolicy, ServicePolicy } from "../../src/table/policy.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { filePolicies, fileService, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";
import { routesOf } from "../fixtures/records.ts";

const FALLBACK = { status: 200, body: "from the cupboard", headers: [] };
const LIMITS: ConcurrencyPolicy = { soft: 1, hard: 2, queue: 3, queueTimeoutMs: 400 };

function breaker(strategy: BreakerPolicy["strategy"]): Partial<ServicePolicy> {
  const policy: BreakerPolicy = {
    failures: 1,
    failureRate: 0,
    minRequests: 1,
    windowMs: 1000,
    openForMs: 1000,
    halfOpenRequests: 1,
    scope: "endpoint",
    strategy,
    fallback: strategy === "fallback" ? FALLBACK : null,
  };
  return { breaker: policy };
}

/** Of a service with endpoints 10.1.0.1 and on, each with what is found there; the first of those drawn is taken. */
function outcome(found: readonly Availability[], policy: Partial<ServicePolicy>, tried: readonly number[] = []): string {
  const addresses = found.map((_, index) => `10.1.0.${index + 1}`);
  const table = new RoutingTable();
  table.commit(routesOf([]), 1, 0);
  const service = fileService("users", policy, addresses);
  table.policies = policiesOf(filePolicies([policyRoute("users")], [service]));
  const around: Surroundings = {
    table,
    previous: () => [],
    pseudonym: "edgeproxy-here",
    availability: ({ address }) => found[addresses.indexOf(address)]!,
    load: () => 0,
    random: () => 0,
    secret: "",
    hooks: NO_HOOKS,
  };
  const matched = matchRoute(requestView("a.test/"), around);
  assert.ok(matched !== null && typeof matched !== "string");
  const keys = new Set(tried.map((number) => service.endpoints![number - 1]!.key));
  const decision = decide({ host: "a.test", via: null, tried: keys.size === 0 ? null : keys, matched }, around);
  switch (decision.kind) {
    case "forward":
      return `to ${decision.endpoint.address.at(-1)}`;
    case "queue":
      return `wait for ${decision.endpoints.map(({ address }) => address.at(-1)).join(" or ")}, ${decision.timeoutMs} ms`;
    case "refuse":
      return decision.code;
    case "respond":
      return decision.answer.body;
    default:
      return decision.kind;
  }
}

test("an open breaker is gone round, refuses at once, or answers by its fallback", () => {
  assert.equal(outcome(["open", "available"], breaker("retry-elsewhere")), "to 2");
  assert.equal(outcome(["open", "available"], breaker("fail-fast")), "breaker_open", "the first was drawn");
  assert.equal(outcome(["available", "open"], breaker("fail-fast")), "to 1");
  assert.equal(outcome(["open", "available"], breaker("fallback")), FALLBACK.body);
  for (
    const [strategy, expected] of [["retry-elsewhere", "breaker_open"], ["fail-fast", "breaker_open"], [
      "fallback",
      FALLBACK.body,
    ]] as const
  ) {
    assert.equal(outcome(["open", "open"], breaker(strategy)), expected, strategy);
    assert.equal(outcome(["open"], breaker(strategy)), expected, strategy);
    assert.equal(outcome(["open", "unhealthy"], breaker(strategy)), expected, strategy);
  }
});

test("endpoints above their soft limit come last, full ones are waited for, if anybody may wait", () => {
  assert.equal(outcome(["busy", "available"], { limits: LIMITS }), "to 2");
  assert.equal(outcome(["busy", "full"], { limits: LIMITS }), "to 1");
  assert.equal(outcome(["full", "unhealthy", "full"], { limits: LIMITS }), "wait for 1 or 3, 400 ms");
  assert.equal(outcome(["full"], { limits: { ...LIMITS, queue: 0 } }), "queue_full");
  assert.equal(outcome(["full", "open"], { limits: LIMITS, ...breaker("retry-elsewhere") }), "wait for 1, 400 ms");
});

test("an endpoint that has been tried is not among them, whatever is found there", () => {
  assert.equal(outcome(["available", "available"], {}, [1]), "to 2");
  assert.equal(outcome(["available", "busy"], { limits: LIMITS }, [1]), "to 2");
  assert.equal(outcome(["available", "available"], {}, [1, 2]), "vm_unhealthy");
});
