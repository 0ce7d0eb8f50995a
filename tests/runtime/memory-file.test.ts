/** Memory that processes share, where the C library can be called. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { ftruncateSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { bindLibc } from "../../src/runtime/libc.ts";
import { createMemoryFile, mapMemoryFile } from "../../src/runtime/memory-file.ts";
import { machineClock } from "../../src/runtime/machine-clock.ts";

const skip = bindLibc() === null ? "no calls of the C library on this runtime or machine" : false;
const COUNTER = fileURLToPath(new URL("../fixtures/memory-counter.ts", import.meta.url));

test("createMemoryFile() says why there is none", { skip: skip === false ? "there is" : false }, () => {
  assert.throws(() => createMemoryFile("test", 4096), /Cannot share memory on this runtime or machine/);
  assert.equal(machineClock(), null);
});

test("a process that inherits a memory file sees and writes the same numbers, and has the same clock", { skip }, async () => {
  const { descriptor, memory } = createMemoryFile("test", 8192);
  const numbers = new Float64Array(memory);
  numbers[1] = 40;
  const child = spawn(process.execPath, [COUNTER], { stdio: ["ignore", "inherit", "inherit", "ipc", descriptor] });
  await once(child, "close");
  assert.equal(numbers[1], 42);
  const behindMs = machineClock()!() - numbers[2]!;
  assert.ok(behindMs >= 0 && behindMs < 60_000, `its clock was ${behindMs} ms behind`);
  bindLibc()!.close(descriptor);
});

test("a memory file has one length for good, and is mapped with no other", { skip }, () => {
  const { descriptor } = createMemoryFile("test", 4096);
  assert.throws(() => ftruncateSync(descriptor, 100));
  assert.throws(() => mapMemoryFile(descriptor, 8192), /of 4096 bytes, where 8192 are meant/);
  assert.equal(mapMemoryFile(descriptor, 4096).byteLength, 4096);
  bindLibc()!.close(descriptor);
});
