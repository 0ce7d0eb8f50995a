/** What edges tell each other of a request that crosses regions: who is believed, and what becomes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import { edgeWordLine } from "../../src/decision/edge-word.ts";
import { type MatchedRoute, matchRoute } from "../../src/decision/match-route.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import type { PolicyRoute } from "../../src/table/policy.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { routesOf } from "../fixtures/records.ts";
import { filePolicies, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";

const SECRET = "known to both";
const THERE = "edgeproxy-there";
const WORD = { edge: THERE, route: "split", service: "canary", counted: true, routeKey: null };
const RATE_LIMIT = { requests: 1, windowMs: 1000, burst: 0, key: null };
const SPLIT = [{ service: "users", share: 9000 }, { service: "canary", share: 1000 }];
const ROUTE = policyRoute("split", { hosts: ["a.test"], split: SPLIT, rateLimit: RATE_LIMIT });

interface Edge {
  readonly around: Surroundings;
  /** How often its rate limit was asked. */
  asked: number;
}

/** Whose lots fall on `service`, and whose rate limit lets nobody through. */
function edge(
  service: "users" | "canary",
  routes: readonly PolicyRoute[] = [ROUTE],
  hooks: Partial<Surroundings["hooks"]> = {},
): Edge {
  const table = new RoutingTable();
  table.commit(routesOf([]), 1, 0);
  table.policies = policiesOf(filePolicies(routes));
  const limit = () => {
    made.asked++;
    return { allowed: false, limit: 1, remaining: 0, resetMs: 1, retryAfterMs: 1 };
  };
  const made: Edge = {
    asked: 0,
    around: {
      table,
      previous: () => [],
      pseudonym: "edgeproxy-here",
      availability: () => "available",
      load: () => 0,
      random: () => 0,
      secret: SECRET,
      hooks: { ...NO_HOOKS, lot: () => service === "users" ? 0 : 0.99, limit, ...hooks },
    },
  };
  return made;
}

/** As the edge there has decided: for the canary, and counted. */
function line(change: Partial<MatchedRoute> = {}, signer = { pseudonym: THERE, secret: SECRET }, requestId = "r-1"): string | null {
  const { around } = edge("canary");
  const matched = matchRoute(requestView("a.test/"), around) as MatchedRoute;
  const limit = NO_HOOKS.limit(matched);
  return edgeWordLine({ ...matched, limit, ...change }, requestId, signer);
}

function valueOf(text: string | null): string {
  return /^X-Edgeproxy-Decided: (.*)\r\n$/.exec(text ?? "")![1]!;
}

const BELIEVED = { trusted: true, fields: { "Via": `1.1 ${THERE}`, "X-Edgeproxy-Decided": valueOf(line()) } };

function matchedBy({ around }: Edge, change: Parameters<typeof requestView>[1] = {}, told: string[] = []): MatchedRoute {
  const view = requestView("a.test/", { ...BELIEVED, ...change });
  const matched = matchRoute(view, around, (step) => step.kind === "note" && told.push(step.text)) as MatchedRoute;
  const decision = decide({ host: "a.test", via: null, tried: null, matched }, around);
  assert.equal(decision.kind === "refuse" && decision.code === "rate_limited", matched.told === null);
  return matched;
}

test("what the edge before has drawn and counted is neither drawn nor counted again, and passed on as it is", () => {
  const here = edge("users");
  const told: string[] = [];
  const matched = matchedBy(here, {}, told);
  assert.deepEqual([matched.service!.name, matched.told, here.asked], [
    "canary",
    WORD,
    0,
  ]);
  assert.deepEqual(told, [`${THERE} has decided: service canary, and has counted it`]);
  assert.match(
    valueOf(edgeWordLine(matched, "r-1", { pseudonym: "edgeproxy-here", secret: SECRET })),
    /^split canary counted - [a-z2-7]{20}$/,
  );
});

test("what has not been counted is counted here", () => {
  const here = edge("users");
  const { told } = matchRoute(
    requestView("a.test/", { ...BELIEVED, fields: { ...BELIEVED.fields, "X-Edgeproxy-Decided": valueOf(line({ limit: null })) } }),
    here.around,
  ) as MatchedRoute;
  assert.deepEqual(told, { ...WORD, counted: false });
});

