/** Every exchange that ends badly has a code, also those that get no answer: what the record says at the end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { H1Connection } from "../../src/downstream/h1-connection.ts";
import { blameOf } from "../../src/observation/proxy-error.ts";
import { World } from "../fixtures/world.ts";
import type { MemorySocket } from "../fixtures/memory-socket.ts";

const GET = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nhalf";
const UPGRADE = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const HALF = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

class EndsWorld extends World {
  /** `outcome status code blame` of each exchange that has ended. */
  readonly ends: string[];

  constructor(style: "at once" | "later") {
    const ends: string[] = [];
    super(style, 1, {
      exchangeEnded: ({ record: { outcome, status, code, upstreamKind } }) => {
        ends.push([outcome, status, ...(code === null ? [] : [code, blameOf(code, upstreamKind)])].join(" "));
      },
    });
    this.ends = ends;
  }

  /** Of nothing that moves, until the client's connection has had enough. */
  wait(): void {
    this.sweep.nowMs += 11_000;
    (this.client.handler as H1Connection).onDeadline();
    this.network.settle();
  }

  cut(): boolean {
    const cut = (this.client.handler as H1Connection).cut();
    this.network.settle();
    return cut;
  }
}

const CASES: readonly [what: string, play: (w: EndsWorld) => void, end: string][] = [
  ["the client resets within a head", (w) => (w.say(w.client, "GET / HT"), w.client.abort()), "aborted 0 client_gone client"],
  ["the client ends within a head", (w) => (w.say(w.client, GET.slice(0, -2)), w.client.finish()), "aborted 0 client_gone client"],
  ["the client resets within a head behind an empty line", (w) => {
    w.say(w.client, "\r\n");
    w.say(w.client, "G");
    w.client.abort();
  }, "aborted 0 client_gone client"],
  ["the client ends within its body", (w) => (w.say(w.client, POST), w.client.finish()), "aborted 0 client_gone client"],
  ["the client leaves before an answer", (w) => (w.say(w.client, GET), w.client.abort()), "aborted 0 client_gone client"],
  ["the client leaves within its answer", (w) => {
    w.say(w.client, GET);
    w.say(w.vm[0]!, HALF);
    w.client.abort();
  }, "aborted 200 client_gone client"],
  ["the client takes nothing of its answer", (w) => {
    w.say(w.client, GET);
    w.client.stall();
    w.say(w.vm[0]!, HALF);
    w.wait();
  }, "aborted 200 send_timeout client"],
  ["the VM stops within its answer", (w) => {
    w.say(w.client, GET);
    w.say(w.vm[0]!, HALF);
    w.wait();
  }, "truncated 200 stream_timeout vm"],
  ["the VM breaks off its answer", (w) => {
    w.say(w.client, GET);
    w.say(w.vm[0]!, HALF);
    w.vm[0]!.abort();
  }, "truncated 200 upstream_reset vm"],
  ["the client resets a tunnel", (w) => {
    w.say(w.client, UPGRADE);
    w.say(w.vm[0]!, SWITCH);
    w.client.abort();
  }, "tunnelled 101 client_gone client"],
  ["the VM resets a tunnel", (w) => {
    w.say(w.client, UPGRADE);
    w.say(w.vm[0]!, SWITCH);
    w.vm[0]!.abort();
  }, "tunnelled 101 upstream_reset vm"],
  ["both sides end a tunnel", (w) => {
    w.say(w.client, UPGRADE);
    w.say(w.vm[0]!, SWITCH);
    w.client.finish();
    w.vm[0]!.finish();
  }, "tunnelled 101"],
  ["the drain cuts a head", (w) => (w.say(w.client, "GET / HTTP/1.1\r\n"), assert.ok(w.cut())), "aborted 0 cut_off edge"],
  ["the drain cuts a request that waits", (w) => (w.say(w.client, GET), assert.ok(w.cut())), "aborted 0 cut_off edge"],
  ["the drain cuts a tunnel", (w) => {
    w.say(w.client, UPGRADE);
    w.say(w.vm[0]!, SWITCH);
    assert.ok(w.cut());
  }, "tunnelled 101 cut_off edge"],
];

for (const style of ["at once", "later"] as const) {
  for (const [what, play, end] of CASES) {
    test(`an exchange has its code when ${what}, on sockets that close ${style}`, () => {
      using w = new EndsWorld(style);
      play(w);
      w.network.settle();
      assert.deepEqual(w.ends, [end]);
      assert.equal(w.metrics.exchangesActive, 0);
      w.leave();
    });
  }
}

test("a connection that says nothing, or closes between two requests, is no exchange", () => {
  using w = new EndsWorld("later");
  w.say(w.client, "\r\n");
  w.client.finish();
  w.network.settle();
  assert.deepEqual(w.ends, []);
});

test("an exchange knows when it began, was complete and was answered", () => {
  let times: number[] = [];
  using w = Object.assign(
    new World("later", 1, {
      exchangeEnded: ({ record: { startedAtMs, headAtMs, answeredAtMs, attempts, reused } }) => {
        times = [startedAtMs, headAtMs, answeredAtMs, attempts, Number(reused)];
      },
    }),
    {
      [Symbol.dispose]() {
        w.sweep.close();
      },
    },
  );
  const say = (socket: MemorySocket, text: string): void => (socket.send(Buffer.from(text)), w.network.settle());
  say(w.client, GET.slice(0, 5));
  const begun = performance.now();
  while (performance.now() === begun); // the clock has moved on
  say(w.client, GET.slice(5));
  const complete = performance.now();
  while (performance.now() === complete);
  say(w.vm[0]!, HALF + " whole");
  const [startedAtMs, headAtMs, answeredAtMs, attempts, reused] = times as [number, number, number, number, number];
  assert.ok(startedAtMs <= begun && begun < headAtMs && headAtMs <= complete && complete < answeredAtMs, String(times));
  assert.deepEqual([attempts, reused], [1, 1]);
});
