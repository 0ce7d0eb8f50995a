import { test } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
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

/** The command that runs a fixture on the runtime of this test. */
function fixture(name: string): string {
  const path = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
  return `'${process.execPath}' ${process.versions["deno"] === undefined ? "" : "run -A --no-check --quiet "}'${path}'`;
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

test("LineWriter gives away whole lines, as many as fit into what a pipe takes at once, and a longer one alone", () => {
  const written: string[] = [];
  const writer = new LineWriter({
    wholeBytes: 4096,
    write: (bytes, offset) => {
      written.push(new TextDecoder().decode(bytes.subarray(offset)));
      return bytes.length - offset;
    },
  });
  const line = (letter: string, bytes: number) => letter.repeat(bytes - 1);
  const lines = [line("a", 4000), line("b", 96), line("c", 1), line("d", 4096), line("e", 5000), line("f", 2), line("g", 4095)];
  for (const each of lines) writer.write(each);
  writer.close();
  assert.deepEqual(written.map((text) => text.length), [4096, 1, 4096, 5000, 2, 4095]);
  assert.equal(written.join(""), lines.map((each) => `${each}\n`).join(""));
});

test("LineWriter ends a long line that was taken in part, together with what fits behind it", () => {
  const descriptor = slowDescriptor([3000]);
  const writer = new LineWriter({ write: descriptor.write });
  writer.write("x".repeat(5999));
  writer.write("y".repeat(99));
  writer.close();
  assert.equal(descriptor.text(), `${"x".repeat(5999)}\n${"y".repeat(99)}\n`);
  assert.equal(descriptor.calls(), 2);
});

/** The shell's way from three writers to one reader. */
const WAYS: Readonly<Record<string, (writers: string, reader: string) => string>> = {
  "pipe": (writers, reader) => `${writers} | ${reader}`,
  "file": (writers, reader) => `${writers} > "$0/log"; ${reader} < "$0/log"`,
  "file that each opens for itself": (writers, reader) => `${writers.replaceAll("&", '>> "$0/log" &')} ; ${reader} < "$0/log"`,
};

for (const [way, between] of Object.entries(WAYS)) {
  test(`LineWriter's lines are not torn by those of other processes in the same ${way}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "edgeproxy-lines-"));
    const writer = fixture("line-source.ts"), reader = fixture("line-judge.ts");
    const command = between(`{ ${[1, 2, 3].map((worker) => `${writer} ${worker} &`).join(" ")} wait; }`, reader);
    const { stdout } = await promisify(execFile)("sh", ["-c", command, folder], { timeout: 50_000 });
    assert.deepEqual(JSON.parse(stdout), { torn: [], lines: { "1": 4000, "2": 4000, "3": 4000 } });
    rmSync(folder, { recursive: true });
  });
}

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
  assert.equal(writer.lost, 1, "what came after");
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
