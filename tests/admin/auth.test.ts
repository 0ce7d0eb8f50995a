import { test } from "node:test";
import assert from "node:assert/strict";
import { ADMIN_PATHS } from "../../src/admin/app.ts";
import { UNIX_CLIENT } from "../../src/admin/auth.ts";
import { adminOf, LOADED, NOW_MS } from "../fixtures/admin.ts";

test("adminApp() wants the token on every path but those that are open", async () => {
  const admin = adminOf({ token: "s3cret" });
  const shown = ["", "Bearer", "Bearer wrong", "Bearer s3cret2", "Basic s3cret", "s3cret"];
  let client = 0;
  for (const { path, method, open = false } of ADMIN_PATHS) {
    for (const authorization of shown) {
      const response = await admin.ask(path, { method, headers: { authorization } }, `192.0.2.${++client}`);
      assert.equal(response.status, open ? 200 : 401, `${path} ${authorization}`);
      assert.equal(response.headers.get("www-authenticate"), open ? null : 'Bearer realm="edgeproxy"');
    }
    const allowed = await admin.ask(path, { method, headers: { authorization: "bearer s3cret" } });
    assert.notEqual(allowed.status, 401, path);
  }
  assert.equal((await admin.ask("/nothing")).status, 401);
});

test("adminApp() without a token refuses a name that foreign DNS could point here", async () => {
  const admin = adminOf();
  for (const host of ["127.0.0.1:9090", "localhost:9090", "LOCALHOST", "[::1]:9090", "10.0.0.1"]) {
    assert.equal((await admin.ask("/api/regions", { headers: { host } })).status, 200, host);
  }
  for (
    const host of [
      "evil.example.com",
      "evil.example.com:9090",
      "127.0.0.1.evil.example.com",
      "localhost.evil.example.com",
      "[evil]",
    ]
  ) {
    const { status, body } = await admin.json("/api/regions", { headers: { host } });
    assert.deepEqual([status, body.error], [403, "forbidden_host"], host);
    assert.deepEqual(
      (await admin.json("/readyz", { headers: { host } })).body.database,
      { configured: true, readable: true },
      host,
    );
  }
});

test("adminApp() without a token refuses requests that another site makes a browser send", async () => {
  const admin = adminOf();
  const post = (headers: Record<string, string>) =>
    admin.json("/api/refresh", { method: "POST", headers: { host: "127.0.0.1:9090", ...headers } });
  for (
    const headers of [{ origin: "http://evil.example.com" }, { origin: "null" }, { "sec-fetch-site": "cross-site" }, {
      "sec-fetch-site": "same-site",
    }]
  ) {
    const { status, body } = await post(headers);
    assert.deepEqual([status, body.error], [403, "cross_site"], JSON.stringify(headers));
  }
  assert.equal((await post({ origin: "http://127.0.0.1:9090", "sec-fetch-site": "same-origin" })).status, 200);
  assert.equal((await post({})).status, 200);
  assert.equal((await admin.ask("/api/regions", { headers: { "sec-fetch-site": "cross-site" } })).status, 200);
});

const WRONG = { headers: { authorization: "Bearer wrong" } };
const RIGHT = { headers: { authorization: "Bearer s3cret" } };

test("adminApp() refuses an address unheard after ten wrong tokens, until the minute is over", async () => {
  let nowMs = NOW_MS;
  const admin = adminOf({ token: "s3cret", nowMs: () => nowMs });
  const status = async (init: RequestInit, client: string) => (await admin.ask("/api/workers", init, client)).status;
  for (let count = 1; count <= 10; count++) assert.equal(await status(WRONG, "192.0.2.7"), 401, String(count));
  nowMs += 20_500;
  const refused = await admin.json("/api/workers", RIGHT, "192.0.2.7");
  assert.deepEqual([refused.status, refused.body.error, refused.headers.get("retry-after")], [429, "too_many_failures", "40"]);
  assert.equal(await status(RIGHT, "192.0.2.8"), 200, "another address");
  assert.equal((await admin.ask("/healthz", WRONG, "192.0.2.7")).status, 200);
  nowMs += 39_500;
  assert.equal(await status(RIGHT, "192.0.2.7"), 200);
  assert.deepEqual(admin.log.lines.map(({ msg, fields }) => [msg, fields]), [
    ["admin token refused", { client: "192.0.2.7", path: "/api/workers" }],
  ]);
});

