/** Requests of a service with a retry policy, through the whole data plane on sockets in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keptBodyBytes } from "../../src/forwarding/retries.ts";
import { Policies } from "../../src/table/policies.ts";
import type { FieldEdits, PolicyRoute, RetryPolicy } from "../../src/table/policy.ts";
import { comparable } from "../fixtures/dialogue.ts";
import { type Dial, World } from "../fixtures/world.ts";
import type { MemorySocket } from "../fixtures/memory-socket.ts";
import { filePolicies, policyRoute, service, serviceEndpoint } from "../fixtures/policies.ts";

const POLICY: RetryPolicy = {
  attempts: 3,
  on: ["connect", "reset", "timeout"],
  statuses: [{ from: 503, to: 503 }],
  budget: 1,
  backoffMs: 0,
  maxBodyBytes: 1000,
  totalMs: 0,
};
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";

/** A service with two endpoints, and what becomes of connections to them. */
function world(
  dials: readonly Dial[],
  policy: Partial<RetryPolicy> = {},
  route: Partial<PolicyRoute> = {},
): World {
  const made = new World("later", 0);
  const users = service("users", ["10.0.0.5:80", "10.0.0.6:80"], { retry: { ...POLICY, ...policy } });
  made.leaveTable(); // or its bare route would come first
  made.enforce(new Policies(filePolicies([users], [policyRoute("all", "users", route)]), new Map()));
  for (const endpoint of users.endpoints ?? []) made.endpoints.of(endpoint).judge("healthy");
  made.dials.push(...dials);
  return made;
}

function reset(w: World, socket: MemorySocket): void {
  socket.abort();
  w.network.settle();
}

function answer(w: World): string {
  const text = comparable(w.client.take());
  const attempts = /X-Edgeproxy-Attempts: (\d+)/.exec(text)?.[1] ?? "none";
  return `${/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "nothing"} after ${attempts}`;
}

