/** What is decided under a policy: answers, limits, and which endpoint of a service takes a request. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { candidatesOf } from "../../src/decision/candidates.ts";
import { decide } from "../../src/decision/decide.ts";
import type { Decision } from "../../src/decision/decision.ts";
import { matchRoute } from "../../src/decision/match-route.ts";
import { NO_HOOKS, type PolicyHooks } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { type Step, stepText } from "../../src/decision/trace.ts";
import { Policies } from "../../src/table/policies.ts";
import type {
  DomainPolicy,
  KeySource,
  MaintenancePolicy,
  PolicyRoute,
  ServicePolicy,
  ServiceRecord,
} from "../../src/table/policy.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { chance } from "../fixtures/chance.ts";
import { ELSEWHERE, region, route, routesOf, vm } from "../fixtures/records.ts";
import { filePolicies, fileService, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";

const ONE = "vm/10.1.0.1:8080@it", TWO = "vm/10.1.0.2:8080@it", FAR = "region/203.0.113.9:80@it";
const ADDRESSES = ["10.1.0.1", "10.1.0.2"];

interface Case {
  readonly route?: Partial<PolicyRoute>;
  readonly policy?: Partial<ServicePolicy>;
  readonly weights?: readonly number[];
  /** Beside the two VMs one in another region. */
  readonly far?: boolean;
  readonly availability?: Readonly<Record<string, Availability>>;
  readonly tried?: readonly string[];
  readonly via?: string;
  readonly hooks?: Partial<PolicyHooks>;
  /** Instead of a file: its own VMs under a policy, of now and of before. */
  readonly own?: { readonly now: readonly EndpointRecord[]; readonly before: readonly EndpointRecord[] };
}

function serviceOf({ policy = {}, weights = [1, 1], far = false }: Case): ServiceRecord {
  const service = fileService("it", policy, ADDRESSES);
  const endpoints = service.endpoints!.map((endpoint, index) => ({ ...endpoint, weight: weights[index]! }));
  const elsewhere = { ...region(ELSEWHERE, "203.0.113.9"), key: FAR, service: "it", weight: 1 };
  return { ...service, endpoints: far ? [...endpoints, elsewhere] : endpoints };
}

function tableOf(given: Case): RoutingTable {
  const table = new RoutingTable();
  table.commit(routesOf(given.own === undefined ? [] : [route("a.test", ...given.own.now)]), 1, 0);
  if (given.own === undefined) {
    const routes = [policyRoute("it", { hosts: ["a.test"], ...given.route })];
    table.policies = new Policies(filePolicies(routes, [serviceOf(given), fileService("page", {}, ["10.1.0.9"])]), new Map());
  } else {
    const own: DomainPolicy = {
      host: "a.test",
      services: [{ ...fileService("a.test", given.policy), endpoints: null }],
      routes: [],
    };
    table.policies = new Policies(filePolicies([]), new Map([["a.test", own]]));
  }
  return table;
}

function decided(given: Case, steps?: Step[]): Decision {
  const around: Surroundings = {
    table: tableOf(given),
    previous: () => given.own === undefined || given.own.before.length === 0 ? [] : [{ endpoints: given.own.before }],
    pseudonym: "edgeproxy-here",
    availability: ({ key }) => given.availability?.[key] ?? "available",
    load: ({ key }) => key === ONE ? 1 : 0,
    random: chance(7),
    secret: "",
    hooks: { ...NO_HOOKS, ...given.hooks },
  };
  const matched = matchRoute(requestView("a.test/x"), around);
  assert.ok(matched !== null && typeof matched !== "string");
  const asked = {
    host: matched.host,
    via: given.via ?? null,
    tried: given.tried === undefined ? null : new Set(given.tried),
    matched,
  };
  return decide(asked, around, steps === undefined ? undefined : (step) => steps.push(step));
}

/** In a few words; the same with a trace, and what is told of it agrees. */
function outcome(given: Case): string {
  const steps: Step[] = [];
  const decision = decided(given);
  assert.deepEqual(decided(given, steps), decision, "a trace changes nothing");
  assert.ok(steps.every((step) => stepText(step) !== ""));
  const chosen = candidatesOf(steps, decision).filter((each) => each.outcome === "chosen").map(({ endpoint }) => endpoint.key);
  const goes = decision.kind === "forward" || decision.kind === "fall-back" ? [decision.endpoint.key] : [];
  assert.deepEqual(chosen, goes);
  switch (decision.kind) {
    case "forward":
      return decision.endpoint.key;
    case "fall-back":
      return `back to ${decision.endpoint.key}`;
    case "probe-first":
      return `probe ${decision.endpoints.map(({ key }) => key).join(" ")}`;
    case "respond":
      return `${decision.why} ${decision.answer.status}`;
    case "queue":
      return `queue ${decision.endpoints.map(({ key }) => key).join(" ")} ${decision.timeoutMs}`;
    case "table-first":
      return decision.kind;
    case "refuse":
      return decision.code;
  }
}

