import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileEndpoint, type VmRow } from "../../src/table/compile.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const here = { regionId: HERE, regionPort: 80 };

function vm(change: Partial<VmRow> = {}): VmRow {
  return { privateIp: "10.0.0.5", port: "8080", regionId: HERE, publicIpv4: null, ...change };
}

function key(change: Partial<VmRow>): string {
  const endpoint = compileEndpoint(vm(change), here);
  assert.ok(typeof endpoint === "object", String(endpoint));
  return endpoint.key;
}

describe("compileEndpoint()", () => {
  it("makes a VM endpoint of a VM in our region", () => {
    assert.deepEqual(compileEndpoint(vm(), here), {
      key: "vm/10.0.0.5:8080",
      kind: "vm",
      address: "10.0.0.5",
      port: 8080,
      region: HERE,
    });
  });

  it("makes a region endpoint of one in another region, whatever its own address", () => {
    assert.deepEqual(compileEndpoint(vm({ regionId: THERE, privateIp: null, port: null, publicIpv4: "203.0.113.7" }), here), {
      key: "region/203.0.113.7:80",
      kind: "region",
      address: "203.0.113.7",
      port: 80,
      region: THERE,
    });
  });

  it("takes the region's id in either case", () => {
    assert.equal(key({ regionId: HERE.toUpperCase() }), "vm/10.0.0.5:8080");
  });

  it("takes addresses as inet shows them, IPv4 and IPv6", () => {
    assert.equal(key({ privateIp: "10.0.0.5/32" }), "vm/10.0.0.5:8080");
    assert.equal(key({ privateIp: "FD00::5/128", port: " 80 " }), "vm/[fd00::5]:80");
  });

  it("says what is wrong with a VM", () => {
    const wrong: readonly [Partial<VmRow>, string][] = [
      [{ privateIp: null }, "its VM has no private address"],
      [{ privateIp: "10.0.0" }, 'its VM has an unusable private address "10.0.0"'],
      [{ privateIp: "fe80::1%eth0" }, 'its VM has an unusable private address "fe80::1%eth0"'],
      [{ port: null }, "its VM has no port"],
      [{ port: "0" }, 'its VM has an unusable port "0"'],
      [{ port: "65536" }, 'its VM has an unusable port "65536"'],
      [{ port: "-1" }, 'its VM has an unusable port "-1"'],
      [{ regionId: null }, "its VM has no region"],
      [{ regionId: THERE }, `its region ${THERE} is not ours and has no public address`],
      [
        { regionId: THERE, publicIpv4: "soon" },
        `its region ${THERE} is not ours and has an unusable public address "soon"`,
      ],
    ];
    for (const [change, reason] of wrong) assert.equal(compileEndpoint(vm(change), here), reason);
  });
});