/** Body of what an endpoint has got, behind its head. */
function body(socket: MemorySocket): string {
  const text = socket.take().toString();
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

function request(method: string, length: number, ...fields: string[]): string {
  return [`${method} / HTTP/1.1`, "Host: app.test", `Content-Length: ${length}`, ...fields, "", ""].join("\r\n");
}

/** Nobody else keeps anything in this process. */
function nothingKept(): void {
  assert.equal(keptBodyBytes(), 0);
}

test("a refused POST goes to the other endpoint, with its body", () => {
  using w = world(["refused", "open"]);
  w.say(w.client, request("POST", 3) + "abc");
  assert.equal(new Set(w.dialled).size, 2);
  assert.equal(body(w.vm[0]!), "abc");
  w.say(w.vm[0]!, OK);
  assert.equal(answer(w), "200 after 2");
  nothingKept();
});

test("an answer of ours says nothing of attempts if there was none", () => {
  using w = world([]);
  for (const key of w.endpoints.policed()) w.endpoints.of(w.endpoints.find(key)!).judge("unhealthy");
  w.say(w.client, request("GET", 0));
  assert.deepEqual([answer(w), w.dialled], ["503 after none", []]);
});

test("a POST whose connection breaks is not sent again, whatever had been sent", () => {
  for (const sent of ["", "a", "abc"]) {
    using w = world(["open"]);
    w.say(w.client, request("POST", 3) + sent);
    reset(w, w.vm[0]!);
    assert.deepEqual([answer(w), w.dialled.length], ["502 after 1", 1], JSON.stringify(sent));
  }
  nothingKept();
});

test("a PUT that breaks in the middle of its body is sent again from its beginning", () => {
  using w = world(["open", "open"]);
  w.say(w.client, `${request("PUT", 9)}abc`);
  w.say(w.client, "def");
  assert.equal(body(w.vm[0]!), "abcdef");
  reset(w, w.vm[0]!);
  assert.equal(body(w.vm[1]!), "abcdef");
  w.say(w.client, "ghi");
  assert.equal(w.vm[1]!.take().toString(), "ghi");
  w.say(w.vm[1]!, OK);
  assert.equal(answer(w), "200 after 2");
  nothingKept();
});

test("a PUT in chunks is sent again in chunks", () => {
  using w = world(["open", "open"]);
  w.say(w.client, "PUT / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
  reset(w, w.vm[0]!);
  assert.equal(body(w.vm[1]!), "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
  w.say(w.vm[1]!, OK);
  assert.equal(answer(w), "200 after 2");
  nothingKept();
});

test("a body with trailers, or one that grows too large, is sent once", () => {
  const head = "PUT / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const sent of ["3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", `3e9\r\n${"x".repeat(1001)}\r\n0\r\n\r\n`]) {
    using w = world(["open"]);
    w.say(w.client, head + sent);
    reset(w, w.vm[0]!);
    assert.equal(answer(w), "502 after 1");
  }
  using announced = world(["open"]);
  announced.say(announced.client, request("PUT", 1001) + "x".repeat(1001));
  reset(announced, announced.vm[0]!);
  assert.equal(answer(announced), "502 after 1");
  nothingKept();
});

test("an answer that is not wanted goes nowhere, also when it comes before the body is complete", () => {
  using w = world(["open", "open"]);
  w.say(w.client, `${request("PUT", 6)}abc`);
  w.say(w.vm[0]!, BUSY);
  assert.equal(w.client.take().length, 0);
  w.say(w.client, "def");
  assert.equal(body(w.vm[1]!), "abcdef");
  w.say(w.vm[1]!, OK);
  assert.equal(answer(w), "200 after 2");
  nothingKept();
});

test("what comes of a body while its request waits for the next attempt is not lost, also where it is not kept", () => {
  const users = serviceEndpoint("users", "10.0.0.6:80");
  using w = world(["open", "open"], { maxBodyBytes: 2 });
  w.endpoints.of(users).judge("unprobed");
  w.say(w.client, request("DELETE", 6));
  assert.equal(w.dialled.length, 1);
  w.say(w.vm[0]!, BUSY);
  w.say(w.client, "abc");
  w.say(w.client, "def");
  w.endpoints.of(users).judge("healthy");
  w.network.settle();
  assert.equal(body(w.vm[1]!), "abcdef");
  w.say(w.vm[1]!, OK);
  assert.equal(answer(w), "200 after 2");
});

test("the last attempt's answer is the answer, and so is that to an unsafe request", () => {
  using w = world(["open", "open"], { attempts: 2 });
  w.say(w.client, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
  w.say(w.vm[0]!, BUSY);
  w.say(w.vm[1]!, BUSY);
  assert.equal(answer(w), "503 after 2");

  using unsafe = world(["open"]);
  unsafe.say(unsafe.client, `${request("POST", 3)}abc`);
  unsafe.say(unsafe.vm[0]!, BUSY);
  assert.equal(answer(unsafe), "503 after 1");
});

test("a pooled connection that turns out dead is one of the attempts, where the policy retries on reset", () => {
  using w = world(["open", "open", "open", "open"], { attempts: 2, backoffMs: 0, budget: 0 });
  w.say(w.client, "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n");
  w.say(w.vm[0]!, OK);
  assert.equal(answer(w), "200 after 1");
  const held = w.vm[0]!;
  const states = [...["10.0.0.5:80", "10.0.0.6:80"].map((at) => w.endpoints.of(serviceEndpoint("users", at)))];
  const [warm, cold] = states[0]!.idle.length > 0 ? states : states.toReversed();
  cold!.judge("unhealthy");
  w.say(w.client, "GET /b HTTP/1.1\r\nHost: app.test\r\n\r\n");
  assert.match(held.take().toString(), /^GET \/a[^]*GET \/b /);
  reset(w, held);
  assert.equal(w.vm.length, 2, "the only endpoint, on a new connection");
  reset(w, w.vm[1]!);
  assert.deepEqual([answer(w), w.vm.length], ["502 after 2", 2]);
  assert.equal(warm!.idle.length, 0);
});

test("a pooled connection that turns out dead is replaced where the policy says nothing of resets", () => {
  using w = world(["open", "open"], { attempts: 2, on: ["connect"] });
  w.say(w.client, "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n");
  w.say(w.vm[0]!, OK);
  assert.equal(answer(w), "200 after 1");
  for (const at of ["10.0.0.5:80", "10.0.0.6:80"]) {
    const state = w.endpoints.of(serviceEndpoint("users", at));
    if (state.idle.length === 0) state.judge("unhealthy");
  }
  w.say(w.client, "GET /b HTTP/1.1\r\nHost: app.test\r\n\r\n");
  reset(w, w.vm[0]!);
  w.say(w.vm[1]!, OK);
  assert.equal(answer(w), "200 after 2");
});

test("a POST with Idempotency-Key is sent again only if its VM has seen that key", () => {
  const key = "Idempotency-Key: 1";
  const edits = (change: Partial<FieldEdits>) => ({ requestFields: { set: [], add: [], remove: [], ...change } });
  const cases: readonly [fields: readonly string[], route: Partial<PolicyRoute>, answer: string][] = [
    [[key], {}, "200 after 2"],
    [[key, "Connection: Idempotency-Key"], {}, "502 after 1"],
    [[key], edits({ remove: ["idempotency-key"] }), "502 after 1"],
    [[key], edits({ set: [["Idempotency-Key", "{cookie:none}"]] }), "502 after 1"],
    [[key], edits({ set: [["idempotency-key", "{request_id}"]] }), "200 after 2"],
  ];
  for (const [fields, route, expected] of cases) {
    using w = world(["open", "open"], {}, route);
    w.say(w.client, `${request("POST", 3, ...fields)}abc`);
    reset(w, w.vm[0]!);
    if (w.vm.length > 1) w.say(w.vm[1]!, OK);
    assert.equal(answer(w), expected, JSON.stringify([fields, route]));
  }
  nothingKept();
});

test("a client that waits for 100 is told so once, and its body is sent again without asking", () => {
  using w = world(["open", "open"]);
  w.say(w.client, request("PUT", 3, "Expect: 100-continue"));
  w.say(w.vm[0]!, "HTTP/1.1 100 Continue\r\n\r\n");
  assert.match(w.client.take().toString(), /^HTTP\/1\.1 100 /);
  w.say(w.client, "abc");
  reset(w, w.vm[0]!);
  assert.equal(body(w.vm[1]!), "abc");
  w.say(w.vm[1]!, `HTTP/1.1 100 Continue\r\n\r\n${OK}`);
  assert.equal(answer(w), "200 after 2");
  nothingKept();
});

test("a client that leaves while its request waits for the next attempt leaves nothing behind", () => {
  for (const method of ["GET", "PUT"]) {
    using w = world(["open"], { backoffMs: 60_000 });
    w.say(w.client, `${request(method, 6)}abc`);
    reset(w, w.vm[0]!);
    assert.equal(w.metrics.exchangesWaiting, 1);
    w.client.abort();
    w.network.settle();
    assert.deepEqual([w.metrics.exchangesWaiting, w.metrics.exchangesActive, w.outcomes], [0, 0, ["aborted 0"]]);
  }
  nothingKept();
});

test("with no other endpoint left to try, the first is tried again", () => {
  using w = world(["open", "refused"], { attempts: 4 });
  w.say(w.client, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
  w.vm[0]!.take();
  w.say(w.vm[0]!, BUSY);
  // The other one has refused; the first is as good as it was, and so is its connection
  assert.match(w.vm[0]!.take().toString(), /^GET /);
  w.say(w.vm[0]!, OK);
  assert.deepEqual([answer(w), new Set(w.dialled).size], ["200 after 3", 2]);
});

test("no attempt begins, and none goes on, when the time for all of them is over", () => {
  using w = world(["open"], { totalMs: 5000 });
  w.say(w.client, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
  const connection = w.vm[0]!.handler as unknown as { deadlineAtMs: number };
  assert.ok(connection.deadlineAtMs <= performance.now() + 5000, "below the response timeout of ten seconds");
});

test("requests that are answered without an attempt allow no retries", () => {
  using w = world(["open"], { budget: 0.2, attempts: 100 }, { maxBodyBytes: 1 });
  for (let i = 0; i < 200; i++) w.say(w.client, `${request("PUT", 2)}no`);
  assert.equal(w.client.take().toString().match(/HTTP\/1\.1 413 /g)?.length, 200);
  w.dials.push("open", "open");
  w.say(w.client, request("GET", 0));
  let attempts = 0;
  for (; attempts < 60 && w.client.take().length === 0; attempts++) w.say(w.vm.find((vm) => vm.take().length > 0)!, BUSY);
  assert.equal(attempts, 11, "the ten that are always allowed");
});