test("decideByPolicy() goes to the less busy of the service's VMs, here before elsewhere", () => {
  assert.equal(outcome({}), TWO);
  assert.equal(outcome({ tried: [TWO] }), ONE);
  assert.equal(outcome({ availability: { [TWO]: "unhealthy" } }), ONE);
  assert.equal(outcome({ availability: { [TWO]: "unprobed" } }), ONE, "without a probe first");
  assert.equal(outcome({ availability: { [ONE]: "unprobed", [TWO]: "overdue" } }), `probe ${ONE} ${TWO}`);
  assert.equal(outcome({ far: true }), TWO);
  assert.equal(outcome({ far: true, tried: [ONE, TWO] }), FAR);
  assert.equal(
    outcome({ far: true, tried: [ONE, TWO], via: `1.1 edgeproxy-${ELSEWHERE}` }),
    "vm_unhealthy",
    "not back to where it comes from",
  );
  assert.equal(outcome({ tried: [ONE, TWO] }), "vm_unhealthy");
});

test("decideByPolicy() gives an endpoint with weight 0 nobody new", () => {
  assert.equal(outcome({ weights: [1, 0] }), ONE);
  assert.equal(outcome({ weights: [1, 0], availability: { [ONE]: "unhealthy" } }), "vm_unhealthy");
  assert.equal(outcome({ weights: [0, 0] }), "no_endpoints");
  const sticky = { cookie: "edge", ttlMs: 1000 };
  assert.equal(outcome({ weights: [1, 0], policy: { sticky }, hooks: { stickyKey: () => TWO } }), TWO, "who sticks to it stays");
  assert.equal(outcome({ weights: [0, 0], policy: { sticky }, hooks: { stickyKey: () => TWO } }), TWO, "also where all drain");
  assert.equal(outcome({ weights: [0, 0], policy: { sticky } }), "no_endpoints");
});

test("decideByPolicy() lets a client stick to what can take it", () => {
  const stuck = { policy: { sticky: { cookie: "edge", ttlMs: 1000 } }, hooks: { stickyKey: () => ONE } };
  assert.equal(outcome(stuck), ONE);
  assert.equal(outcome({ ...stuck, availability: { [ONE]: "busy" } }), ONE);
  assert.equal(outcome({ ...stuck, availability: { [ONE]: "overdue" } }), `probe ${ONE}`, "it may well come back");
  assert.equal(outcome({ ...stuck, tried: [ONE] }), TWO);
  for (const finding of ["unhealthy", "ejected", "open", "full", "draining"] as const) {
    assert.equal(outcome({ ...stuck, availability: { [ONE]: finding } }), TWO, finding);
  }
  assert.equal(outcome({ ...stuck, hooks: { stickyKey: () => "vm/10.1.0.7:8080@it" } }), TWO, "one that is gone");
  assert.equal(outcome({ hooks: stuck.hooks }), TWO, "only where the service is sticky");
});

test("decideByPolicy() asks the balancer between those that can take it", () => {
  const offered: string[][] = [];
  const hooks: Partial<PolicyHooks> = { balance: (_, endpoints) => (offered.push(endpoints.map(({ key }) => key)), endpoints[0]!) };
  assert.equal(outcome({ hooks, far: true }), ONE);
  assert.deepEqual(offered[0], [ONE, TWO], "regions are the fail-over");
  assert.equal(outcome({ hooks, weights: [0, 1] }), TWO, "nothing to balance");
  assert.ok(offered.every((each) => each.length === 2));
});

test("decideByPolicy() waits for the verdict on where a hashed key leads, not for those on others", () => {
  const policy: Partial<ServicePolicy> = { balance: "consistent-hash", hashKey: { kind: "path" } };
  const leadsTo = (key: string): Partial<PolicyHooks> => ({
    balance: (_, endpoints) => endpoints.find((endpoint) => endpoint.key === key) ?? endpoints[0]!,
  });
  for (const finding of ["unprobed", "overdue"] as const) {
    const availability = { [TWO]: finding };
    assert.equal(outcome({ policy, hooks: leadsTo(TWO), availability }), `probe ${TWO}`);
    assert.equal(outcome({ policy, hooks: leadsTo(ONE), availability }), ONE);
    assert.equal(outcome({ policy, hooks: leadsTo(TWO), availability, tried: [TWO] }), ONE, "it has been waited for in vain");
    const keyless = { ...policy, hashKey: { kind: "header", name: "x-user" } } as const;
    assert.equal(outcome({ policy: keyless, hooks: leadsTo(TWO), availability }), ONE, "nothing to hash");
  }
  assert.equal(outcome({ policy, hooks: leadsTo(TWO), availability: { [TWO]: "unhealthy" } }), ONE);
});

