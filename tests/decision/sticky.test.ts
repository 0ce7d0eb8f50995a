/** Clients that stick to an endpoint: when they stay, when they wait, and when they go. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import { matchRoute } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import { pseudonym } from "../../src/decision/loop.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { HERE, routesOf } from "../fixtures/records.ts";
import { filePolicies, fileService, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";
import { serviceVm } from "../fixtures/services.ts";

const ADDRESSES = ["10.1.0.1", "10.1.0.2"];
const [A, B] = ADDRESSES.map((address) => serviceVm(address, 1, "users").key) as [string, string];

/** What becomes of a client whose cookie names B, while A is available. */
function outcome(ofB: Availability, { tried = false, ofA = "available" as Availability } = {}): string {
  const table = new RoutingTable();
  table.commit(routesOf([]), 1, 0);
  const service = fileService("users", { sticky: { cookie: "edge", ttlMs: 1000 } }, ADDRESSES);
  table.policies = policiesOf(filePolicies([policyRoute("users")], [service]));
  const around: Surroundings = {
    table,
    previous: () => [],
    pseudonym: pseudonym(HERE),
    availability: ({ key }) => key === B ? ofB : ofA,
    load: () => 0,
    random: () => 0,
    secret: "",
    hooks: { ...NO_HOOKS, stickyKey: () => B },
  };
  const matched = matchRoute(requestView("app.test/"), around);
  assert.ok(matched !== null && typeof matched !== "string");
  const decision = decide({ host: "app.test", via: null, tried: tried ? new Set([B]) : null, matched }, around);
  switch (decision.kind) {
    case "forward":
      return decision.endpoint.key;
    case "probe-first":
      return `waits for ${decision.endpoints.map(({ key }) => key)}${decision.patient ? "" : " a moment"}`;
    default:
      return decision.kind;
  }
}

test("a client stays where its cookie leads, also where others are less busy", () => {
  assert.deepEqual([outcome("available"), outcome("busy")], [B, B]);
});

test("a client waits for the first verdict on its endpoint: a start must not shuffle sessions", () => {
  assert.deepEqual([outcome("unprobed"), outcome("overdue")], [`waits for ${B}`, `waits for ${B}`]);
  assert.equal(outcome("unprobed", { ofA: "unprobed" }), `waits for ${B}`);
});

test("a client goes elsewhere when its endpoint cannot take the request, or has been tried", () => {
  for (const availability of ["unhealthy", "draining", "ejected", "trial", "open", "full", "failing"] as const) {
    assert.equal(outcome(availability), A, availability);
  }
  assert.equal(outcome("available", { tried: true }), A);
});
