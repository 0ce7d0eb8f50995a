/** Each row of contract section 5, and what fail-over makes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/decision/decide.ts";
import type { Decision } from "../../src/decision/decision.ts";
import { pseudonym } from "../../src/decision/loop.ts";
import { type Step, stepText } from "../../src/decision/trace.ts";
import type { EndpointRecord, RouteRecord } from "../../src/table/record.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import type { Availability } from "../../src/upstream/availability.ts";
import { ELSEWHERE, FAR_AWAY, HERE, region, route, routesOf, vm } from "../fixtures/records.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2");
const R = region(ELSEWHERE, "203.0.113.7"), S = region(FAR_AWAY, "203.0.113.8");

interface Case {
  readonly routes?: readonly RouteRecord[] | null;
  /** Where every host led before. */
  readonly previous?: readonly EndpointRecord[] | undefined;
  /** And before that. */
  readonly earlier?: readonly EndpointRecord[];
  readonly host?: string;
  readonly via?: string;
  readonly tried?: readonly string[];
  /** By key; "available" where nothing is said. */
  readonly availability?: Readonly<Record<string, Availability>>;
  readonly load?: Readonly<Record<string, number>>;
  readonly random?: readonly number[];
}

function decided(given: Case, trace?: Step[]): Decision {
  const table = new RoutingTable();
  if (given.routes !== null) table.commit(routesOf(given.routes ?? []), 1, 0);
  const random = [...given.random ?? []];
  return decide(
    {
      host: given.host ?? "a.test",
      via: given.via ?? null,
      tried: given.tried === undefined ? null : new Set(given.tried),
      matched: null,
    },
    {
      table,
      previous: () => [given.previous, given.earlier].flatMap((endpoints) => endpoints === undefined ? [] : [{ endpoints }]),
      pseudonym: pseudonym(HERE),
      availability: (endpoint) => given.availability?.[endpoint.key] ?? "available",
      load: (endpoint) => given.load?.[endpoint.key] ?? 0,
      random: () => random.shift() ?? 0,
      secret: "",
      hooks: NO_HOOKS,
    },
    trace === undefined ? undefined : (step) => trace.push(step),
  );
}

/** The decision in a few words: the endpoint, the endpoints to probe, or the code; the same with a trace. */
function outcome(given: Case): string {
  const steps: Step[] = [];
  const decision = decided(given);
  assert.deepEqual(decided(given, steps), decision, "a trace changes nothing");
  switch (decision.kind) {
    case "forward":
      return decision.endpoint.key;
    case "fall-back":
      return ["back to", decision.endpoint.key, ...decision.probe.length > 0 ? ["probe", ...keys(decision.probe)] : []].join(" ");
    case "probe-first":
      return [decision.patient ? "probe" : "soon", ...keys(decision.endpoints)].join(" ");
    case "table-first":
      return "table first";
    case "respond":
    case "queue":
      return decision.kind; // only with a policy
    case "refuse":
      return decision.code;
  }
}

function keys(endpoints: readonly EndpointRecord[]): string[] {
  return endpoints.map(({ key }) => key);
}

test("decide() refuses until a table is loaded", () => {
  assert.equal(outcome({ routes: null }), "no_table");
});

test("decide() finds no route", () => {
  assert.equal(outcome({}), "no_route");
  assert.equal(outcome({ routes: [route("b.test", A)] }), "no_route");
  assert.equal(outcome({ routes: [route("*.a.test", A)] }), "no_route");
  assert.equal(outcome({ routes: [route("a.test", A)], host: "" }), "no_route");
});

test("decide() takes the exact name, else the longest wildcard", () => {
  const routes = [route("a.test", A), route("*.test", B), route("*.b.test", R)];
  assert.equal(outcome({ routes }), A.key);
  assert.equal(outcome({ routes, host: "c.test" }), B.key);
  assert.equal(outcome({ routes, host: "x.b.test" }), R.key);
});

test("decide() forwards to the VM here when it is healthy", () => {
  assert.equal(outcome({ routes: [route("a.test", A)] }), A.key);
  assert.equal(outcome({ routes: [route("a.test", A)], availability: { [A.key]: "unhealthy" } }), "vm_unhealthy");
  assert.equal(outcome({ routes: [route("a.test", A)], availability: { [A.key]: "unprobed" } }), `probe ${A.key}`);
});

