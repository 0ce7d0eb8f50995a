/** The client's connection where dialogues cannot reach: limits, back-pressure, time, large bodies, what is recorded. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { H1Connection } from "../../src/downstream/h1-connection.ts";
import { later } from "../../src/runtime/later.ts";
import type { H1UpstreamConnection } from "../../src/upstream/h1-connection.ts";
import { comparable } from "../fixtures/dialogue.ts";
import { LIMITS, World } from "../fixtures/world.ts";
import { cutMessage } from "../fixtures/http1.ts";
import type { MemorySocket } from "../fixtures/memory-socket.ts";

const HOST = "Host: app.test\r\n";
const STYLES = ["at once", "later"] as const;

/** Resolves when the connections that waited for their turn have had it. */
const nextTurn = (): Promise<void> => new Promise((resolve) => later(resolve));

/** A world that is taken down at the end of its test. */
function world(
  overrides: ConstructorParameters<typeof World>[2] = {},
  style: "at once" | "later" = "at once",
  vms = 1,
): World {
  return new World(style, vms, overrides);
}

function send(from: World, socket: MemorySocket, bytes: string | Buffer): void {
  socket.send(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  from.network.settle();
}

/** Status and error code of the answer that the client got. */
function refusalIn(socket: MemorySocket): string {
  const text = comparable(socket.take());
  return `${/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "nothing"} ${/X-Edgeproxy-Error: (\w+)/.exec(text)?.[1] ?? ""}`;
}

function passTime(of: World, ms: number): void {
  of.sweep.nowMs += ms;
  (of.client.handler as H1Connection).onDeadline();
  of.network.settle();
}

const MALFORMED: Readonly<Record<string, string>> = {
  "a list for a host": "GET / HTTP/1.1\r\nHost: app.test, app.test\r\n\r\n",
  "user information in the host": "GET / HTTP/1.1\r\nHost: me@app.test\r\n\r\n",
  "a path in the host": "GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n",
  "an empty host": "GET / HTTP/1.1\r\nHost:\r\n\r\n",
  "a host with a bad port": "GET / HTTP/1.1\r\nHost: app.test:99999\r\n\r\n",
  "a host with bytes above 0x7f": "GET / HTTP/1.1\r\nHost: \xe4pp.test\r\n\r\n",
  "a malformed authority": "GET http://app.test:x/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
  "two framings":
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n${HOST}\r\n`,
};

for (const [what, request] of Object.entries(MALFORMED)) {
  test(`H1Connection answers 400 to ${what}, closes, and nothing reaches a VM`, () => {
    using w = world();
    send(w, w.client, request);
    assert.equal(refusalIn(w.client), "400 bad_request");
    assert.equal(w.client.state === "open", false);
    assert.equal(w.vm[0]!.take().length, 0);
    assert.deepEqual(w.outcomes, ["refused 400"]);
  });
}

test("H1Connection answers what is too large with its own status", () => {
  const requests: Readonly<Record<string, string>> = {
    "414 target_too_long": `GET /${"a".repeat(LIMITS.maxTargetBytes)} HTTP/1.1\r\n`,
    "431 head_too_large": `GET / HTTP/1.1\r\n${HOST}X: ${"a".repeat(LIMITS.maxHeadBytes)}`,
    "501 unsupported_coding": `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip\r\n\r\n`,
    "413 body_too_large": `POST / HTTP/1.1\r\n${HOST}Content-Length: 101\r\n\r\n`,
  };
  for (const [answer, request] of Object.entries(requests)) {
    using w = world({ maxBodyBytes: 100 });
    send(w, w.client, request);
    assert.equal(refusalIn(w.client), answer);
    assert.equal(w.client.state, "ended", "FIN, and reads on for a while");
    assert.equal(w.vm[0]!.take().length, 0);
  }
});

for (const style of STYLES) {
  test(`H1Connection stops a chunked body that grows too large, on sockets that close ${style}`, () => {
    using w = world({ maxBodyBytes: 5 }, style);
    send(w, w.client, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
    w.vm[0]!.take();
    send(w, w.client, "3\r\ndef\r\n0\r\n\r\n");
    assert.equal(refusalIn(w.client), "413 body_too_large");
    assert.deepEqual([w.vm[0]!.state, w.vm[0]!.take().toString()], ["reset", ""]);
    assert.equal(w.client.state, "ended");
  });

  test(`H1Connection never lets a body with a gap look whole behind a begun answer, on sockets that close ${style}`, () => {
    for (const bad of ["3\r\ndef\r\n0\r\n\r\n", "x\r\n0\r\n\r\n"]) {
      using w = world({ maxBodyBytes: 5 }, style);
      send(w, w.client, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
      send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwait");
      w.vm[0]!.take();
      send(w, w.client, bad);
      assert.deepEqual([w.client.state, w.vm[0]!.state, w.vm[0]!.take().toString()], ["reset", "reset", ""]);
      assert.deepEqual(w.outcomes, ["aborted 200"]);
    }
  });
}

test("H1Connection makes the VM wait for a client that does not read, and a client for a VM", () => {
  using w = world();
  const vm = w.vm[0]!;
  send(w, w.client, `POST / HTTP/1.1\r\n${HOST}Content-Length: 60000\r\n\r\n`);
  vm.stall();
  send(w, w.client, Buffer.alloc(20_000, "a"));
  send(w, w.client, Buffer.alloc(20_000, "b"));
  assert.equal(w.client.paused, true);
  send(w, w.client, Buffer.alloc(20_000, "c"));
  assert.ok(vm.pendingBytes <= 40_000);
  vm.drain();
  w.network.settle();
  assert.equal(w.client.paused, false);
  assert.equal(cutMessage(vm.take())!.body.toString(), "a".repeat(20_000) + "b".repeat(20_000) + "c".repeat(20_000));

  w.client.stall();
  send(w, vm, "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n");
  send(w, vm, Buffer.alloc(20_000, "x"));
  assert.equal(vm.paused, true);
  send(w, vm, Buffer.alloc(20_000, "y"));
  assert.equal(w.client.take().length, 0);
  w.client.drain();
  w.network.settle();
  assert.equal(cutMessage(w.client.take())!.body.toString(), "x".repeat(20_000) + "y".repeat(20_000));
  assert.deepEqual([vm.paused, w.outcomes], [false, ["forwarded 200"]]);
});

test("H1Connection starts no request while the client has not read the answers before", async () => {
  using w = world();
  w.client.stall();
  const request = `GET / HTTP/1.1\r\nHost: unknown.test\r\nX: ${"x".repeat(1000)}\r\n\r\n`;
  for (let sent = 0; sent < 500; sent++) send(w, w.client, request);
  assert.equal(w.outcomes.length, 1);
  assert.equal(w.client.paused, true, "what waits is bounded too");
  for (let rounds = 0; rounds < 500; rounds++) {
    w.client.drain();
    w.network.settle();
    await nextTurn();
  }
  w.network.settle();
  assert.equal(w.outcomes.length, 500);
  assert.equal(w.client.paused, false);
});

test("H1Connection notices a client that goes while its answer is under way, also behind a body", () => {
  using w = world();
  w.endpoint.judge("unprobed");
  send(w, w.client, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`);
  assert.equal(w.client.paused, true, "the body waits for the verdict");
  w.endpoint.judge("healthy");
  w.network.settle();
  assert.equal(w.client.paused, false);
  w.client.abort();
  w.network.settle();
  assert.equal(w.vm[0]!.state, "reset");
  assert.deepEqual(w.outcomes, ["aborted 0"]);
});

