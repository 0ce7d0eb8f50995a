/** Cookies by which clients stick: what is believed, and what is not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { StickyCookies } from "../../src/upstream/balance/sticky.ts";
import { serviceVm } from "../fixtures/services.ts";

const A = serviceVm("10.0.0.1"), B = serviceVm("10.0.0.2");
const NOW_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const cookies = new StickyCookies("a secret of at least some length");

function keyOf(value: string, { service = "users", endpoints = [A, B], nowMs = NOW_MS } = {}): string | null {
  return cookies.read([value], service, endpoints, nowMs)?.endpoint.key ?? null;
}

test("StickyCookies.read() finds the endpoint of a cookie, whichever object stands for it", () => {
  const value = cookies.valueFor(B, NOW_MS + HOUR_MS);
  assert.equal(keyOf(value), B.key);
  assert.equal(keyOf(value, { endpoints: [{ ...B, weight: 0 }] }), B.key);
  assert.deepEqual(cookies.read([value], "users", [A, B], NOW_MS)?.expiresAtMs, NOW_MS + HOUR_MS);
});

test("StickyCookies.valueFor() tells no address", () => {
  assert.match(cookies.valueFor(A, NOW_MS), /^[\w-]{12}\.[0-9a-z]+\.[\w-]{22}$/);
});

test("StickyCookies.read() believes nothing that is expired, gone, forged or of elsewhere", () => {
  const value = cookies.valueFor(A, NOW_MS + HOUR_MS);
  const [tag, expiry, signature] = value.split(".") as [string, string, string];
  const tagOfB = cookies.valueFor(B, NOW_MS).split(".")[0];
  assert.equal(keyOf(value, { nowMs: NOW_MS + HOUR_MS }), null, "expired");
  assert.equal(keyOf(value, { endpoints: [B] }), null, "gone");
  assert.equal(keyOf(value, { service: "orders" }), null, "of another service");
  assert.equal(keyOf(`${tagOfB}.${expiry}.${signature}`), null, "another endpoint");
  assert.equal(keyOf(`${tag}.${(parseInt(expiry, 36) + 1).toString(36)}.${signature}`), null, "a later end");
  assert.equal(keyOf(`${tag}.${expiry}.${signature.replace(/^./, (first) => first === "A" ? "B" : "A")}`), null, "a signature");
  for (const broken of ["", ".", tag, `${tag}.${expiry}`, `${value}.`, `${value}=`, "x".repeat(5000)]) {
    assert.equal(keyOf(broken), null, broken);
  }
  assert.equal(new StickyCookies("another secret").read([value], "users", [A, B], NOW_MS), null);
});

test("StickyCookies.read() believes what another worker or generation with the same secret has signed, whatever the order there", () => {
  const other = new StickyCookies("a secret of at least some length");
  const copies = [{ ...B, weight: 7 }, serviceVm("10.0.0.9"), { ...A }];
  for (const each of [A, B]) {
    assert.equal(other.read([cookies.valueFor(each, NOW_MS + HOUR_MS)], "users", copies, NOW_MS)?.endpoint.key, each.key);
  }
});

test("StickyCookies.read() takes the first genuine one of a few", () => {
  const value = cookies.valueFor(A, NOW_MS + HOUR_MS);
  assert.equal(cookies.read(["forged", value], "users", [A], NOW_MS)?.endpoint, A);
  assert.equal(cookies.read([...Array(10).fill("forged"), value], "users", [A], NOW_MS), null);
});

test("StickyCookies.read() remembers what was genuine, and believes it no longer than that, nor elsewhere", () => {
  const value = cookies.valueFor(B, NOW_MS + HOUR_MS);
  for (const _ of [1, 2]) assert.equal(keyOf(value), B.key);
  assert.equal(keyOf(value, { service: "orders" }), null);
  assert.equal(keyOf(value, { nowMs: NOW_MS + HOUR_MS }), null);
  assert.equal(keyOf(value, { endpoints: [A] }), null);
  assert.equal(keyOf(value.replace(/\.(?=[^.]*$)./, (start) => start === ".A" ? ".B" : ".A")), null, "another signature");
});
