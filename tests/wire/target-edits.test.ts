/** What becomes of paths and queries, and what must never come of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PathEdits, pathProblem, type PathRewrite, QueryEdits, type QueryRewrite } from "../../src/wire/target-edits.ts";

const NOTHING: PathRewrite = { stripPrefix: null, replacePrefix: null, addPrefix: null, pattern: null, to: null };
const rewrite = (path: string, edits: Partial<PathRewrite>): string | null => new PathEdits({ ...NOTHING, ...edits }).apply(path);

function assertRewrites(edits: Partial<PathRewrite>, results: Readonly<Record<string, string>>): void {
  for (const [path, result] of Object.entries(results)) assert.equal(rewrite(path, edits), result, path);
}

test("PathEdits strips a prefix by segments and leaves the rest byte for byte", () => {
  assertRewrites({ stripPrefix: "/api" }, {
    "/api": "/",
    "/api/": "/",
    "/api/x": "/x",
    "/api/x/": "/x/",
    "/apix": "/apix",
    "/ap": "/ap",
    "/other/api/x": "/other/api/x",
    "/api/api/x": "/api/x",
    "/api/a%2Fb%20c/%e4\xe4;v=1": "/a%2Fb%20c/%e4\xe4;v=1",
    "/API/x": "/API/x",
    "/api%2Fx": "/api%2Fx",
    "/api//x": "//x",
  });
});

test("PathEdits finds a prefix however its bytes are spelled", () => {
  assertRewrites({ stripPrefix: "/api" }, {
    "/%61pi/x": "/x",
    "/%61%70%69/%61": "/%61",
    "/a%5": "/a%5",
    "/%6": "/%6",
    "/%zzpi": "/%zzpi",
  });
  assertRewrites({ stripPrefix: "/a!b" }, { "/a%21b/x": "/x", "/a!b/%21": "/%21", "/a%2Fb/x": "/a%2Fb/x", "/a%3Bb/x": "/a%3Bb/x" });
  assertRewrites({ stripPrefix: "/%61pi" }, { "/api/x": "/x" });
  assertRewrites({ stripPrefix: "/a%2fb" }, { "/a%2Fb/x": "/x", "/a%2fb": "/", "/a/b/x": "/a/b/x" });
  assertRewrites({ stripPrefix: "/é" }, {
    "/%C3%A9/x": "/x",
    "/%c3%a9/x": "/x",
    "/\xc3\xa9/x": "/x",
    "/\xc3\xa8/x": "/\xc3\xa8/x",
  });
});

test("PathEdits takes a slash at the end of a prefix for none", () => {
  assertRewrites({ stripPrefix: "/api/" }, { "/api": "/", "/api/x": "/x", "/apix": "/apix" });
  assertRewrites({ stripPrefix: "/" }, { "/": "/", "/x": "/x" });
  assertRewrites({ addPrefix: "/v1/" }, { "/": "/v1/", "/x": "/v1/x" });
});

test("PathEdits puts a prefix in the place of another, or before all", () => {
  assertRewrites({ stripPrefix: "/api", replacePrefix: "/v2" }, { "/api": "/v2", "/api/": "/v2/", "/api/x": "/v2/x", "/b": "/b" });
  assertRewrites({ addPrefix: "/v1" }, { "/": "/v1/", "/x": "/v1/x" });
  assertRewrites({ stripPrefix: "/api", addPrefix: "/v1" }, { "/api": "/v1", "/api/x": "/v1/x", "/b": "/v1/b" });
  assertRewrites({ addPrefix: "/é ?#" }, { "/x": "/%C3%A9%20%3F%23/x" });
});

test("PathEdits rewrites by a pattern with groups", () => {
  assertRewrites({ pattern: "^/old/(.*)", to: "/new/$1" }, { "/old/a/b": "/new/a/b", "/older": "/older", "/old/": "/new/" });
  assertRewrites({ pattern: "^/(?P<user>[^/]+)/(\\d+)$", to: "/u/${2}0/${user}$$" }, {
    "/eva/7": "/u/70/eva$",
    "/eva/x": "/eva/x",
  });
  assertRewrites({ pattern: "-", to: "_" }, { "/a-b-c": "/a_b_c" });
  assertRewrites({ pattern: "^/a(b)?", to: "/x$1$9${none}" }, { "/a/c": "/x/c", "/ab": "/xb" });
  assertRewrites({ pattern: "^/old/(.*)", to: "/new/$1" }, { "/%6fld/%41": "/new/A", "/old/%41": "/new/%41" });
});

test("PathEdits gives up where each of many matches looks at the whole path", () => {
  assert.equal(rewrite("/" + "b".repeat(8000), { pattern: "b.*z|b", to: "c" }), null);
  assert.equal(rewrite("/" + "b".repeat(200), { pattern: "b.*z|b", to: "c" }), "/" + "c".repeat(200));
  assert.equal(rewrite("/a" + "b".repeat(8000), { pattern: "a", to: "c" }), "/c" + "b".repeat(8000));
});

test("PathEdits strips, then looks for the pattern, then adds", () => {
  const all = { stripPrefix: "/api", addPrefix: "/v1", pattern: "^/old/(.*)", to: "/new/$1" };
  assertRewrites(all, { "/api/old/x": "/v1/new/x", "/api": "/v1/", "/old/y": "/v1/new/y" });
});

test("PathEdits is done in a moment with paths that are made to be slow, and captures that are made to be large", () => {
  const path = `/${"a".repeat(8000)}!`;
  assert.equal(rewrite(path, { pattern: "^/(a+)+$", to: "/x" }), path);
  const huge = rewrite(path, { pattern: "^/(.*)$", to: "/$1$1$1$1$1$1$1$1$1" });
  assert.equal(pathProblem(huge ?? ""), "The rewritten target is longer than 8 KiB");
  const many = rewrite(`/${"a".repeat(200)}`, { pattern: "a", to: "x".repeat(2000) });
  assert.ok(many !== null && many.length < 20_000);
});

test("pathProblem() finds nothing in what applications use", () => {
  const fine = [
    "/",
    "/a/b.c/..d/e../...",
    "/.well-known/acme-challenge/x",
    "/a//b",
    "/a%2Fb",
    "/a%20b/%e4%ff\xe4",
    "/a;v=1/b",
    "/%25",
    "/100%",
    "/a%252Fb",
    "/%zz",
    "/~x/$&'()*+,=:@!|{}[]^`<>\"",
    "/a\\b",
  ];
  for (const path of fine) assert.equal(pathProblem(path), null, path);
});

test("pathProblem() finds dot segments, however they are encoded", () => {
  const tricks = [
    "/..",
    "/../admin",
    "/a/../b",
    "/a/..",
    "/a/./b",
    "/.",
    "/%2e%2e/admin",
    "/%2E./admin",
    "/a/.%2e",
    "/a%2f..%2fb",
    "/a%2F%2e%2e%2Fb",
    "/a\\..\\b",
    "/a%5c..%5cb",
    "/..;/admin",
    "/..;x=1/admin",
    "/..%3b/admin",
    "/%252e%252e/admin",
    "/..%252fadmin",
    "/%25252e%25252e%25252fadmin",
    "/%c0%ae%c0%ae/admin",
    "/a/..%c0%afb",
    "/a/..%c1%9cb",
  ];
  for (const path of tricks) assert.equal(pathProblem(path), "The rewritten path has a dot segment", path);
});

test("pathProblem() finds what reads as an authority", () => {
  for (const path of ["//evil.test/x", "/\\evil.test", "/%2fevil.test", "/%2Fevil", "/%5cevil", "/%252fevil", "///"]) {
    assert.equal(pathProblem(path), "The rewritten path begins with two slashes", path);
  }
  for (const path of ["", "x", "evil.test", "*"]) {
    assert.equal(pathProblem(path), "The rewritten path does not begin with a slash", path);
  }
});

test("pathProblem() finds control bytes, also encoded ones", () => {
  for (const path of ["/a%00", "/a%0d%0aX: y", "/%0A", "/%1f", "/%7F", "/%250a", "/a\r\nb", "/a b", "/a\0", "/a?b", "/a#b"]) {
    assert.equal(pathProblem(path), "The rewritten path holds a control byte", JSON.stringify(path));
  }
});

const NO_EDITS: QueryRewrite = { set: [], add: [], remove: [] };

function query(before: string, edits: Partial<QueryRewrite>): string {
  const all = { ...NO_EDITS, ...edits };
  return new QueryEdits(all).apply(before, all.set.map(([, value]) => value), all.add.map(([, value]) => value));
}

test("QueryEdits leaves parameters that it does not name byte for byte", () => {
  const before = "b=%7e&&a=1+2&c&=x&%zz=%\xe4";
  assert.equal(query(before, {}), before);
  assert.equal(query(before, { remove: ["z"] }), before);
  assert.equal(query(before, { add: [["z", "1"]] }), `${before}&z=1`);
});

test("QueryEdits removes every parameter of a name, however it is spelled", () => {
  assert.equal(query("a=1&admin=1&b=2&%61dmin=2&admin&adm%69n=", { remove: ["admin"] }), "a=1&b=2");
  assert.equal(query("a b=1&a+b=2&a%20b=3&c=4", { remove: ["a b"] }), "c=4");
  assert.equal(query("%C3%A9=1&x=2", { remove: ["é"] }), "x=2");
  assert.equal(query("a=1", { remove: ["a"] }), "");
});

test("QueryEdits sets a parameter in the place of the first, or at the end", () => {
  assert.equal(query("a=1&b=2&a=3", { set: [["a", "9"]] }), "a=9&b=2");
  assert.equal(query("b=2", { set: [["a", "9"]] }), "b=2&a=9");
  assert.equal(query("", { set: [["a", "9"]], add: [["a", "8"]] }), "a=9&a=8");
});

test("QueryEdits encodes what it writes, so that a value is one value", () => {
  assert.equal(query("", { set: [["a", "x&admin=1#/?\r\n "]] }), "a=x%26admin%3D1%23%2F%3F%0D%0A%20");
  assert.equal(query("", { add: [["é&", "\xe4"]] }), "%C3%A9%26=%E4");
});