test("decideByPolicy() tells ways of being out apart", () => {
  const both = (finding: Availability) => ({ availability: { [ONE]: finding, [TWO]: finding } });
  assert.equal(outcome(both("ejected")), "vm_unhealthy");
  assert.equal(outcome({ availability: { [ONE]: "ejected", [TWO]: "trial" } }), TWO, "better than nothing");
  assert.equal(outcome({ availability: { [ONE]: "available", [TWO]: "trial" } }), ONE);
  assert.equal(outcome(both("open")), "breaker_open");
  assert.equal(outcome(both("draining")), "vm_cordoned");
  assert.equal(outcome(both("busy")), TWO);
  assert.equal(outcome({ availability: { [TWO]: "busy" } }), ONE, "others come first");
  assert.equal(outcome(both("full")), "queue_full");
  const limits = { soft: 0, hard: 1, queue: 10, queueTimeoutMs: 500 };
  assert.equal(outcome({ ...both("full"), policy: { limits } }), `queue ${ONE} ${TWO} 500`);
  assert.equal(outcome({ ...both("full"), policy: { limits }, far: true }), FAR);
});

test("decideByPolicy() answers in maintenance, or lets another service answer", () => {
  const closed: MaintenancePolicy = { enabled: true, service: null, answer: { status: 503, body: "", headers: [] } };
  assert.equal(outcome({ route: { maintenance: closed } }), "maintenance 503");
  assert.equal(outcome({ policy: { maintenance: closed } }), "maintenance 503");
  assert.equal(outcome({ route: { maintenance: { ...closed, enabled: false } } }), TWO);
  assert.equal(outcome({ route: { maintenance: { ...closed, service: "page" } } }), "vm/10.1.0.9:8080@page");
  assert.equal(outcome({ route: { maintenance: { ...closed, service: "gone" } } }), "no_endpoints");
  const ordered = (kind: "route" | "service") => ({ maintenance: (of: string) => of === kind ? closed : null });
  assert.equal(outcome({ hooks: ordered("route") }), "maintenance 503", "as operators have ordered");
  assert.equal(outcome({ hooks: ordered("service") }), "maintenance 503");
});

test("decideByPolicy() takes a place in the rate limit once, however often it is decided", () => {
  let taken = 0;
  const verdict = { allowed: true, limit: 1, remaining: 0, resetMs: 0, retryAfterMs: 0 };
  const hooks: Partial<PolicyHooks> = { limit: () => (taken++, { ...verdict, allowed: taken === 1 }) };
  const table = tableOf({ route: { rateLimit: { requests: 1, windowMs: 1000, burst: 0, key: null } } });
  const around: Surroundings = {
    table,
    previous: () => [],
    pseudonym: "",
    availability: () => "available",
    load: () => 0,
    random: () => 0,
    secret: "",
    hooks: { ...NO_HOOKS, ...hooks },
  };
  const once = (times: number) => {
    const matched = matchRoute(requestView("a.test"), around);
    if (matched === null || typeof matched === "string") assert.fail("no policy");
    return Array.from({ length: times }, () => decide({ host: "a.test", via: null, tried: null, matched }, around).kind);
  };
  assert.deepEqual([once(3), taken], [["forward", "forward", "forward"], 1]);
  assert.deepEqual([once(2), taken], [["refuse", "refuse"], 2]);
});

test("decideByPolicy() tells by what a request is counted", () => {
  const verdict = { allowed: true, limit: 2, remaining: 1, resetMs: 0, retryAfterMs: 0 };
  const told = (key: KeySource | null) => {
    const steps: Step[] = [];
    decided({ route: { rateLimit: { requests: 2, windowMs: 1000, burst: 0, key } }, hooks: { limit: () => verdict } }, steps);
    return steps.filter(({ kind }) => kind === "limit").map(stepText);
  };
  assert.deepEqual(told(null), ["rate limit: 1 of 2 left, all together"]);
  assert.deepEqual(told({ kind: "path" }), ["rate limit: 1 of 2 left, by path"]);
  const missing = "rate limit: 1 of 2 left, by the client's address for want of a header x-user";
  assert.deepEqual(told({ kind: "header", name: "x-user" }), [missing]);
});

test("decideByPolicy() falls back from a host's VMs under a policy to those of before", () => {
  const own = { now: [vm("10.0.0.1")], before: [vm("10.0.0.2")] };
  const now = "vm/10.0.0.1:8080@a.test", before = "vm/10.0.0.2:8080@a.test";
  assert.equal(outcome({ own }), now);
  assert.equal(outcome({ own, availability: { [now]: "unprobed" } }), `probe ${now}`);
  assert.equal(outcome({ own, availability: { [now]: "overdue" } }), `back to ${before}`);
  assert.equal(outcome({ own, availability: { [now]: "unhealthy" } }), `back to ${before}`);
  assert.equal(outcome({ own, availability: { [now]: "unhealthy", [before]: "unhealthy" } }), "vm_unhealthy");
});
