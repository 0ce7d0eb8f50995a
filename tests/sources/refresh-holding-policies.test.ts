/** Readings that take away most of the domains' policies: what they would take is held back, and nothing else. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DomainPolicy } from "../../src/table/policy.ts";
import { hosts, INTERVAL_MS, policiesOf, route, stage } from "../fixtures/refresher-stage.ts";
import { domainPolicy } from "../fixtures/policies.ts";

describe("Refresher with a reading that takes away most of the policies", () => {
  /** 1000 routes; the first of them have a policy. */
  async function loaded(count: number) {
    const scene = stage();
    scene.source.routes = hosts(1000);
    scene.source.policies = policiesOf(hosts(count));
    await scene.refresher.refreshNow("test");
    scene.log.take();
    const heldPolicies = () => [scene.refresher.status().heldPolicies, scene.policies.domains.size];
    return { ...scene, heldPolicies };
  }

  it("refreshNow() holds them until the next reading says the same, and says so", async () => {
    const { source, refresher, log, told, heldPolicies } = await loaded(300);
    source.policies = policiesOf(hosts(100));
    await refresher.refreshNow("test");
    assert.deepEqual(heldPolicies(), [200, 300]);
    assert.deepEqual(log.take(), ["warn refresh held back: it would remove most of the policies"]);
    await refresher.refreshNow("test");
    assert.deepEqual(heldPolicies(), [0, 100]);
    assert.deepEqual(told, ["held would remove 200 of 300 policies", "released"]);
  });

  it("asks again after an interval, and only a reading of everything confirms", async () => {
    const { source, timers, heldPolicies } = await loaded(300);
    source.compare = () => {
      source.alwaysWhole = true;
      return Promise.resolve();
    };
    source.policies = new Map();
    for (let i = 0; i < 3; i++) {
      source.onChange();
      await timers.advance(5);
    }
    assert.deepEqual(heldPolicies(), [300, 300], "the log says the same, which is no second opinion");
    await timers.advance(INTERVAL_MS - 20);
    assert.deepEqual(heldPolicies(), [300, 300]);
    await timers.advance(20);
    assert.deepEqual(heldPolicies(), [0, 0]);
  });

  it("follows the routes meanwhile, and takes policies that are new or say something else", async () => {
    const { source, refresher, policies } = await loaded(300);
    const other = domainPolicy("h1.example");
    source.policies = new Map([["h1.example", other], ["new.example", domainPolicy("new.example")]]);
    source.routes = [...hosts(1000), route("new.example")];
    await refresher.refreshNow("test");
    assert.equal(refresher.status().heldPolicies, 299);
    assert.equal(refresher.table.size, 1001);
    assert.equal(policies.domains.get("h1.example"), other);
    assert.ok(policies.domains.has("new.example") && policies.domains.has("h299.example"));
  });

  it("counts a policy that says nothing any more, and one that is wrong: its domain is served on under the one before", async () => {
    const { source, refresher, log, policies } = await loaded(300);
    const nothing = hosts(100).map(({ host }): [string, DomainPolicy] => [host, { host, services: [], routes: [] }]);
    source.policies = new Map(nothing);
    source.badPolicies = ["without.example", ...hosts(200, 100).map(({ host }) => host)];
    source.routes = [...hosts(1000), route("without.example")];
    await refresher.refreshNow("test");
    assert.equal(refresher.status().heldPolicies, 300);
    assert.equal(policies.domains.get("h5.example")?.routes.length, 1);
    assert.deepEqual([refresher.table.size, refresher.table.get("h150.example")?.endpoints.length], [1000, 1]);
    assert.deepEqual(refresher.excluded.map(({ host }) => host), ["without.example"], "it never had a good one");
    assert.equal(refresher.status().badRows, 1);
    assert.equal(log.take().filter((line) => line.includes("excluded")).length, 1);

    await refresher.refreshNow("test");
    assert.deepEqual([refresher.status().heldPolicies, refresher.table.size, refresher.status().badRows], [0, 800, 201]);
  });

  it("believes at the second word that most of all domains have a wrong policy, though that takes most routes, too", async () => {
    const { source, refresher, heldPolicies, told } = await loaded(900);
    source.policies = new Map();
    source.badPolicies = hosts(900).map(({ host }) => host);
    await refresher.refreshNow("test");
    assert.deepEqual([refresher.table.size, ...heldPolicies()], [1000, 900, 900]);
    await refresher.refreshNow("test");
    assert.deepEqual([refresher.status().held, refresher.table.size, ...heldPolicies()], [0, 100, 0, 0]);
    assert.deepEqual(told, ["held would remove 900 of 900 policies", "released"]);
  });

  it("forgets what was held when the policies are back, and holds anew while they are coming back", async () => {
    const { source, refresher, heldPolicies } = await loaded(300);
    source.policies = new Map();
    await refresher.refreshNow("test");
    source.policies = policiesOf(hosts(20));
    await refresher.refreshNow("test");
    assert.deepEqual(heldPolicies(), [280, 300]);
    source.policies = policiesOf(hosts(300));
    await refresher.refreshNow("test");
    assert.deepEqual(heldPolicies(), [0, 300]);
    source.policies = new Map();
    await refresher.refreshNow("test");
    assert.deepEqual(heldPolicies(), [300, 300]);
  });

  it("takes at once up to 100 of them or up to half, and whatever the first reading says", async () => {
    const small = await loaded(100);
    small.source.policies = new Map();
    await small.refresher.refreshNow("test");
    assert.deepEqual(small.heldPolicies(), [0, 0]);
    const large = await loaded(1000);
    large.source.policies = policiesOf(hosts(500));
    await large.refresher.refreshNow("test");
    assert.deepEqual(large.heldPolicies(), [0, 500]);
  });

  it("holds the first reading against the policies of before this process", async () => {
    const { source, refresher, policies } = stage();
    policies.domains = policiesOf(hosts(300));
    source.routes = hosts(300);
    source.policies = new Map();
    await refresher.refreshNow("test");
    assert.deepEqual([refresher.status().heldPolicies, refresher.table.size, policies.domains.size], [300, 300, 300]);
  });

  it("lets routes and policies go together when the database is emptied", async () => {
    const { source, refresher, heldPolicies } = await loaded(300);
    source.policies = new Map();
    source.routes = [];
    await refresher.refreshNow("test");
    assert.deepEqual([refresher.status().held, ...heldPolicies()], [1000, 300, 300]);
    await refresher.refreshNow("test");
    assert.deepEqual([refresher.status().held, refresher.table.size, ...heldPolicies()], [0, 0, 0, 0]);
  });

  it("does not take it for a second word that the table cannot be read, and tells of that", async () => {
    const { source, refresher, log, timers, told, heldPolicies } = await loaded(300);
    source.policies = policiesOf(hosts(10));
    await refresher.refreshNow("test");
    source.policyTable = { problem: "it is forbidden", kept: 10, letGo: false };
    log.take();
    for (let i = 0; i < 3; i++) await refresher.refreshNow("test");
    assert.deepEqual(heldPolicies(), [290, 300]);
    assert.deepEqual(refresher.status().keptPolicies, { count: 10, problem: "it is forbidden", sinceAtMs: timers.nowMs() });
    assert.deepEqual(log.take(), ["error cannot read the table of policies: what it said stays in force"]);
    source.policyTable = { problem: null, kept: 0, letGo: false };
    await refresher.refreshNow("test");
    assert.deepEqual([...heldPolicies(), refresher.status().keptPolicies], [0, 10, null]);
    assert.deepEqual(log.take(), ["info table of policies can be read again"]);
    assert.deepEqual(told.slice(1), ["held it is forbidden: its 10 policies stay in force", "released", "released"]);
  });

  it("believes at once what somebody lets go of a table that cannot be read", async () => {
    const { source, refresher, heldPolicies } = await loaded(300);
    source.policyTable = { problem: "it is forbidden", kept: 300, letGo: false };
    refresher.letPoliciesGo();
    assert.equal(source.letGoes, 0, "nothing is known of that yet");
    await refresher.refreshNow("test");
    refresher.letPoliciesGo();
    assert.equal(source.letGoes, 1);
    source.policies = new Map();
    source.policyTable = { problem: null, kept: 0, letGo: true };
    await refresher.refreshNow("test");
    assert.deepEqual([...heldPolicies(), refresher.status().keptPolicies], [0, 0, null]);
  });
});
