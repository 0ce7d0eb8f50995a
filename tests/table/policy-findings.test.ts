/** What operators are told of policies as a whole. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type FindingParts, policyFindings } from "../../src/table/policy-findings.ts";
import type { MaintenancePolicy, PolicyRoute } from "../../src/table/policy.ts";
import type { PolicyOrder } from "../../src/table/policy-order.ts";
import { Policies } from "../../src/table/policies.ts";
import { domainPolicy, filePolicies, policyRoute, service, serviceEndpoint } from "../fixtures/policies.ts";
import { routesOf, vm } from "../fixtures/records.ts";

const MAINTENANCE: MaintenancePolicy = { enabled: true, service: null, answer: { status: 503, body: "", headers: [] } };
const DRAIN = { startAtMs: 1000, overMs: 500 };

function findings(change: Partial<FindingParts>) {
  return policyFindings({ policies: Policies.none, routes: routesOf([]), orders: [], hindrance: () => null, ...change });
}

function file(routes: readonly PolicyRoute[], services = [service("users", ["10.0.0.5:80"])]): Policies {
  return new Policies(filePolicies(services, routes), new Map());
}

function order(change: Partial<PolicyOrder>): PolicyOrder {
  return {
    kind: "service",
    name: "users",
    maintenance: null,
    drain: null,
    sinceAtMs: 5000,
    untilAtMs: null,
    reason: "",
    by: "",
    ...change,
  };
}

test("a route of the file for a whole host of the database is hidden, one that says more is not", () => {
  const routes = routesOf(["app.test", "*.wild.test"].map((host) => ({ host, endpoints: [vm("10.0.0.9")] })));
  const { match } = policyRoute("", "users");
  const policies = file([
    policyRoute("whole", "users", { hosts: ["other.test", "app.test"] }),
    policyRoute("wild", "users", { hosts: ["*.wild.test"] }),
    policyRoute("one-of-wild", "users", { hosts: ["one.wild.test"] }),
    policyRoute("path", "users", { hosts: ["app.test"], match: { ...match, path: { kind: "prefix", value: "/x" } } }),
    policyRoute("methods", "users", { hosts: ["app.test"], match: { ...match, methods: ["GET"] } }),
    policyRoute("prior", "users", { hosts: ["app.test"], priority: 1 }),
    policyRoute("below", "users", { hosts: ["app.test"], priority: -1 }),
    policyRoute("any", "users"),
  ]);
  const hidden = findings({ policies, routes }).hidden.map(({ id, host }) => `${id} ${host}`);
  assert.deepEqual(hidden, ["whole app.test", "wild *.wild.test"]);
});

test("maintenance and drains are told by policy, and by order, which comes before", () => {
  const policies = new Policies(
    filePolicies([service("users", ["10.0.0.5:80"], { maintenance: MAINTENANCE, drain: DRAIN })], [
      policyRoute("api", "users", { maintenance: { ...MAINTENANCE, enabled: false } }),
    ]),
    new Map([[
      "shop.test",
      domainPolicy("shop.test", {
        routes: [
          policyRoute("shop.test", "vms", { hosts: ["shop.test"], origin: "route_policies shop.test", maintenance: MAINTENANCE }),
        ],
      }),
    ]]),
  );
  const said = findings({ policies });
  assert.deepEqual(said.maintained, [
    { kind: "service", name: "users", orderedAtMs: null },
    { kind: "route", name: "shop.test/shop.test", orderedAtMs: null },
  ]);
  assert.deepEqual(said.drained, [{ kind: "service", name: "users", orderedAtMs: null, drain: DRAIN }]);
  const orders = [
    order({ maintenance: { ...MAINTENANCE, enabled: false }, drain: { startAtMs: 2000, overMs: 1 } }),
    order({ kind: "route", name: "api", maintenance: MAINTENANCE, sinceAtMs: 7000 }),
  ];
  const { maintained, drained } = findings({ policies, orders });
  assert.deepEqual(maintained, [
    { kind: "route", name: "api", orderedAtMs: 7000 },
    { kind: "route", name: "shop.test/shop.test", orderedAtMs: null },
  ]);
  assert.deepEqual(drained, [{ kind: "service", name: "users", orderedAtMs: 5000, drain: { startAtMs: 2000, overMs: 1 } }]);
});

test("a service is unusable when none of its endpoints takes requests, and a route leads there", () => {
  const sick = service("sick", ["10.0.0.5:80", "10.0.0.6:80"]);
  const resting = { ...service("resting", []), endpoints: [{ ...serviceEndpoint("resting", "10.0.0.7:80"), weight: 0 }] };
  const services = [sick, resting, service("nowhere", []), service("spare", []), service("good", ["10.0.0.8:80"])];
  const split = [{ service: "good", share: 10_000 }, { service: "spare", share: 0 }];
  const routes = ["sick", "resting", "nowhere"].map((name) => policyRoute(name, name));
  const policies = new Policies(
    filePolicies(services, [...routes, policyRoute("split", "good", { split })]),
    new Map([[
      "shop.test",
      domainPolicy("shop.test", {
        routes: [policyRoute("shop.test", "vms"), policyRoute("x", "good"), policyRoute("y", "nobody")],
      }),
    ]]),
  );
  const hindrance: FindingParts["hindrance"] = ({ port, address }) =>
    address === "10.0.0.5" ? "unhealthy" : address === "10.0.0.6" && port === 80 ? "breaker open" : null;
  assert.deepEqual(findings({ policies, hindrance }).unusable, [
    { name: "sick", why: "2 endpoint(s): unhealthy, breaker open" },
    { name: "resting", why: "all its endpoints have weight 0" },
    { name: "nowhere", why: "it has no endpoint (host names without an address are none)" },
    { name: "nobody", why: "nobody knows it, but shop.test leads there" },
  ]);
  const one: FindingParts["hindrance"] = ({ address }) => address === "10.0.0.5" ? "unhealthy" : null;
  assert.deepEqual(findings({ policies, hindrance: one }).unusable.map(({ name }) => name), ["resting", "nowhere", "nobody"]);
});
