/** The request that explain is asked about: a path alone has no host, and never becomes one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { writtenRequest } from "../../src/admin/written-request.ts";

const lineAndHost = (url: string, ...fields: [string, string][]): string | undefined =>
  writtenRequest({ url, method: "GET", fields })?.split("\r\n").slice(0, 2).join(" ");

test("writtenRequest() takes a URL with or without its scheme", () => {
  assert.equal(lineAndHost("https://app.test/api?x=1"), "GET /api?x=1 HTTP/1.1 Host: app.test");
  assert.equal(lineAndHost("app.test:8080/api"), "GET /api HTTP/1.1 Host: app.test:8080");
  assert.equal(lineAndHost("app.test/api?to=https://b.test/"), "GET /api?to=https://b.test/ HTTP/1.1 Host: app.test");
});

test("writtenRequest() takes a path alone where Host is given, and else for no URL", () => {
  assert.equal(lineAndHost("/api?x=1", ["host", "app.test"]), "GET /api?x=1 HTTP/1.1 host: app.test");
  for (const url of ["/api", "//api", "http:///api", "?x", ""]) assert.equal(lineAndHost(url), undefined, url);
  assert.equal(lineAndHost("http:///api", ["Host", "app.test"]), undefined);
});
