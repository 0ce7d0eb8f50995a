/** The loop guard reads Via. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { edgesPassed, isLoop, pseudonym } from "../../src/decision/loop.ts";

test("edgesPassed() finds edges among other proxies, oldest first", () => {
  assert.deepEqual(edgesPassed(null), []);
  assert.deepEqual(edgesPassed(""), []);
  assert.deepEqual(edgesPassed("1.1 cdn"), []);
  assert.deepEqual(edgesPassed("1.0 edgeproxy-A,1.1 cdn ,HTTP/1.1\tedgeproxy-b (comment)"), ["edgeproxy-a", "edgeproxy-b"]);
});

test("edgesPassed() takes only whole names for edges", () => {
  assert.deepEqual(edgesPassed("1.1 my-edgeproxy-a, edgeproxy-b, 1.1 (edgeproxy-c)"), []);
});

test("isLoop() is the own name, or three edges", () => {
  const own = pseudonym("a");
  assert.equal(isLoop([], own), false);
  assert.equal(isLoop(["edgeproxy-b", "edgeproxy-c"], own), false);
  assert.equal(isLoop(["edgeproxy-b", own], own), true);
  assert.equal(isLoop(["edgeproxy-b", "edgeproxy-c", "edgeproxy-d"], own), true);
});
