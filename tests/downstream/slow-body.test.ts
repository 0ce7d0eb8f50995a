/** Request bodies that come slowly: when it is the client's fault and ends, and when it is not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { H1Connection } from "../../src/downstream/h1-connection.ts";
import type { H1UpstreamConnection } from "../../src/upstream/h1-connection.ts";
import { comparable } from "../fixtures/dialogue.ts";
import { World } from "../fixtures/world.ts";

const STEP_MS = 1000;
const STREAM_MS = 30_000;
/** 100 bytes a second, after 10 s. */
const PACE = { bytesPerSecond: 100, graceMs: 10_000, mostMs: 30_000 };
const CHUNKED_POST = "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";

function world(overrides: ConstructorParameters<typeof World>[2] = {}): World {
  return new World("at once", 1, { streamTimeoutMs: STREAM_MS, bodyPace: PACE, ...overrides });
}

/** A chunk with so many bytes of body. */
function chunk(size: number): string {
  return `${size.toString(16)}\r\n${"x".repeat(size)}\r\n`;
}

/** Lets seconds pass as the sweep sees them, `every` second being played. Answers how many until the client got something. */
function secondsUntilAnswered(of: World, atMost: number, every: (second: number) => void): number {
  for (let second = 1; second <= atMost; second++) {
    every(second);
    of.sweep.nowMs += STEP_MS;
    const connection = of.client.handler as H1Connection;
    if (of.sweep.isDue(connection)) connection.onDeadline();
    of.network.settle();
    if (of.client.state !== "open") return second;
  }
  return Infinity;
}

/** Status and error code of the answer that the client got. */
function answer(of: World): string {
  const text = comparable(of.client.take());
  return `${/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "nothing"} ${/X-Edgeproxy-Error: (\w+)/.exec(text)?.[1] ?? ""}`.trim();
}

test("a body that dribbles is answered with 408, the client's connection closes, the VM's is cut", () => {
  using w = world();
  w.say(w.client, CHUNKED_POST);
  const seconds = secondsUntilAnswered(w, 100, () => w.say(w.client, chunk(1)));
  assert.equal(seconds, 11, "10 s of grace, and 10 ms for each byte");
  assert.deepEqual([answer(w), w.client.state, w.vm[0]!.state], ["408 body_timeout", "ended", "reset"]);
  assert.deepEqual(w.outcomes, ["refused 408"]);
});

test("trailers, extensions and chunk sizes that dribble are no body", () => {
  for (const [what, begin, dribble] of [["trailers", "0\r\nX: ", "a"], ["an extension", "1;", "e"], ["a size", "", "0"]] as const) {
    using w = world();
    w.say(w.client, CHUNKED_POST + begin);
    const seconds = secondsUntilAnswered(w, 100, () => w.say(w.client, dribble));
    assert.ok(seconds <= 12, what);
    assert.match(answer(w), /^40[08] /, what);
    assert.equal(w.vm[0]!.state, "reset");
  }
});

test("a body that keeps the pace lives for as long as it takes", () => {
  using w = world();
  w.say(w.client, CHUNKED_POST);
  assert.equal(secondsUntilAnswered(w, 3600, () => w.say(w.client, chunk(101))), Infinity);
  w.say(w.client, "0\r\n\r\n");
  w.say(w.vm[0]!, "HTTP/1.1 204 No Content\r\n\r\n");
  assert.equal(answer(w), "204");
});

test("a body that came fast may pause for as long as one that stands still, and dribble no longer", () => {
  using w = world();
  w.say(w.client, CHUNKED_POST + chunk(100_000));
  const seconds = secondsUntilAnswered(w, 100, () => w.say(w.client, chunk(1)));
  assert.ok(seconds >= 31 && seconds <= 42, `${seconds} s: what it has gained is looked at once in 10 s`);
  assert.equal(answer(w), "408 body_timeout");
});

test("a body is not slow while nobody has taken it on", () => {
  using w = world();
  w.endpoint.judge("unprobed");
  w.dials.push("open");
  w.say(w.client, CHUNKED_POST + chunk(1));
  assert.equal(secondsUntilAnswered(w, 25, () => {}), Infinity, "a verdict is awaited");
  w.endpoint.judge("healthy");
  w.network.settle();
  assert.equal(secondsUntilAnswered(w, 100, () => w.say(w.client, chunk(1))), 11, "from now on it counts");
});

test("a body is not slow while the VM does not take it", () => {
  using w = world();
  w.say(w.client, CHUNKED_POST);
  const vm = w.vm[0]!;
  vm.stall();
  w.say(w.client, chunk(20_000));
  assert.equal(w.client.paused, true);
  assert.equal(secondsUntilAnswered(w, 600, () => vm.takeSome(10)), Infinity, "the VM takes some: that is life");
  vm.drain();
  w.network.settle();
  w.say(w.client, "0\r\n\r\n");
  assert.equal(w.client.state, "open");
});

test("the response timeout of an upload begins when the VM has taken it, not when the client has sent it", () => {
  using w = world();
  const vm = w.vm[0]!;
  vm.stall();
  w.say(w.client, CHUNKED_POST + chunk(20_000) + "0\r\n\r\n");
  const upstream = vm.handler as H1UpstreamConnection;
  const RESPONSE_MS = 10_000; // of the world
  for (let second = 1; second <= 30; second++) {
    assert.equal(upstream.deadlineAtMs, w.sweep.nowMs + RESPONSE_MS);
    w.sweep.nowMs += STEP_MS;
    if (second < 30) vm.takeSome(100);
    else vm.drain();
  }
  assert.equal(upstream.deadlineAtMs, w.sweep.nowMs + RESPONSE_MS);
  w.sweep.nowMs += RESPONSE_MS + 100;
  assert.ok(w.sweep.isDue(upstream));
  upstream.onDeadline();
  assert.equal(answer(w), "504 response_timeout");
});