test("H1Connection passes large bodies both ways whole, however they are framed and cut", () => {
  const body = randomBytes(300_000);
  const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  const chunked = (size: number): Buffer => {
    const chunks: Buffer[] = [];
    for (let at = 0; at < body.length; at += size) {
      const chunk = body.subarray(at, at + size);
      chunks.push(Buffer.from(`000${chunk.length.toString(16)};x\r\n`), chunk, Buffer.from("\r\n"));
    }
    return Buffer.concat([...chunks, Buffer.from("0\r\n\r\n")]);
  };
  const framings: [fields: string, bytes: Buffer][] = [
    [`Content-Length: ${body.length}`, body],
    ["Transfer-Encoding: chunked", chunked(300_000)],
    ["Transfer-Encoding: chunked", chunked(17_000)],
    ["Transfer-Encoding: chunked", chunked(16_384)],
    ["Transfer-Encoding: chunked", chunked(1000)],
  ];
  const slices = (bytes: Buffer, size: number): Buffer[] => {
    // as sockets give them: each alone in its memory
    return Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, index) => Buffer.from(new Uint8Array(bytes.subarray(index * size, (index + 1) * size)).buffer),
    );
  };
  for (const [fields, bytes] of framings) {
    for (const size of [1_000_000, 65_536, 20_011, 4099]) {
      using w = world();
      const vm = w.vm[0]!;
      for (const part of slices(Buffer.concat([Buffer.from(`PUT / HTTP/1.1\r\n${HOST}${fields}\r\n\r\n`), bytes]), size)) {
        send(w, w.client, part);
      }
      assert.equal(digest(cutMessage(vm.take())!.body), digest(body), `request ${fields} in parts of ${size}`);
      for (const part of slices(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`), bytes]), size)) {
        send(w, vm, part);
      }
      assert.equal(digest(cutMessage(w.client.take())!.body), digest(body), `answer ${fields} in parts of ${size}`);
      assert.equal(w.endpoint.idle.length, 1);
    }
  }
});

test("H1Connection answers 408 to a head that is too slow, and closes idle connections without a word", () => {
  using slow = world();
  send(slow, slow.client, "GET / HT");
  passTime(slow, 10_000);
  assert.deepEqual([refusalIn(slow.client), slow.client.state], ["408 head_timeout", "ended"]);
  passTime(slow, 10_000);
  assert.equal(slow.client.state, "closed", "does not wait for ever for the client's FIN");

  using idle = world();
  passTime(idle, 10_000);
  assert.deepEqual([idle.client.take().length, idle.client.state, idle.outcomes], [0, "closed", []]);
});

test("H1Connection ends exchanges on which no byte moves", () => {
  using body = world();
  send(body, body.client, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\na`);
  passTime(body, 10_100);
  assert.deepEqual([refusalIn(body.client), body.vm[0]!.state], ["408 body_timeout", "reset"]);

  using answer = world();
  send(answer, answer.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  passTime(answer, 9999);
  assert.equal(answer.client.take().length, 0);
  passTime(answer, 101);
  assert.deepEqual([refusalIn(answer.client), answer.vm[0]!.state], ["504 stream_timeout", "reset"]);

  using begun = world();
  send(begun, begun.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  send(begun, begun.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwait");
  passTime(begun, 10_100);
  assert.deepEqual([begun.client.state, begun.vm[0]!.state], ["reset", "reset"]);
});

test("H1Connection says close while the process drains, and closes once idle", () => {
  using w = world();
  const connection = w.client.handler as H1Connection;
  send(w, w.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  w.environment.draining = true;
  connection.closeIdle();
  assert.equal(w.client.state, "open", "an exchange is running");
  send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  assert.match(w.client.take().toString(), /Connection: close\r\n\r\n$/);
  assert.equal(w.client.state, "ended", "a request under way must not meet a reset");

  using used = world();
  send(used, used.client, "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
  (used.client.handler as H1Connection).closeIdle();
  assert.equal(used.client.state, "closed");
});

test("H1Connection lets one more request come when its answer had begun before the drain", () => {
  using w = world();
  send(w, w.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  w.environment.draining = true;
  send(w, w.vm[0]!, "k");
  assert.equal(w.client.state, "open", "its head did not say close");
  w.client.take();
  send(w, w.client, "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
  assert.match(comparable(w.client.take()), /^HTTP\/1.1 404 [^]*Connection: close/);

  using quiet = world();
  send(quiet, quiet.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  send(quiet, quiet.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  quiet.environment.draining = true;
  send(quiet, quiet.vm[0]!, "k");
  passTime(quiet, 1000);
  assert.equal(quiet.client.state, "closed");
});

test("H1Connection breaks off when it ends before its answer has left", () => {
  const cases: Readonly<Record<string, (w: World) => void>> = {
    "at a drain, after the grace": (w) => (w.client.handler as H1Connection).cut(),
    "after the lingering": (w) => passTime(w, 60_000),
  };
  for (const [when, end] of Object.entries(cases)) {
    using w = world();
    w.client.stall();
    send(w, w.client, "GET / HTTP/1.0\r\nHost: unknown.test\r\n\r\n");
    end(w);
    assert.equal(w.client.state, "reset", when);
  }
});

test("H1Connection does not take back an answer that has left whole when a drain's grace is over", () => {
  for (const request of [`GET / HTTP/1.1\r\n${HOST}\r\n`, "GET / HTTP/1.1\r\n\r\n"]) {
    using w = world();
    send(w, w.client, request);
    send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert.equal((w.client.handler as H1Connection).cut(), false);
    assert.equal(w.client.state, "closed", "a reset would take what the client's kernel has not acknowledged");
  }
});

test("H1Connection leaves others their turn while it refuses many requests, and refuses every one", async () => {
  const count = 1000;
  for (const end of [false, true]) {
    using w = world();
    const answers = (): number => (w.client.take().toString().match(/HTTP\/1\.1 404 /g) ?? []).length;
    send(w, w.client, "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n".repeat(count));
    if (end) w.client.finish();
    let answered = answers();
    assert.ok(answered > 0 && answered < 20, String(answered));
    let before = 0;
    while (answered > before) {
      before = answered;
      await nextTurn();
      w.network.settle();
      answered += answers();
    }
    assert.equal(answered, count);
    assert.equal(w.client.state, end ? "closed" : "open");
  }
});

test("H1Connection gives a new connection its whole header timeout after a quiet spell", async () => {
  using w = world();
  w.sweep.close();
  w.sweep.nowMs = -100_000; // nobody has been watched for long
  const connection = new H1Connection(w.client, { address: "127.0.0.1", trusted: false, forwarded: null }, w.environment);
  assert.ok(connection.deadlineAtMs > performance.now());
  w.sweep.unwatch(connection);
  await Promise.resolve();
});

test("H1Connection does not take an empty line for the beginning of a request", () => {
  using w = world();
  send(w, w.client, "\r\n");
  passTime(w, 100_000);
  assert.equal(w.client.take().length, 0, "no 408 that the next request could take for its answer");
  assert.equal(w.client.state, "closed");
});

test("H1Connection holds no buffer of a request that has been answered", () => {
  using w = world();
  send(w, w.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  assert.ok((w.client.handler as H1Connection).head.fields.bytes.length > 0);
  send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  assert.equal((w.client.handler as H1Connection).head.fields.bytes.length, 0);
});

test("H1Connection does not let the head of a request hold a large receive buffer while it is under way", () => {
  const requests: Readonly<Record<string, string>> = {
    "with a body": `POST / HTTP/1.1\r\n${HOST}Accept: application/json\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(300_000)}`,
    "with requests behind it": `GET / HTTP/1.1\r\n${HOST}Accept: application/json\r\n\r\nGET /${"x".repeat(300_000)}`,
  };
  for (const [what, request] of Object.entries(requests)) {
    for (const before of ["", "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n"]) {
      using w = world();
      send(w, w.client, before + request);
      const { head } = w.client.handler as H1Connection;
      assert.ok(head.fields.bytes.buffer.byteLength < 100_000, what);
      assert.match(
        w.vm[0]!.take().toString(),
        /^(POST|GET) \/ HTTP\/1\.1\r\nHost: app\.test\r\nAccept: application\/json\r\n/,
        what,
      );
      w.client.take();
      send(w, w.vm[0]!, "nonsense\r\n\r\n");
      assert.match(
        w.client.take().toString(),
        /HTTP\/1\.1 502 [^]*"error":"upstream_protocol"/,
        `${what}: its fields are still read`,
      );
    }
  }
});

test("H1Connection answers 504 when the endpoint leaves a client waiting for 100", () => {
  using w = world();
  send(w, w.client, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n`);
  const upstream = w.vm[0]!.handler as H1UpstreamConnection;
  assert.ok(upstream.deadlineAtMs < Infinity, "the response timeout runs");
  send(w, w.vm[0]!, "HTTP/1.1 100 Continue\r\n\r\n");
  assert.equal(upstream.deadlineAtMs, Infinity, "it is the client's turn");
  send(w, w.client, "abc");
  assert.ok(upstream.deadlineAtMs < Infinity);
  upstream.onDeadline();
  w.network.settle();
  assert.match(w.client.take().toString(), /HTTP\/1.1 504 /);
});

test("H1Connection records how exchanges ended", () => {
  using w = world({}, "at once", 2);
  send(w, w.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  send(w, w.client, "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
  send(w, w.client, `GET / HTTP/1.1\r\n${HOST}\r\n`);
  send(w, w.vm[0]!, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  w.vm[0]!.abort();
  w.network.settle();
  assert.deepEqual(w.outcomes, ["forwarded 200", "refused 404", "truncated 200"]);
  assert.equal(w.client.state, "reset");
});