test("decide() forwards to the other region when no VM is here", () => {
  assert.equal(outcome({ routes: [route("a.test", R)] }), R.key);
  assert.equal(outcome({ routes: [route("a.test", R)], availability: { [R.key]: "failing" } }), R.key, "tried last, but tried");
});

test("decide() prefers VMs here, whatever their order; other regions are the fail-over", () => {
  for (const routes of [[route("a.test", R, A)], [route("a.test", A, R)]]) {
    assert.equal(outcome({ routes }), A.key);
    assert.equal(outcome({ routes, availability: { [A.key]: "unprobed" } }), `probe ${A.key}`);
    assert.equal(outcome({ routes, availability: { [A.key]: "unhealthy" } }), R.key);
    assert.equal(outcome({ routes, tried: [A.key] }), R.key);
    assert.equal(outcome({ routes, tried: [A.key, R.key] }), "vm_unhealthy");
  }
});

test("decide() does not wait for a probe while another VM is healthy", () => {
  const routes = [route("a.test", A, B)];
  assert.equal(outcome({ routes, availability: { [A.key]: "unprobed" } }), B.key);
  assert.equal(outcome({ routes, availability: { [A.key]: "unhealthy" } }), B.key);
  assert.equal(outcome({ routes, availability: { [A.key]: "unprobed", [B.key]: "unprobed" } }), `probe ${A.key} ${B.key}`);
  assert.equal(outcome({ routes, availability: { [A.key]: "unhealthy", [B.key]: "unhealthy" } }), "vm_unhealthy");
});

test("decide() tries a region that has just failed after those that have not", () => {
  const routes = [route("a.test", R, S)];
  assert.equal(outcome({ routes, availability: { [R.key]: "failing" } }), S.key);
  assert.equal(outcome({ routes, availability: { [R.key]: "failing" }, tried: [S.key] }), R.key);
});

test("decide() takes the less busy of two at random", () => {
  const routes = [route("a.test", A, B)];
  assert.equal(outcome({ routes, load: { [A.key]: 1 } }), B.key);
  assert.equal(outcome({ routes, load: { [B.key]: 1 } }), A.key);
  assert.equal(outcome({ routes, random: [0.99, 0.99] }), B.key, "equally busy: the first drawn");
  const many = [route("a.test", ...Array.from({ length: 5 }, (_, index) => vm(`10.0.1.${index}`)))];
  const chosen = new Set<string>();
  for (let first = 0; first < 5; first++) {
    for (let second = 0; second < 4; second++) chosen.add(outcome({ routes: many, random: [first / 5, second / 4] }));
  }
  assert.equal(chosen.size, 5, "each can be drawn");
});

test("decide() refuses a request that comes back", () => {
  const routes = [route("a.test", A)];
  assert.equal(outcome({ routes, via: `1.1 ${pseudonym(HERE)}` }), "loop");
  assert.equal(outcome({ routes, via: `1.0 cdn, 1.1 ${pseudonym(ELSEWHERE)} (x), 1.1 ${pseudonym(HERE)}` }), "loop");
  assert.equal(outcome({ routes: null, via: `1.1 ${pseudonym(HERE)}` }), "loop", "also before a table is loaded");
});

test("decide() refuses a request that has passed three edges", () => {
  const routes = [route("a.test", A)];
  const edges = [ELSEWHERE, FAR_AWAY, "44444444-4444-4444-8444-444444444444"].map((id) => `1.1 ${pseudonym(id)}`);
  assert.equal(outcome({ routes, via: edges.slice(0, 2).join(", ") }), A.key);
  assert.equal(outcome({ routes, via: edges.join(", ") }), "loop");
});

test("decide() lets other proxies pass as often as they like", () => {
  assert.equal(outcome({ routes: [route("a.test", A)], via: "1.1 cdn, 1.1 cdn, 1.1 cdn, 1.1 varnish" }), A.key);
});

test("decide() never sends a request back to a region that it has passed", () => {
  const via = `1.1 ${pseudonym(ELSEWHERE)}`;
  assert.equal(outcome({ routes: [route("a.test", R, S)], via }), S.key);
  assert.equal(outcome({ routes: [route("a.test", R, A)], via, availability: { [A.key]: "unhealthy" } }), "vm_unhealthy");
  assert.equal(outcome({ routes: [route("a.test", R)], via }), "table first", "the two tables contradict each other");
});