test("an upload that its VM does not take at all ends by the stream timeout, as nobody's fault but the VM's", () => {
  using w = world();
  w.say(w.client, CHUNKED_POST);
  w.vm[0]!.stall();
  w.say(w.client, chunk(20_000));
  assert.equal(secondsUntilAnswered(w, 100, () => {}), 31);
  assert.deepEqual([answer(w), w.vm[0]!.state], ["504 stream_timeout", "reset"]);
});

test("a client that waits for 100 has no pace to keep, until it has been told to go on or has begun", () => {
  const post = CHUNKED_POST.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
  using told = world();
  told.say(told.client, post);
  assert.equal(secondsUntilAnswered(told, 25, () => {}), Infinity);
  told.say(told.vm[0]!, "HTTP/1.1 100 Continue\r\n\r\n");
  assert.equal(secondsUntilAnswered(told, 100, () => told.say(told.client, chunk(1))), 11);
  assert.match(told.client.take().toString(), /^HTTP\/1\.1 100 [^]*HTTP\/1\.1 408 /);

  using begun = world();
  begun.say(begun.client, post);
  assert.ok(secondsUntilAnswered(begun, 100, () => begun.say(begun.client, chunk(1))) <= 22, "noticed at the first look");
  assert.equal(answer(begun), "408 body_timeout");

  using silent = world();
  silent.say(silent.client, post);
  assert.equal(secondsUntilAnswered(silent, 100, () => {}), 31);
  assert.equal(answer(silent), "504 stream_timeout", "the client was never told to go on");
});

test("a body whose answer has begun may be as slow as it likes", () => {
  using w = world();
  w.say(w.client, CHUNKED_POST);
  w.say(w.vm[0]!, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  assert.equal(secondsUntilAnswered(w, 600, () => w.say(w.client, chunk(1))), Infinity);
  w.say(w.client, "0\r\n\r\n");
  w.say(w.vm[0]!, "0\r\n\r\n");
  assert.deepEqual(w.outcomes, ["forwarded 200"]);
});

test("bytes in a tunnel may be as rare as they like", () => {
  using w = world();
  w.say(w.client, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  w.say(w.vm[0]!, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  assert.equal(secondsUntilAnswered(w, 600, () => w.say(w.client, "x")), Infinity);
});

test("each request of a connection has its own grace", () => {
  using w = world();
  for (let request = 0; request < 4; request++) {
    w.say(w.client, CHUNKED_POST);
    assert.equal(secondsUntilAnswered(w, 9, () => w.say(w.client, chunk(1))), Infinity);
    w.say(w.client, "0\r\n\r\n");
    w.say(w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert.equal(answer(w), "200");
  }
  w.say(w.client, CHUNKED_POST);
  assert.equal(secondsUntilAnswered(w, 100, () => w.say(w.client, chunk(1))), 11);
});

test("without a minimum rate only a body that stands still ends", () => {
  using w = world({ bodyPace: { ...PACE, bytesPerSecond: 0 } });
  w.say(w.client, CHUNKED_POST);
  assert.equal(secondsUntilAnswered(w, 600, () => w.say(w.client, chunk(1))), Infinity);
  assert.equal(secondsUntilAnswered(w, 100, () => {}), 30);
  assert.equal(answer(w), "408 body_timeout");
});

test("the rest of a body that nobody wants is read for a bounded time, whatever comes", () => {
  using w = world();
  w.say(w.client, "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 60000\r\n\r\n");
  assert.equal(answer(w), "404 no_route");
  assert.equal(secondsUntilAnswered(w, 100, () => w.say(w.client, "x")), 6);
  assert.equal(w.client.state, "closed");
});

test("the rest of a body is read no longer when the client was slow to take the answer before", () => {
  using w = world();
  w.client.stall();
  w.say(w.client, "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 60000\r\n\r\n");
  assert.equal(secondsUntilAnswered(w, 20, () => w.say(w.client, "x")), Infinity, "it may still take its answer");
  w.client.drain();
  w.network.settle();
  assert.equal(secondsUntilAnswered(w, 100, () => w.say(w.client, "x")), 6);
});

test("a connection that has had its last answer is read for a bounded time, whatever comes", () => {
  using w = world();
  w.say(w.client, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
  assert.deepEqual([answer(w), w.client.state], ["400 bad_request", "ended"]);
  for (let second = 1; second <= 3; second++) {
    w.say(w.client, "x".repeat(1000));
    w.sweep.nowMs += STEP_MS;
    const connection = w.client.handler as H1Connection;
    if (w.sweep.isDue(connection)) connection.onDeadline();
  }
  assert.equal(w.client.state, "closed");
});

test("a head has its time from its first byte, however its bytes come and whatever came before it", () => {
  for (const before of ["", "\r\n", "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n"]) {
    using w = world();
    w.say(w.client, `${before}GET / HTTP/1.1\r\nX: `);
    w.client.take();
    assert.equal(secondsUntilAnswered(w, 100, () => w.say(w.client, "a\r\nb: ")), 11, JSON.stringify(before));
    assert.equal(answer(w), "408 head_timeout");
  }
});
