/** Which route keys are believed, and of whom. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { previewHost, routeKeyOf, signedPreviewHost, signedRouteKey } from "../../src/decision/route-key.ts";
import { DEFAULT_SANDBOX } from "../../src/table/policy.ts";
import { requestView } from "../fixtures/requests-under-policies.ts";

const SECRET = "a secret of sixteen";

function keyOf(
  fields: Record<string, string>,
  change: { trusted?: boolean; known?: string; anyone?: boolean; secret?: string } = {},
): string | null {
  const sandbox = { ...DEFAULT_SANDBOX, trust: change.anyone === true ? "anyone" : "trusted-proxies" } as const;
  return routeKeyOf(requestView("a.test", { fields }), sandbox, change.secret ?? SECRET, {
    all: change.trusted ?? false,
    key: change.known ?? null,
  });
}

test("routeKeyOf() finds the key in each carrier", () => {
  const carriers = [
    { "X-Route-Key": "s-1" },
    { Baggage: "userId=alice, sd-routing-key = s-1;ttl=1" },
    { baggage: "sd-routing-key=s%2D1" },
    { Tracestate: "vendor=x,sd-routing-key=s-1" },
    { Cookie: "a=b; sd-routing-key=s-1" },
  ];
  for (const fields of carriers) assert.equal(keyOf(fields, { trusted: true }), "s-1", JSON.stringify(fields));
  assert.equal(keyOf({ Baggage: "x-sd-routing-key=s-1, sd-routing-keys=2" }, { trusted: true }), null);
  assert.equal(
    keyOf({ "X-Route-Key": "one", Baggage: "sd-routing-key=two" }, { trusted: true }),
    "one",
    "in the order of carriers",
  );
  const onlyCookie = { ...DEFAULT_SANDBOX, carriers: ["cookie"] } as const;
  assert.equal(
    routeKeyOf(requestView("a.test", { fields: { "X-Route-Key": "s-1" } }), onlyCookie, SECRET, { all: true, key: null }),
    null,
  );
});

test("routeKeyOf() believes trusted proxies, signed keys, or anyone where that is said", () => {
  const signed = signedRouteKey("s-1", SECRET);
  assert.match(signed, /^s-1\.[a-z2-7]{20}$/);
  assert.equal(keyOf({ "X-Route-Key": "s-1" }), null);
  assert.equal(keyOf({ "X-Route-Key": "s-1" }, { anyone: true }), "s-1");
  assert.equal(keyOf({ "X-Route-Key": signed }), "s-1");
  assert.equal(keyOf({ "X-Route-Key": signed }, { trusted: true }), "s-1");
  assert.equal(keyOf({ Cookie: `sd-routing-key=${signed}` }), "s-1");
  assert.equal(keyOf({ "X-Route-Key": "s-1", Cookie: `sd-routing-key=${signed}` }), "s-1", "the first that is believed");
});

test("of what comes by another edge, the key that it has believed is believed, and no other", () => {
  const both = { "X-Route-Key": "s-2", Cookie: "sd-routing-key=s-1" };
  assert.equal(keyOf(both, { known: "s-1" }), "s-1");
  assert.equal(keyOf(both, { known: "s-3" }), null);
  const at = (host: string) => previewHost(requestView(host), DEFAULT_SANDBOX, SECRET, { all: false, key: "s-1" })!.key;
  assert.deepEqual([at("s-1--app.example.com"), at("s-2--app.example.com")], ["s-1", null]);
});

test("routeKeyOf() believes no forged signature", () => {
  const signed = signedRouteKey("s-1", SECRET);
  assert.equal(keyOf({ "X-Route-Key": signed.replace("s-1", "s-2") }), null);
  assert.equal(keyOf({ "X-Route-Key": signed.slice(0, -1) }), null);
  assert.equal(keyOf({ "X-Route-Key": signed.toUpperCase() }), null);
  assert.equal(keyOf({ "X-Route-Key": signedRouteKey("s-1", "another secret") }), null);
  assert.equal(keyOf({ "X-Route-Key": signedRouteKey("s-1", "") }, { secret: "" }), null, "nobody knows the empty secret");
  assert.equal(keyOf({ "X-Route-Key": `x${"y".repeat(300)}` }, { anyone: true }), null, "nor one that is too long");
});

test("previewHost() takes a key out of a host name", () => {
  const at = (host: string, all = true) => previewHost(requestView(host), DEFAULT_SANDBOX, SECRET, { all, key: null });
  assert.deepEqual(at("s-1--app.example.com"), { host: "app.example.com", key: "s-1" });
  assert.deepEqual(at("s-1--app.example.com", false), { host: "app.example.com", key: null });
  assert.equal(at("xn--bcher-kva.example"), null);
  for (const host of ["app.example.com", "a.s-1--app.example.com", "--app.example.com", "s-1--.example.com", "[::1]"]) {
    assert.equal(at(host), null, host);
  }
  const signed = signedPreviewHost("s-1", "app.example.com", SECRET)!;
  assert.match(signed, /^s-1--[a-z2-7]{20}--app\.example\.com$/);
  assert.deepEqual(at(signed, false), { host: "app.example.com", key: "s-1" });
  assert.equal(at(signed.replace("s-1", "s-2"), false)?.key, null);
  assert.equal(signedPreviewHost("S_1", "app.example.com", SECRET), null, "no part of a host name");
  assert.equal(signedPreviewHost("s".repeat(40), "app.example.com", SECRET), null, "too long for one");
});
