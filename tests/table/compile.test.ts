import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileRows, type RouteRow } from "../../src/table/compile.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const ELSEWHERE = "33333333-3333-4333-8333-333333333333";
const here = { regionId: HERE, regionPort: 80 };

function row(change: Partial<RouteRow> = {}): RouteRow {
  return { name: "app.example.com", privateIp: "10.0.0.5", port: "8080", regionId: HERE, publicIpv4: null, ...change };
}

function keys(rows: readonly RouteRow[]): Record<string, string[]> {
  const { routes, badRows } = compileRows(rows, here);
  assert.deepEqual(badRows, []);
  return Object.fromEntries(routes.map((route) => [route.host, route.endpoints.map((endpoint) => endpoint.key)]));
}

function reasons(rows: readonly RouteRow[]): string[] {
  const compiled = compileRows(rows, here);
  assert.deepEqual(compiled.routes, []);
  assert.equal(compiled.badRowCount, rows.length);
  return compiled.badRows.map((bad) => `${bad.domain}: ${bad.reason}`);
}

describe("compileRows()", () => {
  it("makes a VM endpoint of a row in our region", () => {
    assert.deepEqual(compileRows([row()], here).routes, [{
      host: "app.example.com",
      endpoints: [{ key: "vm/10.0.0.5:8080", kind: "vm", address: "10.0.0.5", port: 8080, region: HERE }],
    }]);
  });

  it("makes a region endpoint of a row in another region, whatever its VM", () => {
    assert.deepEqual(compileRows([row({ regionId: THERE, privateIp: null, port: null, publicIpv4: "203.0.113.7" })], here).routes, [
      {
        host: "app.example.com",
        endpoints: [{ key: "region/203.0.113.7:80", kind: "region", address: "203.0.113.7", port: 80, region: THERE }],
      },
    ]);
  });

  it("takes the region's id in either case", () => {
    assert.deepEqual(keys([row({ regionId: HERE.toUpperCase() })]), { "app.example.com": ["vm/10.0.0.5:8080"] });
  });

  it("makes several endpoints of several rows, one per region, in an order that does not depend on theirs", () => {
    const rows = [
      row({ regionId: THERE, publicIpv4: "203.0.113.7" }),
      row({ privateIp: "10.0.0.7" }),
      row(),
      row(),
      row({ regionId: THERE, privateIp: "10.9.0.1", publicIpv4: "203.0.113.7" }),
      row({ regionId: ELSEWHERE, publicIpv4: "203.0.113.9" }),
    ];
    const expected = ["vm/10.0.0.5:8080", "vm/10.0.0.7:8080", "region/203.0.113.7:80", "region/203.0.113.9:80"];
    assert.deepEqual(keys(rows), { "app.example.com": expected });
    assert.deepEqual(keys(rows.reverse()), { "app.example.com": expected });
  });

  it("groups spellings of one domain", () => {
    assert.deepEqual(
      keys([
        row({ name: "App.Example.com" }),
        row({ name: "zzz.example" }),
        row({ name: "app.example.com.", privateIp: "10.0.0.6" }),
      ]),
      {
        "app.example.com": ["vm/10.0.0.5:8080", "vm/10.0.0.6:8080"],
        "zzz.example": ["vm/10.0.0.5:8080"],
      },
    );
  });

  it("shares endpoints between hosts", () => {
    const { routes } = compileRows([row({ name: "a.example" }), row({ name: "b.example" })], here);
    assert.equal(routes[0]?.endpoints[0], routes[1]?.endpoints[0]);
  });

  it("takes addresses as inet shows them, IPv4 and IPv6", () => {
    assert.deepEqual(keys([row({ privateIp: "10.0.0.5/32" })]), { "app.example.com": ["vm/10.0.0.5:8080"] });
    assert.deepEqual(keys([row({ privateIp: "FD00::5/128", port: " 80 " })]), { "app.example.com": ["vm/[fd00::5]:80"] });
  });

  it("keeps wildcards", () => {
    assert.deepEqual(keys([row({ name: "*.Example.com" })]), { "*.example.com": ["vm/10.0.0.5:8080"] });
  });

  it("skips a bad row, says why and keeps the rest", () => {
    const compiled = compileRows([row({ name: "not a host" }), row()], here);
    assert.equal(compiled.routes.length, 1);
    assert.deepEqual(compiled.badRows, [{ domain: "not a host", reason: "is not a host name" }]);
  });

  it("names what is wrong with a row", () => {
    assert.deepEqual(
      reasons([
        row({ name: null }),
        row({ privateIp: null }),
        row({ privateIp: "10.0.0" }),
        row({ privateIp: "fe80::1%eth0" }),
        row({ port: null }),
        row({ port: "0" }),
        row({ port: "65536" }),
        row({ port: "-1" }),
        row({ regionId: null }),
        row({ regionId: THERE }),
        row({ regionId: THERE, publicIpv4: "soon" }),
      ]),
      [
        ": has no name",
        "app.example.com: its VM has no private address",
        'app.example.com: its VM has an unusable private address "10.0.0"',
        'app.example.com: its VM has an unusable private address "fe80::1%eth0"',
        "app.example.com: its VM has no port",
        'app.example.com: its VM has an unusable port "0"',
        'app.example.com: its VM has an unusable port "65536"',
        'app.example.com: its VM has an unusable port "-1"',
        "app.example.com: its VM has no region",
        `app.example.com: its region ${THERE} is not ours and has no public address`,
        `app.example.com: its region ${THERE} is not ours and has an unusable public address "soon"`,
      ],
    );
  });

  it("counts all bad rows and lists the first of them", () => {
    const { badRows, badRowCount } = compileRows(Array.from({ length: 1500 }, () => row({ port: null })), here);
    assert.equal(badRowCount, 1500);
    assert.equal(badRows.length, 1000);
  });
});
