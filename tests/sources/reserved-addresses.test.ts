/** What rows of route_policies cannot make this machine connect to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDomainPolicy } from "../../src/sources/domain-policy.ts";
import { isReserved } from "../../src/sources/reserved-addresses.ts";

test("isReserved() knows our own ports and metadata services, however they are written", () => {
  const here = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:7f00:0001",
    "64:ff9b::7f00:1",
  ];
  const metadata = [
    "169.254.169.254",
    "::ffff:a9fe:a9fe",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
  ];
  for (const address of [...metadata, "224.0.0.1", "255.255.255.255", "ff02::1"]) {
    assert.equal(isReserved(address, 80), true, address);
  }
  for (const address of here) {
    assert.equal(isReserved(address, 9090, [8080, 9090]), true, address);
    assert.equal(isReserved(address, 9091, [8080, 9090]), false, address);
  }
  const others = [
    "10.0.0.1",
    "192.168.1.1",
    "128.0.0.1",
    "100.100.100.201",
    "2001:db8::1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
  ];
  for (const address of [...others, "localhost", "app.example.com", ""]) {
    assert.equal(isReserved(address, 9090, [9090]), false, address);
  }
});

test("parseDomainPolicy() refuses endpoints on our own ports, and says where they may be named", () => {
  const around = { regionId: "here", ownPorts: [8080, 9090] };
  const policy = (url: string) => ({ services: { own: { endpoints: [{ url: "http://10.0.0.1" }, { url }] } } });
  assert.ok("policy" in parseDomainPolicy("a.test", policy("http://10.0.0.2:8080"), around));
  assert.ok("policy" in parseDomainPolicy("a.test", policy("http://127.0.0.1:9091"), around));
  for (const url of ["http://127.0.0.1:9090", "http://[::1]:9090", "http://[::ffff:7f00:1]:9090", "http://169.254.169.254"]) {
    assert.deepEqual(parseDomainPolicy("a.test", policy(url), around), {
      problems: [
        "services.own.endpoints[1].url: must not be this proxy, link-local or a metadata service: only the routes file may name those",
      ],
    }, url);
  }
});

test("parseDomainPolicy() lets a row have few names resolved", () => {
  const policy = (count: number) => ({
    services: { own: { endpoints: Array.from({ length: count }, (_, i) => ({ url: `http://vm-${i}.example.com` })) } },
  });
  assert.ok("policy" in parseDomainPolicy("a.test", policy(32), { regionId: "here" }));
  assert.deepEqual(parseDomainPolicy("a.test", policy(33), { regionId: "here" }), {
    problems: ["services: must not name more than 32 hosts that are no addresses"],
  });
});
