/*  What matching costs a request: nanoseconds of processor time per request (the fastest of several rounds).
 *
 *      bun tests/bench/match-route.bench.ts
 *
 *  Prints one JSON line. `plain`: a host without a policy beside others that have one; `few`: ten paths of one host; `paths`, `keys`,
 *  `fields`: 10,000 rules of one host by path, route key and header; `hosts`: 100,000 hosts with a policy each, asked at random, and the same
 *  as policies of domains; `applyMs`: a change of 100 of these domains; `compileMs`: the first request of the host with 10,000 paths.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { matchRoute, type RequestView } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { Policies } from "../../src/table/policies.ts";
import type { DomainPolicy, PolicyRoute } from "../../src/table/policy.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { filePolicies, fileService, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const RULES = 10_000, HOSTS = 100_000;
const ROUNDS = 6, BATCH = 50_000;
const TO_IT = [{ service: "it", share: 10_000 }];

interface Case {
  readonly policies: Policies;
  readonly requests: readonly (readonly [view: RequestView, id: string | null])[];
}

function around(policies: Policies, hosts: readonly string[] = []): Surroundings {
  const table = new RoutingTable();
  table.commit(routesOf(hosts.map((host) => route(host, vm("10.0.0.1")))), 1, 0);
  table.policies = policies;
  return {
    table,
    previous: () => [],
    pseudonym: "edgeproxy-here",
    availability: () => "available",
    load: () => 0,
    random: Math.random,
    secret: "",
    hooks: NO_HOOKS,
  };
}

function measure({ policies, requests }: Case, hosts: readonly string[] = []): number {
  const surroundings = around(policies, hosts);
  for (const [view, id] of requests) {
    const found = policies.mayConcern(view.host) ? matchRoute(view, surroundings) : null;
    assert.equal(typeof found === "string" ? found : found?.route.id ?? null, id);
  }
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const startUs = processorUs();
    for (let i = 0; i < BATCH; i++) {
      const [view] = requests[i % requests.length]!;
      if (policies.mayConcern(view.host)) matchRoute(view, surroundings);
    }
    best = Math.min(best, (processorUs() - startUs) * 1000 / BATCH);
  }
  return Math.round(best);
}

function processorUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function ofFile(routes: readonly PolicyRoute[]): Policies {
  return new Policies(filePolicies(routes, [fileService("it")]), new Map());
}

function rules(of: (index: number) => Parameters<typeof policyRoute>[1] & object): Policies {
  return ofFile(Array.from({ length: RULES }, (_, i) => policyRoute(String(i), { hosts: ["a.test"], split: TO_IT, ...of(i) })));
}

function asked(count: number, of: (index: number) => readonly [view: RequestView, id: string | null]): Case["requests"] {
  return Array.from({ length: 2000 }, () => of(Math.floor(Math.random() * count)));
}

const byPath = rules((i) => ({ match: { path: { kind: "prefix", value: `/team-${i % 100}/app-${i}` } } }));
const byKey = rules((i) => ({ priority: 1 - i / RULES, match: { routeKey: `sandbox-${i}` } }));
const byField = rules((i) => ({ match: { headers: [{ name: "x-tenant", matcher: { kind: "equal", value: `tenant-${i}` } }] } }));
const few = ofFile(
  Array.from(
    { length: 10 },
    (_, i) => policyRoute(String(i), { hosts: ["a.test"], split: TO_IT, match: { path: { kind: "prefix", value: `/app-${i}` } } }),
  ),
);
const hosts = Array.from({ length: HOSTS }, (_, i) => `h${i}.bench.test`);
const byHost = ofFile(hosts.map((host, i) => policyRoute(String(i), { hosts: [host], split: TO_IT })));
const domains = new Map(
  hosts.map((
    host,
    i,
  ): [string, DomainPolicy] => [host, { host, services: [], routes: [policyRoute(String(i), { hosts: [host], split: TO_IT })] }]),
);
const byDomain = new Policies(filePolicies([], [fileService("it")]), domains);

const compileStartMs = performance.now();
matchRoute(requestView("a.test/team-7/app-7"), around(byPath));
const compileMs = performance.now() - compileStartMs;
const upserts = hosts.slice(0, 100).map((host) => domains.get(host)!);
let applyMs = Infinity;
for (let round = 0; round < 5; round++) {
  const startMs = performance.now();
  byDomain.with({ upserts, removals: [] });
  applyMs = Math.min(applyMs, performance.now() - startMs);
}

process.stdout.write(
  JSON.stringify({
    plain: measure({ policies: byHost, requests: [[requestView("plain.test/x"), null]] }),
    few: measure({ policies: few, requests: asked(10, (i) => [requestView(`a.test/app-${i}/x`), String(i)]) }),
    paths: measure({
      policies: byPath,
      requests: asked(RULES, (i) => [requestView(`a.test/team-${i % 100}/app-${i}/x`), String(i)]),
    }),
    keys: measure({
      policies: byKey,
      requests: asked(
        RULES,
        (i) => [requestView("a.test/x", { trusted: true, fields: { "X-Route-Key": `sandbox-${i}` } }), String(i)],
      ),
    }),
    fields: measure({
      policies: byField,
      requests: asked(RULES, (i) => [requestView("a.test/x", { fields: { "X-Tenant": `tenant-${i}` } }), String(i)]),
    }),
    hosts: measure({ policies: byHost, requests: asked(HOSTS, (i) => [requestView(`h${i}.bench.test/x`), String(i)]) }),
    domains: measure({ policies: byDomain, requests: asked(HOSTS, (i) => [requestView(`h${i}.bench.test/x`), String(i)]) }, hosts),
    compileMs: Math.round(compileMs),
    applyMs: Math.round(applyMs * 10) / 10,
  }) + "\n",
);
