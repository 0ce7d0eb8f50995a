/** The decision table, replayed through the functions that decide. `UPDATE=1` writes what they say now. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import { matchRoute } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import { trustedProxies } from "../../src/downstream/client-address.ts";
import { Balancing } from "../../src/lifecycle/balancing.ts";
import { parseDomainPolicy } from "../../src/sources/domain-policy.ts";
import { parseRoutesFile } from "../../src/sources/routes-file.ts";
import { Policies } from "../../src/table/policies.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { CellTable } from "../../src/upstream/cell-table.ts";
import { Endpoints } from "../../src/upstream/endpoint-state.ts";
import * as golden from "../fixtures/decision-table.ts";
import { HERE, region, route, routesOf, vm } from "../fixtures/records.ts";
import { requestView } from "../fixtures/requests-under-policies.ts";

async function tableOf(): Promise<RoutingTable> {
  const table = new RoutingTable();
  const far = region(golden.FAR_REGION.id, golden.FAR_REGION.address);
  table.commit(routesOf(golden.DOMAINS.map(([host, address]) => route(host, address === null ? far : vm(address)))), 1, 0);
  const file = parseRoutesFile(await readFile(golden.ROUTES_FILE, "utf8"), { file: "decisions.yaml", regionId: HERE });
  const own = parseDomainPolicy("own.test", golden.OWN_POLICY, { regionId: HERE });
  if ("problems" in file || "problems" in own) assert.fail(JSON.stringify([file, own]));
  assert.match(file.warnings.join("\n"), /^\S+: services\.nowhere\.endpoints: all have weight 0[^\n]*$/, "that one is meant so");
  assert.deepEqual(own.notes, []);
  table.policies = new Policies(file.policies, new Map([["own.test", own.policy]]));
  return table;
}

function outcomeOf(asked: golden.AskedRequest, table: RoutingTable): golden.Outcome {
  const endpoints = new Endpoints({ wanted: () => {}, failed: () => {} });
  const parts = {
    table,
    endpoints,
    cells: new CellTable(),
    placesOf: () => 0,
    secret: golden.SECRET,
    random: () => 0,
    nowMs: () => 0,
  };
  const around: Surroundings = {
    ...parts,
    previous: () => [],
    pseudonym: "edgeproxy-here",
    availability: ({ kind, address }) => kind === "vm" && asked.down.includes(address) ? "unhealthy" : "available",
    load: () => 0,
    hooks: { ...NO_HOOKS, ...new Balancing(parts).onlookers },
  };
  const { method, client } = asked;
  const trusted = trustedProxies([golden.TRUSTED])(client);
  const view = requestView(asked.host + asked.target, {
    method,
    clientAddress: client,
    trusted,
    requestId: asked.fields.find(([name]) => name === "X-Request-Id")?.[1] ?? "",
    fields: Object.fromEntries(asked.fields),
  });
  const matched = matchRoute(view, around);
  if (typeof matched === "string") return { policy: null, service: null, endpoint: null, reason: "bad_request" };
  const decision = decide({ host: matched?.host ?? asked.host, via: null, tried: null, matched }, around);
  const endpoint = decision.kind === "forward" ? decision.endpoint.key : null;
  const reason = decision.kind === "refuse"
    ? decision.code
    : decision.kind === "respond"
    ? `respond ${decision.answer.status}`
    : decision.kind;
  return { policy: matched?.route.id || null, service: matched?.service?.name ?? null, endpoint, reason };
}

test("the decision table is what is decided", async () => {
  const lines = await golden.goldenLines();
  const table = await tableOf();
  const outcomes = lines.map(({ asked }) => asked === null ? "" : golden.outcomeText(outcomeOf(asked, table)));
  if (await golden.updated(lines, outcomes)) return;
  for (const [index, { text, outcome }] of lines.entries()) assert.equal(outcomes[index], outcome, text);
  assert.ok(lines.filter(({ asked }) => asked !== null).length > 60);
});
