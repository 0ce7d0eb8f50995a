/** Services of so many endpoints that a request does not look at all of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import { matchRoute } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import { pseudonym } from "../../src/decision/loop.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { Balancing } from "../../src/lifecycle/balancing.ts";
import type { BreakerPolicy, ServicePolicy } from "../../src/table/policy.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { Endpoints } from "../../src/upstream/endpoint-state.ts";
import { chance } from "../fixtures/chance.ts";
import { HERE, routesOf } from "../fixtures/records.ts";
import { filePolicies, fileService, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";

const ADDRESSES = Array.from({ length: 100 }, (_, i) => `10.1.0.${i + 1}`);
const BREAKER: BreakerPolicy = {
  scope: "endpoint",
  failures: 5,
  failureRate: 0,
  minRequests: 10,
  windowMs: 10_000,
  openForMs: 30_000,
  halfOpenRequests: 1,
  strategy: "fail-fast",
  fallback: null,
};

/** A worker with one service, whose endpoints are available unless `found` says something else. */
class Deciding {
  readonly found: Map<string, Availability> = new Map();
  readonly keys: readonly string[];
  nowMs = 10_000;
  /** Requests under way. */
  load: (key: string) => number = () => 0;
  /** Endpoints that the last request looked at. */
  looks = 0;
  readonly #around: Surroundings;

  constructor(policy: Partial<ServicePolicy> = {}, addresses = ADDRESSES, random = chance(1)) {
    const table = new RoutingTable();
    table.commit(routesOf([]), 1, 0);
    const service = fileService("users", policy, addresses);
    this.keys = service.endpoints!.map(({ key }) => key);
    table.policies = policiesOf(filePolicies([policyRoute("users")], [service]));
    const endpoints = new Endpoints({ wanted() {}, failed() {} });
    endpoints.loadOf = (key) => this.load(key);
    const cells = new CellTable();
    const parts = {
      table,
      endpoints,
      cells,
      secret: "s",
      random,
      nowMs: () => this.nowMs,
      placesOf: (key: string) => this.load(key),
    };
    this.#around = {
      table,
      previous: () => [],
      pseudonym: pseudonym(HERE),
      availability: ({ key }) => {
        this.looks++;
        return this.found.get(key) ?? "available";
      },
      load: () => 0,
      random,
      secret: "",
      hooks: { ...NO_HOOKS, ...new Balancing(parts).hooks },
    };
  }

  /** Whom it goes to, else what is decided. */
  outcome({ client = "192.0.2.1", tried = null as ReadonlySet<string> | null } = {}): string {
    this.looks = 0;
    const matched = matchRoute(requestView("app.test/", { clientAddress: client }), this.#around);
    assert.ok(matched !== null && typeof matched !== "string");
    const decision = decide({ host: "app.test", via: null, tried, matched }, this.#around);
    return decision.kind === "forward" ? decision.endpoint.key : decision.kind === "refuse" ? decision.code : decision.kind;
  }
}

for (const balance of ["p2c", "round-robin", "weighted", "least-connections", "ip-hash", "consistent-hash"] as const) {
  test(`${balance}: after a look at all a request looks at those that it draws, for a second`, () => {
    const deciding = new Deciding({ balance });
    deciding.outcome();
    assert.equal(deciding.looks, 100);
    for (let i = 0; i < 50; i++) {
      assert.match(deciding.outcome({ client: `192.0.2.${i}` }), /^vm/);
      assert.ok(deciding.looks <= 2, `${deciding.looks} looks`);
    }
    deciding.nowMs += 1000; // or endpoints that nobody draws would not be in use, and not be probed
    deciding.outcome();
    assert.equal(deciding.looks, 100);
  });

  test(`${balance}: nobody is sent to who cannot take the request, however few are left`, () => {
    const deciding = new Deciding({ balance });
    deciding.outcome();
    const hashes = balance === "ip-hash" || balance === "consistent-hash";
    // A key waits for the verdict on its own
    const out = ["unhealthy", "draining", "ejected", "full", "busy", hashes ? "trial" : "overdue"] as const;
    for (const [i, key] of deciding.keys.entries()) if (i !== 41) deciding.found.set(key, out[i % 6]!);
    for (let i = 0; i < 50; i++) assert.equal(deciding.outcome({ client: `192.0.2.${i}` }), deciding.keys[41]);
    deciding.found.set(deciding.keys[41]!, "unhealthy");
    assert.match(deciding.outcome(), /^vm/, "a busy one is better than none");
    for (const key of deciding.keys) deciding.found.set(key, "unhealthy");
    assert.equal(deciding.outcome(), "vm_unhealthy");
  });

  test(`${balance}: all are looked at while somebody may have to wait for a verdict`, () => {
    const deciding = new Deciding({ balance });
    deciding.found.set(deciding.keys[99]!, "unprobed");
    for (let i = 0; i < 3; i++) {
      deciding.outcome({ client: `192.0.2.${i}` });
      assert.equal(deciding.looks, 100);
    }
    deciding.found.clear();
    deciding.outcome();
    deciding.outcome();
    assert.ok(deciding.looks <= 2, `${deciding.looks} looks`);
  });

  test(`${balance}: a request that was tried elsewhere looks at all the others`, () => {
    const deciding = new Deciding({ balance });
    deciding.outcome();
    const tried = new Set(deciding.keys.slice(1));
    assert.equal(deciding.outcome({ tried }), deciding.keys[0]);
  });

  test(`${balance}: few are always looked at`, () => {
    const deciding = new Deciding({ balance }, ADDRESSES.slice(0, 8));
    for (let i = 0; i < 3; i++) {
      deciding.outcome();
      assert.equal(deciding.looks, 8);
    }
  });
}

test("a breaker that fails fast takes the share of its endpoint, one that retries elsewhere leaves it to others", () => {
  for (const strategy of ["fail-fast", "retry-elsewhere"] as const) {
    const deciding = new Deciding({ breaker: { ...BREAKER, strategy } });
    for (const key of deciding.keys.slice(0, 30)) deciding.found.set(key, "open");
    const refused = Array.from({ length: 4000 }, () => deciding.outcome()).filter((each) => each === "breaker_open").length;
    if (strategy === "retry-elsewhere") assert.equal(refused, 0);
    else assert.ok(Math.abs(refused / 4000 - 0.3) < 0.03, `${refused} of 4000 refused`);
  }
});

for (const balance of ["p2c", "least-connections"] as const) {
  for (const count of [4, 20, 100]) {
    test(`${balance}: one of ${count} whose breaker fails fast is no less busy than the others, and draws no more than its share`, () => {
      const deciding = new Deciding({ balance, breaker: { ...BREAKER, strategy: "fail-fast" } }, ADDRESSES.slice(0, count));
      const shut = deciding.keys.slice(0, count / 4);
      for (const key of shut) deciding.found.set(key, "open");
      deciding.load = (key) => shut.includes(key) ? 0 : 3; // nobody gets in there, so nothing is under way
      const refused = Array.from({ length: 4000 }, () => deciding.outcome()).filter((each) => each === "breaker_open").length;
      assert.ok(Math.abs(refused / 4000 - 0.25) < 0.03, `${refused} of 4000 refused`);
    });
  }
}
