/** Endpoints, sorted out by what was found of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Offer, offerOf } from "../../src/decision/offer.ts";
import type { Finding } from "../../src/decision/trace.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { ELSEWHERE, region, vm } from "../fixtures/records.ts";

/** `{ vm: finding }` by the last number of the address; `shut`: open breakers may be chosen. */
function offered(vms: readonly Finding[], regions: readonly Finding[] = [], shut = false): Record<string, unknown> {
  const findings = new Map<EndpointRecord, Finding>();
  for (const [n, finding] of vms.entries()) findings.set(vm(`10.0.0.${n}`), finding);
  for (const [n, finding] of regions.entries()) findings.set(region(ELSEWHERE, `203.0.113.${n}`), finding);
  const offer = offerOf([...findings.keys()], "now", {
    find: (endpoint, when) => when === "now" ? findings.get(endpoint)! : assert.fail(when),
    mayBeChosenShut: () => shut,
  });
  return said(offer);
}

/** What is not as if there were nothing. */
function said(offer: Offer): Record<string, unknown> {
  const short = Object.entries(offer).map(([what, value]) =>
    [what, Array.isArray(value) ? value.map(({ address }: EndpointRecord) => address.split(".").at(-1)).join(" ") : value] as const
  );
  return Object.fromEntries(short.filter(([what, value]) => what === "overdue" ? value === false : value !== "" && value !== 0));
}

test("offerOf() takes busy VMs where no other is available, and regions that fail where no other is left", () => {
  assert.deepEqual(offered(["busy", "available", "unhealthy"]), { available: "1" });
  assert.deepEqual(offered(["busy", "tried", "busy"]), { available: "0 2" });
  assert.deepEqual(offered([], ["failing", "available", "busy", "passed"]), { regions: "1", passed: 1 });
  assert.deepEqual(offered(["weightless"], ["failing", "busy"]), { regions: "0 1" });
});

test("offerOf() says whether a verdict is to be waited for", () => {
  assert.deepEqual(offered(["overdue", "overdue"]), { unprobed: "0 1" });
  assert.deepEqual(offered(["overdue", "unprobed", "overdue"]), { unprobed: "0 1 2", overdue: false });
});

test("offerOf() counts what hinders, and offers open breakers only where they refuse by themselves", () => {
  const findings: readonly Finding[] = ["full", "trial", "draining", "ejected", "open", "full", "draining"];
  const hindered = { full: "0 5", onTrial: "1", cordoned: 2, open: 1 };
  assert.deepEqual(offered(findings), hindered);
  assert.deepEqual(offered(findings, ["open"], true), { ...hindered, available: "4", regions: "0", open: 2 });
});
