/** How paths can be read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pathAsSent, pathIdentity, pathReadings } from "../../src/table/path-reading.ts";

test("pathReadings() has one reading of nearly every path, the text itself", () => {
  for (const path of ["/", "*", "/api/users/1", "/a.b/c..d/e.", "/~me/_x-y", "/a=b&c,d:e@f!$'()*+"]) {
    assert.deepEqual(pathReadings(path), [path]);
  }
});

test("pathReadings() decodes what needs no escape, and nothing else", () => {
  assert.deepEqual(pathReadings("/%61p%69/%7Eme,%2C%40"), ["/api/~me,,@"]);
  assert.deepEqual(pathReadings("/caf%c3%A9/a%20b%3Fc%23%25"), ["/caf%C3%A9/a%20b%3Fc%23%25"]);
  assert.deepEqual(pathReadings("/100%/%zz/%4"), ["/100%/%zz/%4"], "no escapes");
  assert.equal(pathAsSent(Buffer.from("/café/~me me").toString("latin1")), "/caf%C3%A9/~me%20me");
});

test("pathReadings() reads slashes and dot segments as servers may", () => {
  const cases: readonly [path: string, ...readings: string[]][] = [
    ["//admin", "//admin", "/admin"],
    ["/x/../admin", "/x/../admin", "/admin"],
    ["/x/%2e%2E/admin", "/x/../admin", "/admin"],
    ["/x/.;a/..;b=1/admin", "/x/.;a/..;b=1/admin", "/admin"],
    ["/x/./y", "/x/./y", "/x/y"],
    ["/../..", "/../..", "/"],
    ["/x/y/..", "/x/y/..", "/x/"],
    ["/x/y/.", "/x/y/.", "/x/y/"],
    ["/x//", "/x//", "/x/"],
    ["/x//../admin", "/x//../admin", "/x/admin", "/admin"],
    ["/a%2Fb", "/a%2Fb", "/a/b"],
    ["/a\\..\\admin", "/a\\..\\admin", "/admin"],
    ["/x/..%2fadmin", "/x/..%2Fadmin", "/admin"],
    ["/x/..%5Cadmin", "/x/..%5Cadmin", "/admin"],
    ["/x/..%3Ba=1/admin", "/x/..%3Ba=1/admin", "/admin"],
    ["/x//..%2fadmin", "/x//..%2Fadmin", "/x/..%2Fadmin", "/x/admin", "/admin"],
    ["/.well-known/acme", "/.well-known/acme"],
    ["/admin;x", "/admin;x", "/admin"],
    ["/a;v=1/b;w=/../c", "/a;v=1/b;w=/../c", "/a;v=1/c", "/a/c"],
    ["/;a/admin%3bx", "/;a/admin%3Bx", "//admin%3Bx", "/admin%3Bx", "/;a/admin;x", "//admin", "/admin"],
  ];
  for (const [path, ...readings] of cases) assert.deepEqual(pathReadings(path), readings, path);
});

test("pathIdentity() is one name for all spellings of a path", () => {
  const spellings = [
    "/login",
    "/%6cogi%6E",
    "//login",
    "/./login",
    "/x/../login",
    "/login;a=1",
    "/;/login%3B",
    "\\login",
    "/%2flogin",
  ];
  for (const path of spellings) assert.equal(pathIdentity(path), "/login", path);
  for (const path of ["/login/", "/loginx", "/LOGIN", "/log%20in"]) assert.equal(pathIdentity(path), path);
});
