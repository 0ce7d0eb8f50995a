import assert from "node:assert/strict";
import { test } from "node:test";
import { BodyMemory, KeptBody } from "../../src/forwarding/kept-body.ts";
import { HeaderList } from "../../src/wire/header-list.ts";

function text(body: KeptBody): string {
  return Buffer.concat([...body.chunks()]).toString();
}

test("a body is kept as it leaves, in copies, and can be sent again", () => {
  const body = new KeptBody(10, new BodyMemory(100));
  assert.equal(body.begun, false);
  const received = Buffer.from("hello");
  body.keep(received);
  received.fill(0);
  body.keep(Buffer.from("12345"));
  body.end(null);
  assert.deepEqual([text(body), body.whole, body.begun, body.ended], ["hello12345", true, true, true]);
});

test("a body that is too large, has trailers, or finds no memory is dropped, and its memory is given back", () => {
  const memory = new BodyMemory(12);
  const large = new KeptBody(10, memory);
  large.keep(Buffer.alloc(10));
  large.keep(Buffer.alloc(1));
  assert.deepEqual([large.whole, large.begun, memory.bytes], [false, true, 0]);
  large.keep(Buffer.alloc(1));
  assert.equal(memory.bytes, 0, "for good");

  const one = new KeptBody(10, memory), other = new KeptBody(10, memory);
  one.keep(Buffer.alloc(8));
  other.keep(Buffer.alloc(4));
  other.keep(Buffer.alloc(1));
  assert.deepEqual([one.whole, other.whole, memory.bytes], [true, false, 8]);
  one.end(new HeaderList());
  one.drop();
  assert.deepEqual([one.whole, memory.bytes], [false, 0]);
});