test("adminApp() hears who has shown the right token lately, whatever else comes from there", async () => {
  let nowMs = NOW_MS;
  const admin = adminOf({ token: "s3cret", nowMs: () => nowMs });
  const status = async (init: RequestInit) => (await admin.ask("/api/workers", init)).status;
  assert.equal(await status(RIGHT), 200);
  for (let count = 1; count <= 30; count++) assert.equal(await status(WRONG), count <= 10 ? 401 : 429, String(count));
  assert.equal(await status(RIGHT), 200);
  assert.equal(await status({}), 401, "no guess");
  nowMs += 25 * 3_600_000;
  for (let count = 0; count < 10; count++) assert.equal(await status(WRONG), 401);
  assert.equal(await status(RIGHT), 429);
});

test("adminApp() counts no requests without a token, and a network of IPv6 as one", async () => {
  const admin = adminOf({ token: "s3cret" });
  for (let count = 0; count < 20; count++) assert.equal((await admin.ask("/api/workers")).status, 401);
  for (let count = 0; count < 10; count++) {
    assert.equal((await admin.ask("/api/workers", WRONG, `2001:db8:0:1::${count}`)).status, 401);
  }
  assert.equal((await admin.ask("/api/workers", WRONG, "2001:db8:0:1:5:6:7:8")).status, 429);
  assert.equal((await admin.ask("/api/workers", WRONG, "2001:db8:0:2::1")).status, 401);
  assert.equal((await admin.ask("/api/workers", WRONG, "2001:db8::1")).status, 401);
});

test("GET /readyz is no way to try tokens without being counted", async () => {
  const admin = adminOf({ token: "s3cret", refreshStatus: () => ({ ...LOADED, lastError: "db.internal" }) });
  for (let count = 0; count < 10; count++) assert.equal((await admin.json("/readyz", WRONG)).body.database.last_error, undefined);
  const { status, body } = await admin.json("/readyz", RIGHT);
  assert.deepEqual([status, body.database.last_error], [200, undefined]);
  assert.equal((await admin.ask("/api/workers", RIGHT)).status, 429);
});

test("adminApp() trusts the unix socket, whose file says who may connect", async () => {
  for (const token of ["", "s3cret"]) {
    const admin = adminOf({ token });
    const init = { headers: { host: "anything.example.com", origin: "http://elsewhere" } };
    assert.equal((await admin.ask("/api/workers", init, UNIX_CLIENT)).status, 200);
    assert.equal((await admin.ask("/api/refresh", { ...init, method: "POST" }, UNIX_CLIENT)).status, 200);
  }
});

test("adminApp() lets no other site read, frame or guess anything", async () => {
  for (const token of ["", "s3cret"]) {
    const admin = adminOf({ token });
    for (const { path } of ADMIN_PATHS) {
      const origin = { origin: "https://elsewhere.example.com" };
      const headers = { ...origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" };
      const preflight = await admin.ask(path, { method: "OPTIONS", headers });
      assert.ok([401, 403, 405].includes(preflight.status), `${path} ${preflight.status}`);
      const answer = await admin.ask(path, { headers: { ...origin, ...RIGHT.headers } });
      await answer.body?.cancel();
      for (const response of [preflight, answer]) {
        const names = [...response.headers.keys()];
        assert.deepEqual(names.filter((name) => name.startsWith("access-control-")), [], path);
        assert.match(response.headers.get("content-security-policy") ?? "", /^default-src 'none';.*frame-ancestors 'none'$/);
        assert.equal(response.headers.get("x-content-type-options"), "nosniff");
        assert.equal(response.headers.get("referrer-policy"), "no-referrer");
      }
    }
  }
});
