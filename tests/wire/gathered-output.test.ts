/** One output buffer for many: nothing is lost, nothing is mixed up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GatheredOutput, type Outlet } from "../../src/wire/gathered-output.ts";

class Collecting implements Outlet {
  readonly delivered: string[] = [];

  deliver(scratch: Buffer, length: number): void {
    this.delivered.push(scratch.toString("latin1", 0, length));
  }
}

test("GatheredOutput sends in one write what one outlet gathers", () => {
  const output = new GatheredOutput(), outlet = new Collecting();
  output.open(outlet).text("a");
  output.open(outlet).text("b");
  output.flush(outlet);
  output.flush(outlet);
  assert.deepEqual(outlet.delivered, ["ab"]);
});

test("GatheredOutput sends the bytes of the one before when another outlet wants it", () => {
  const output = new GatheredOutput(), first = new Collecting(), second = new Collecting();
  output.open(first).text("1");
  output.open(second).text("2");
  output.flush(first);
  output.open(first).text("3");
  output.flush(first);
  assert.deepEqual([first.delivered, second.delivered], [["1", "3"], ["2"]]);
});

test("GatheredOutput forgets what a lost outlet has gathered", () => {
  const output = new GatheredOutput(), lost = new Collecting(), next = new Collecting();
  output.open(lost).text("lost");
  output.drop(lost);
  output.open(next).text("next");
  output.drop(lost);
  output.flush(next);
  assert.deepEqual([lost.delivered, next.delivered], [[], ["next"]]);
});

test("GatheredOutput grows beyond its first size", () => {
  const output = new GatheredOutput(), outlet = new Collecting();
  const text = "x".repeat(300_000);
  output.open(outlet).text("y");
  output.open(outlet).text(text);
  output.flush(outlet);
  assert.deepEqual(outlet.delivered, [`y${text}`]);
});

test("prepend() puts what is gathered right before a chunk where there is room", () => {
  const output = new GatheredOutput(), outlet = new Collecting(), other = new Collecting();
  const received = Buffer.from(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\nbody").buffer);
  const body = received.subarray(received.length - 4);
  assert.equal(output.prepend(outlet, body), null, "nothing is gathered");
  output.open(outlet).text("head ");
  assert.equal(output.prepend(other, body), null, "gathered by another");
  assert.equal(output.prepend(outlet, received.subarray(2)), null, "no room");
  assert.equal(output.prepend(outlet, body)?.toString(), "head body");
  output.flush(outlet);
  assert.deepEqual(outlet.delivered, [], "nothing is sent twice");
});
