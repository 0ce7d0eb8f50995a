import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { diffTable } from "../../src/table/diff.ts";
import { endpointKey, type EndpointRecord, type RouteRecord } from "../../src/table/record.ts";

function endpoint(address: string, region = "here"): EndpointRecord {
  return { key: endpointKey("vm", address, 80), kind: "vm", address, port: 80, region };
}

function route(host: string, ...endpoints: EndpointRecord[]): RouteRecord {
  return { host, endpoints: endpoints.length > 0 ? endpoints : [endpoint("10.0.0.5")] };
}

function tableOf(...routes: RouteRecord[]): ReadonlyMap<string, RouteRecord> {
  return new Map(routes.map((each) => [each.host, each]));
}

describe("diffTable()", () => {
  it("finds what was added, removed and changed", () => {
    const current = tableOf(route("gone.example"), route("same.example"), route("moved.example"));
    const diff = diffTable(current, [route("same.example"), route("moved.example", endpoint("10.0.0.6")), route("new.example")]);
    assert.deepEqual(diff.delta, {
      upserts: [route("moved.example", endpoint("10.0.0.6")), route("new.example")],
      removals: ["gone.example"],
    });
    assert.deepEqual([diff.added, diff.removed, diff.changed], [1, 1, 1]);
    assert.deepEqual([...diff.table.keys()].sort(), ["moved.example", "new.example", "same.example"]);
  });

  it("keeps the old objects of routes that did not change", () => {
    const old = route("same.example");
    const diff = diffTable(tableOf(old), [route("same.example")]);
    assert.equal(diff.table.get("same.example"), old);
    assert.deepEqual(diff.delta, { upserts: [], removals: [] });
  });

  it("sees each way in which endpoints differ", () => {
    const current = tableOf(route("app.example", endpoint("10.0.0.5"), endpoint("10.0.0.6")));
    const variants = [
      [endpoint("10.0.0.5")],
      [endpoint("10.0.0.5"), endpoint("10.0.0.6"), endpoint("10.0.0.7")],
      [endpoint("10.0.0.6"), endpoint("10.0.0.5")],
      [endpoint("10.0.0.5"), endpoint("10.0.0.6", "there")],
    ];
    for (const endpoints of variants) assert.equal(diffTable(current, [route("app.example", ...endpoints)]).changed, 1);
  });

  it("takes everything from a table when there are no routes", () => {
    const diff = diffTable(tableOf(route("a.example"), route("b.example")), []);
    assert.deepEqual(diff.delta.removals, ["a.example", "b.example"]);
    assert.equal(diff.table.size, 0);
  });
});
