import { test } from "node:test";
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LineWriter, type WriteBytes } from "../../src/observation/line-writer.ts";

/** A descriptor that takes at most `takes` bytes per call and throws EAGAIN when the script says so. */
function slowDescriptor(script: (number | "EAGAIN" | "EPIPE")[]): { write: WriteBytes; text: () => string; calls: () => number } {
  let text = "";
  let calls = 0;
  return {
    write: (bytes, offset) => {
      calls++;
      const step = script.shift() ?? bytes.length;
      if (typeof step === "string") throw Object.assign(new Error(step), { code: step });
      const taken = Math.min(step, bytes.length - offset);
      text += new TextDecoder().decode(bytes.subarray(offset, offset + taken));
      return taken;
    },
    text: () => text,
    calls: () => calls,
  };
}

test("LineWriter writes many lines with one system call", () => {
  const descriptor = slowDescriptor([]);
  const writer = new LineWriter({ write: descriptor.write });
  for (let i = 0; i < 100; i++) writer.write(`line ${i}`);
  assert.equal(descriptor.calls(), 0);
  assert.equal(writer.flush(), true);
  assert.equal(descriptor.calls(), 1);
  assert.equal(descriptor.text().split("\n").length, 101);
});

test("LineWriter flushes when the buffer is full", () => {
  const descriptor = slowDescriptor([]);
  const writer = new LineWriter({ write: descriptor.write, flushChars: 10 });
  writer.write("12345");
  assert.equal(descriptor.text(), "");
  writer.write("67890");
  assert.equal(descriptor.text(), "12345\n67890\n");
});

test("LineWriter flushes after a while without being asked", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const writer = new LineWriter({ write: (bytes) => (resolve(new TextDecoder().decode(bytes)), bytes.length), everyMs: 5 });
  writer.write("late");
  const keepAlive = setTimeout(() => {}, 60_000);
  assert.equal(await promise, "late\n");
  clearTimeout(keepAlive);
});

test("LineWriter keeps order and loses nothing when the descriptor takes part of the bytes or none", () => {
  const descriptor = slowDescriptor([3, "EAGAIN"]);
  const writer = new LineWriter({ write: descriptor.write });
  writer.writeNow("first");
  assert.equal(descriptor.text(), "fir");
  writer.write("second");
  writer.close();
  assert.equal(descriptor.text(), "first\nsecond\n");
});

test("LineWriter.close() waits for a reader that stands still", () => {
  const descriptor = slowDescriptor(["EAGAIN", "EAGAIN", "EAGAIN"]);
  const writer = new LineWriter({ write: descriptor.write });
  writer.write("last words");
  writer.close();
  assert.equal(descriptor.text(), "last words\n");
});

test("LineWriter drops and counts lines when the reader stands still for long", () => {
  const descriptor = slowDescriptor(["EAGAIN"]);
  const writer = new LineWriter({ write: descriptor.write, limitChars: 20 });
  writer.writeNow("0123456789");
  writer.write("abcdefghijklm");
  writer.write("nopqrstuvwxyz");
  writer.close();
  const lines = descriptor.text().trimEnd().split("\n");
  assert.equal(lines[0], "0123456789");
  assert.deepEqual({ ...JSON.parse(lines[1]!), time: "" }, { time: "", level: "warn", msg: "log lines dropped", lines: 2 });
});

test("LineWriter goes quiet when the reader is gone", () => {
  const descriptor = slowDescriptor(["EPIPE"]);
  const writer = new LineWriter({ write: descriptor.write });
  writer.writeNow("lost");
  writer.writeNow("lost too");
  writer.close();
  assert.equal(descriptor.calls(), 1);
});

test("LineWriter writes characters beyond ASCII whole through short writes to a real file", () => {
  const folder = mkdtempSync(join(tmpdir(), "edgeproxy-lines-"));
  const fd = openSync(join(folder, "log"), "w");
  const writer = new LineWriter({ write: (bytes, offset) => writeSync(fd, bytes, offset, Math.min(3, bytes.length - offset)) });
  writer.write("größe 🦊 日本");
  writer.close();
  closeSync(fd);
  assert.equal(readFileSync(join(folder, "log"), "utf8"), "größe 🦊 日本\n");
  rmSync(folder, { recursive: true });
});
