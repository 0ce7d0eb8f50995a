/** How the dashboard's files are served; what is in them is looked at in a browser (tests/end-to-end/dashboard.test.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { dashboard } from "../../src/admin/dashboard.ts";

const BUNDLE = { script: 'console.log("page")', style: "body { margin: 0 }" };
const app = dashboard(() => Promise.resolve(BUNDLE));

async function assetPath(extension: string): Promise<string> {
  const page = await (await app.request("/")).text();
  const path = new RegExp(`"(assets/[^"]+\\.${extension})"`).exec(page)?.[1];
  assert.ok(path !== undefined, page);
  return `/${path}`;
}

test("dashboard() serves a page that runs nothing but its own files", async () => {
  const response = await app.request("/");
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/html\b/);
  assert.equal(response.headers.get("cache-control"), "no-cache");
  const policy = (response.headers.get("content-security-policy") ?? "").split("; ");
  for (
    const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
  ) {
    assert.ok(policy.includes(rule), rule);
  }
  const page = await response.text();
  assert.doesNotMatch(page, /<style|<script(?![^>]* src=)|\son\w+=|https?:/);
});

test("dashboard() names files for what is in them, and lets browsers keep them", async () => {
  const path = await assetPath("js");
  const response = await app.request(path);
  assert.equal(await response.text(), BUNDLE.script);
  assert.match(response.headers.get("content-type") ?? "", /^text\/javascript\b/);
  assert.match(response.headers.get("cache-control") ?? "", /\bimmutable\b/);
  const other = dashboard(() => Promise.resolve({ ...BUNDLE, script: "other" }));
  assert.equal((await other.request(path)).status, 404);
  assert.match((await app.request(await assetPath("css"))).headers.get("content-type") ?? "", /^text\/css\b/);
  assert.match((await app.request(await assetPath("svg"))).headers.get("content-type") ?? "", /^image\/svg\+xml\b/);
});

test("dashboard() sends nothing that a browser has already", async () => {
  for (const path of ["/", await assetPath("js")]) {
    const etag = (await app.request(path)).headers.get("etag") ?? "";
    const response = await app.request(path, { headers: { "If-None-Match": etag } });
    assert.deepEqual([response.status, await response.text()], [304, ""]);
  }
});

test("dashboard() compresses for whoever understands it", async () => {
  const response = await app.request(await assetPath("css"), { headers: { "Accept-Encoding": "br, gzip" } });
  assert.equal(response.headers.get("content-encoding"), "gzip");
  assert.equal(response.headers.get("vary"), "Accept-Encoding");
  assert.equal(gunzipSync(await response.arrayBuffer()).toString(), BUNDLE.style);
});

test("dashboard() says how it is built where it is not", async () => {
  const response = await dashboard(() => Promise.resolve(null)).request("/");
  assert.equal(response.status, 503);
  assert.match(await response.text(), /compile\.sh --dashboard/);
});