test("nobody else is believed: strangers, other edges, other secrets, other requests, other words", () => {
  const { fields } = BELIEVED;
  const word = fields["X-Edgeproxy-Decided"];
  const decided = (value: string) => ({ fields: { ...fields, "X-Edgeproxy-Decided": value } });
  const liars = {
    "a peer that is not trusted": { trusted: false },
    "nobody in Via": { fields: { "X-Edgeproxy-Decided": word } },
    "another edge in Via": { fields: { ...fields, "Via": `1.1 ${THERE}, 1.1 edgeproxy-other` } },
    "another request": { requestId: "r-2" },
    "another secret": decided(valueOf(line({}, { pseudonym: THERE, secret: "guessed" }))),
    "another service": decided(word.replace("canary", "users")),
    "counted instead of not": decided(valueOf(line({ limit: null })).replace("uncounted", "counted")),
    "no signature": decided("split canary counted -"),
    "nothing": decided(""),
    "one space": decided(" "),
    "one beside a good one": decided(`split users counted - aaaaaaaaaaaaaaaaaaaa, ${word}`),
  };
  for (const [who, change] of Object.entries(liars)) {
    const here = edge("users");
    const matched = matchedBy(here, change);
    assert.deepEqual([matched.told, matched.service!.name, here.asked], [null, "users", 1], who);
  }
});

test("without a secret edges tell nothing and believe nothing", () => {
  assert.equal(line({}, { pseudonym: THERE, secret: "" }), null);
  const here = edge("users");
  const { told } = matchRoute(requestView("a.test/", BELIEVED), { ...here.around, secret: "" }) as MatchedRoute;
  assert.equal(told, null);
});

test("where policies differ it is decided anew", () => {
  const renamed = edge("users", [{ ...ROUTE, id: "renamed" }]);
  assert.deepEqual([matchedBy(renamed).told, renamed.asked], [null, 1]);
  const closed = edge("users", [{ ...ROUTE, split: [{ service: "users", share: 10_000 }, { service: "canary", share: 0 }] }]);
  assert.equal(matchedBy(closed).service!.name, "users", "takes nobody any more");
  assert.equal(matchedBy(edge("users", [{ ...ROUTE, split: [{ service: "users", share: 10_000 }] }])).service!.name, "users");
});

test("what drains here takes no client because another edge has drawn it", () => {
  const share = (_kind: string, name: string) => name === "canary" ? 0 : 1;
  assert.equal(matchedBy(edge("users", [ROUTE], { share })).service!.name, "users");
});

test("of a route that neither splits nor limits there is nothing to tell", () => {
  assert.equal(line({ route: { ...ROUTE, split: [SPLIT[0]!], rateLimit: null } }), null);
  assert.equal(line({ service: null }), null);
});

test("a route key that the edge before has believed is believed here, and else none that comes by an edge", () => {
  const sandbox = policyRoute("sandbox", { hosts: ["a.test"], match: { routeKey: "s-1" } });
  const { around } = edge("users", [sandbox]);
  const routeOf = (fields: Record<string, string>) => {
    const matched = matchRoute(requestView("a.test/", { trusted: true, fields: { "X-Route-Key": "s-1", ...fields } }), around);
    return (matched as MatchedRoute | null)?.route.id ?? null;
  };
  const believed = matchRoute(requestView("a.test/", { trusted: true, fields: { "X-Route-Key": "s-1" } }), around) as MatchedRoute;
  const saying = (routeKey: string) => ({
    "Via": `1.1 ${THERE}`,
    "X-Edgeproxy-Decided": valueOf(edgeWordLine({ ...believed, routeKey }, "r-1", { pseudonym: THERE, secret: SECRET })),
  });
  assert.equal(routeOf({}), "sandbox", "by a load balancer");
  assert.equal(routeOf({ "Via": `1.1 ${THERE}` }), null);
  assert.equal(routeOf(saying("s-1")), "sandbox");
  assert.equal(routeOf(saying("s-2")), null);
  assert.equal(edgeWordLine({ ...believed, routeKey: "no key" }, "r-1", { pseudonym: THERE, secret: SECRET }), null);
});
