/*  What the choice of an endpoint costs a request, by balancer and number of endpoints: microseconds of processor time per decision.
 *
 *      bun tests/bench/choice.bench.ts [BALANCER,... [NUMBER,...]]
 *
 *  Prints one JSON line, the fastest of several rounds. `sticky`: a client with a cookie; those that hash do it by one of 512 paths, or 256
 *  addresses. All endpoints can take the request; those of `weighted` weigh 1 to 3, those of `least-connections-busy` all have requests.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { decide } from "../../src/decision/decide.ts";
import type { RequestView } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { Balancing } from "../../src/lifecycle/balancing.ts";
import { Watches } from "../../src/lifecycle/watches.ts";
import { Metrics } from "../../src/observation/metrics.ts";
import { systemTimers } from "../../src/runtime/timers.ts";
import type { BalanceKind, ServicePolicy } from "../../src/table/policy.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { StickyCookies } from "../../src/upstream/balance/sticky.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { Endpoints } from "../../src/upstream/endpoint-state.ts";
import { filePolicies, fileService, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";

const BUSY = "least-connections-busy";
const KINDS = ["p2c", "round-robin", "weighted", "least-connections", BUSY, "ip-hash", "consistent-hash", "sticky"];
const ROUNDS = 40;
const SECRET = "secret";

function measure(kind: string, count: number): number {
  const table = new RoutingTable(), cells = new CellTable(), endpoints = new Endpoints({ wanted() {}, failed() {} });
  let nowMs = performance.now();
  const watches = new Watches({ table, cells, metrics: new Metrics(), timers: systemTimers, send() {} });
  const busy = kind === BUSY ? 1 : 0;
  const placesOf = (key: string): number => watches.placesOf(key) + busy;
  const balancing = new Balancing({ table, endpoints, cells, placesOf, secret: SECRET, random: Math.random, nowMs: () => nowMs });
  endpoints.watchOf = watches.watchOf;
  const sticky = kind === "sticky" ? { cookie: "edge", ttlMs: 3_600_000 } : null;
  const policy: Partial<ServicePolicy> = {
    balance: sticky !== null ? "p2c" : kind === BUSY ? "least-connections" : kind as BalanceKind,
    sticky,
    hashKey: { kind: "path" },
  };
  const addresses = Array.from({ length: count }, (_, i) => `10.${i >> 16}.${i >> 8 & 255}.${i & 255}`);
  const written = fileService("users", policy, addresses);
  const service = {
    ...written,
    endpoints: written.endpoints!.map((each, i) => kind === "weighted" ? { ...each, weight: 1 + i % 3 } : each),
  };
  const route = policyRoute("users");
  table.revision = 1;
  table.policies = policiesOf(filePolicies([route], [service]));
  for (const each of service.endpoints) endpoints.of(each).judge("healthy");
  const around: Surroundings = {
    table,
    previous: () => [],
    pseudonym: "edgeproxy-here",
    availability: (endpoint) => endpoints.of(endpoint).availability(nowMs),
    load: (endpoint) => endpoints.of(endpoint).inFlight,
    random: Math.random,
    secret: SECRET,
    hooks: { ...NO_HOOKS, ...balancing.hooks },
  };
  const cookie = new StickyCookies(SECRET).valueFor(service.endpoints[count >> 1]!, Date.now() + 3_600_000);
  const fields: Record<string, string> = sticky === null ? {} : { Cookie: `edge=${cookie}` };
  const views: RequestView[] = Array.from(
    { length: 512 },
    (_, i) => requestView(`app.test/${i}`, { fields, clientAddress: `192.0.2.${i & 255}` }),
  );
  const policyService = table.policies.service("users")!;
  const once = (i: number): void => {
    const view = views[i & 511]!;
    const matched = {
      route,
      service: policyService,
      routeKey: null,
      host: "app.test",
      domain: null,
      view,
      drained: false,
      told: null,
    };
    const asked = { host: "app.test", via: null, tried: null, matched: { ...matched, limit: null } };
    assert.equal(decide(asked, around).kind, "forward");
  };
  const batch = Math.max(50, Math.floor(40_000 / count));
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    nowMs = performance.now();
    const startUs = processorUs();
    for (let i = 0; i < batch; i++) once(i);
    if (round > ROUNDS / 4) best = Math.min(best, (processorUs() - startUs) / batch);
  }
  return Math.round(best * 100) / 100;
}

function processorUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const kinds = process.argv[2]?.split(",") ?? KINDS;
const counts = process.argv[3]?.split(",").map(Number) ?? [2, 8, 100, 1000];
const result: Record<string, Record<number, number>> = {};
for (const kind of kinds) result[kind] = Object.fromEntries(counts.map((count) => [count, measure(kind, count)]));
process.stdout.write(`${JSON.stringify({ bench: "choice", unit: "us per decision", ...result })}\n`);
process.exit(0);
