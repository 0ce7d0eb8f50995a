/** Whose X-Forwarded-For is believed, and what it says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientAddress, trustedProxies } from "../../src/downstream/client-address.ts";

const TRUSTED = trustedProxies(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"]);

test("trustedProxies() knows blocks and single addresses of both families", () => {
  for (const address of ["10.0.0.1", "10.255.255.255", "192.0.2.1", "2001:db8::5", "::1"]) assert.ok(TRUSTED(address), address);
  for (const address of ["11.0.0.1", "192.0.2.2", "2001:db9::", "::2", "", "10.0.0", "localhost"]) {
    assert.ok(!TRUSTED(address), address);
  }
});

test("trustedProxies() of nothing trusts nobody", () => {
  for (const address of ["127.0.0.1", "::1", ""]) assert.ok(!trustedProxies([])(address));
});

test("clientAddress() is the rightmost address that is no trusted proxy's", () => {
  const client = (field: string | null): string => clientAddress("10.0.0.1", field, TRUSTED);
  assert.equal(client(null), "10.0.0.1");
  assert.equal(client(""), "10.0.0.1");
  assert.equal(client("203.0.113.9"), "203.0.113.9");
  assert.equal(client("1.1.1.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9", "what stands before it may be made up");
  assert.equal(client("10.0.0.3,10.0.0.2"), "10.0.0.3", "all are trusted: the first");
});

test("clientAddress() reads ports and brackets, and stops at what it cannot read", () => {
  const client = (field: string): string => clientAddress("10.0.0.1", field, TRUSTED);
  assert.equal(client("203.0.113.9:4711"), "203.0.113.9");
  assert.equal(client("[2001:db9::1]:4711"), "2001:db9::1");
  assert.equal(client("2001:db9::1"), "2001:db9::1");
  assert.equal(client("203.0.113.9, unknown"), "10.0.0.1");
  assert.equal(client("203.0.113.9, unknown, 10.0.0.2"), "10.0.0.2");
  assert.equal(client("203.0.113.9, "), "10.0.0.1");
  assert.equal(client("["), "10.0.0.1");
});