test("decide() sends a request to where the host led before while the verdict on its new VM is overdue", () => {
  const moved = { routes: [route("a.test", B)], previous: [A] };
  assert.equal(outcome(moved), B.key, "healthy");
  assert.equal(outcome({ ...moved, availability: { [B.key]: "unprobed" } }), `soon ${B.key}`, "worth waiting for");
  assert.equal(outcome({ ...moved, availability: { [B.key]: "overdue" } }), `back to ${A.key} probe ${B.key}`);
  for (const before of ["unprobed", "overdue", "unhealthy"] as const) {
    for (const now of ["unprobed", "overdue"] as const) {
      assert.equal(outcome({ ...moved, availability: { [A.key]: before, [B.key]: now } }), `probe ${B.key}`, "no better choice");
    }
  }
  assert.equal(outcome({ ...moved, tried: [A.key], availability: { [B.key]: "overdue" } }), `probe ${B.key}`);
});

test("decide() sends a request to where the host led before when its new VM cannot take it", () => {
  const moved = { routes: [route("a.test", B)], previous: [A] };
  for (const [verdict, tried] of [["unhealthy", []], ["available", [B.key]]] as const) {
    const given = (other: Partial<Case> = {}): Case => {
      return { ...moved, tried, ...other, availability: { [B.key]: verdict, ...other.availability } };
    };
    assert.equal(outcome(given()), `back to ${A.key}`);
    assert.equal(outcome(given({ availability: { [A.key]: "unprobed" } })), `probe ${A.key}`);
    assert.equal(outcome(given({ availability: { [A.key]: "unhealthy" } })), "vm_unhealthy");
    assert.equal(outcome(given({ tried: [A.key, B.key] })), "vm_unhealthy");
    assert.equal(outcome(given({ previous: undefined })), "vm_unhealthy");
  }
});

test("decide() asks every endpoint of now before it looks back, and none of those that are in both twice", () => {
  const C = vm("10.0.0.3");
  const grown = { routes: [route("a.test", B, C)], previous: [A, B] };
  assert.equal(outcome({ ...grown, availability: { [B.key]: "unhealthy" } }), C.key);
  assert.equal(
    outcome({ ...grown, availability: { [B.key]: "overdue", [C.key]: "overdue" } }),
    `back to ${A.key} probe ${B.key} ${C.key}`,
  );
  assert.equal(outcome({ ...grown, availability: { [B.key]: "overdue", [C.key]: "unprobed" } }), `soon ${B.key} ${C.key}`);
  const kept = { routes: [route("a.test", B, C)], previous: [B] };
  assert.equal(outcome({ ...kept, availability: { [B.key]: "unhealthy", [C.key]: "overdue" } }), `probe ${C.key}`);
  const wide = { routes: [route("a.test", B, R)], previous: [A] };
  assert.equal(outcome({ ...wide, availability: { [B.key]: "unhealthy" } }), R.key);
  assert.equal(outcome({ ...wide, availability: { [B.key]: "unhealthy" }, tried: [R.key] }), `back to ${A.key}`);
});

test("decide() looks back over several moves for a VM that is available", () => {
  const C = vm("10.0.0.3");
  const moved = { routes: [route("a.test", C)], previous: [B], earlier: [A] };
  const overdue = { ...moved, availability: { [C.key]: "overdue" } } as const;
  assert.equal(outcome(overdue), `back to ${B.key} probe ${C.key}`);
  assert.equal(
    outcome({ ...overdue, availability: { [C.key]: "overdue", [B.key]: "unprobed" } }),
    `back to ${A.key} probe ${C.key}`,
  );
  assert.equal(outcome({ ...moved, availability: { [C.key]: "unhealthy", [B.key]: "unhealthy" } }), `back to ${A.key}`);
  const unprobed = { [C.key]: "unhealthy", [B.key]: "unprobed", [A.key]: "unprobed" } as const;
  assert.equal(outcome({ ...moved, availability: unprobed }), `probe ${B.key}`);
  assert.equal(outcome({ ...moved, availability: { ...unprobed, [B.key]: "unhealthy" } }), `probe ${A.key}`);
  assert.equal(outcome({ ...moved, availability: { ...unprobed, [B.key]: "unhealthy", [A.key]: "unhealthy" } }), "vm_unhealthy");
});

test("decide() takes the less busy of several where the host led before", () => {
  const moved = {
    routes: [route("a.test", vm("10.0.0.3"))],
    previous: [A, B],
    availability: { "vm/10.0.0.3:8080": "unhealthy" },
  } as const;
  assert.equal(outcome({ ...moved, load: { [A.key]: 1 } }), `back to ${B.key}`);
  assert.equal(outcome({ ...moved, load: { [B.key]: 1 } }), `back to ${A.key}`);
});

test("decide() knows no fall-back for a route that is gone", () => {
  assert.equal(outcome({ previous: [A] }), "no_route");
});

test("decide() keeps to a VM that has moved away when the other region does not know yet, or cannot be reached", () => {
  const moved = { routes: [route("a.test", R)], previous: [A] };
  const via = `1.1 ${pseudonym(ELSEWHERE)}`;
  assert.equal(outcome(moved), R.key);
  assert.equal(outcome({ ...moved, tried: [R.key] }), `back to ${A.key}`);
  assert.equal(outcome({ ...moved, via }), `back to ${A.key}`);
  assert.equal(outcome({ ...moved, via, availability: { [A.key]: "unprobed" } }), `probe ${A.key}`);
  assert.equal(outcome({ ...moved, via, availability: { [A.key]: "unhealthy" } }), "table first");
  assert.equal(outcome({ ...moved, via, previous: undefined }), "table first");
  assert.equal(outcome({ ...moved, via: `${via}, 1.1 ${pseudonym(HERE)}` }), "loop", "it was here already");
});

test("decide() probes a VM that has just come here before it looks to the region where it was", () => {
  const moved = { routes: [route("a.test", A)], previous: [R] };
  const via = `1.1 ${pseudonym(ELSEWHERE)}`;
  assert.equal(outcome({ ...moved, availability: { [A.key]: "unprobed" } }), `probe ${A.key}`);
  assert.equal(outcome({ ...moved, availability: { [A.key]: "overdue" } }), `probe ${A.key}`);
  assert.equal(outcome({ ...moved, availability: { [A.key]: "unhealthy" } }), `back to ${R.key}`);
  assert.equal(outcome({ ...moved, availability: { [A.key]: "unhealthy" }, via }), "vm_unhealthy", "that region has sent it here");
  assert.equal(outcome({ ...moved, availability: { [A.key]: "unhealthy", [R.key]: "failing" } }), `back to ${R.key}`);
});

test("decide() says what it looks at", () => {
  const steps: Step[] = [];
  decided({ routes: [route("a.test", A, R)], via: `1.1 ${pseudonym(ELSEWHERE)}`, tried: [A.key] }, steps);
  assert.match(
    steps.map(stepText).join("\n"),
    /has passed .*\nroute a\.test with 2 endpoint.*\nvm\/10\.0\.0\.1:8080: tried already\nregion\/.*comes from that region/,
  );
});

test("decide() says where the host led before", () => {
  const steps: Step[] = [];
  decided({ routes: [route("a.test", B)], previous: [A], availability: { [B.key]: "overdue" } }, steps);
  assert.deepEqual(steps.slice(1).map(stepText), [
    `${B.key}: VM here, overdue`,
    "led to 1 other endpoint(s) until a moment ago",
    `${A.key}: VM here, available`,
  ]);
});

test("decide() sends nothing to an endpoint that is cordoned, and says so where nothing else is left", () => {
  const cordoned = { [A.key]: "draining" } as const;
  assert.equal(outcome({ routes: [route("a.test", A, B)], availability: cordoned }), B.key);
  assert.equal(outcome({ routes: [route("a.test", A, R)], availability: cordoned }), R.key);
  assert.equal(outcome({ routes: [route("a.test", A)], availability: cordoned }), "vm_cordoned");
  assert.equal(outcome({ routes: [route("a.test", A)], previous: [B], availability: cordoned }), `back to ${B.key}`);
  assert.equal(
    outcome({ routes: [route("a.test", B)], previous: [A], availability: { ...cordoned, [B.key]: "overdue" } }),
    `probe ${B.key}`,
  );
  assert.equal(outcome({ routes: [route("a.test", A, B)], availability: { ...cordoned, [B.key]: "unhealthy" } }), "vm_cordoned");
  assert.equal(outcome({ routes: [route("a.test", A, B)], availability: { ...cordoned, [B.key]: "unprobed" } }), `probe ${B.key}`);
  assert.equal(outcome({ routes: [route("a.test", R)], availability: { [R.key]: "draining" } }), "vm_cordoned");
  assert.equal(outcome({ routes: [route("a.test", R, S)], availability: { [R.key]: "draining", [S.key]: "failing" } }), S.key);
});
