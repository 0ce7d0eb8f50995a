/** The memory file of a generation: made, taken over, or done without. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cellTable, openCellFile } from "../../src/lifecycle/cell-file.ts";
import { bindLibc } from "../../src/runtime/libc.ts";
import { createMemoryFile } from "../../src/runtime/memory-file.ts";
import { MEMORY_BYTES } from "../../src/upstream/cell-memory.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { openFiles } from "../fixtures/told-sockets.ts";

const skip = bindLibc() === null ? "no calls of the C library on this runtime or machine" : false;

test(
  "openCellFile() says that workers count alone where memory cannot be shared",
  { skip: skip === false ? "it can" : false },
  () => {
    const log = new CollectingLog();
    assert.equal(openCellFile([], 2, log), null);
    assert.equal(log.lines[0]?.level, "warn");
    assert.match(log.lines[0].msg, /each counts for itself/);
  },
);

test("the tables of workers have the memory of the file, and that of the generation before goes on", { skip }, () => {
  const log = new CollectingLog();
  const first = openCellFile([], 2, log)!;
  cellTable(first.descriptor, log).of("breaker users")[0] = 42;
  const second = openCellFile([first.descriptor], 2, log)!;
  assert.equal(cellTable(second.descriptor, log).of("breaker users")[0], 42);
  const worker = cellTable(second.descriptor, log);
  worker.attend();
  const other = cellTable(second.descriptor, log);
  assert.equal(other.seats().length, 2);
  worker.leave();
  assert.equal(cellTable(second.descriptor, log).seats().length, 1);
  second.close();
  assert.deepEqual(log.lines, []);
});

test("memory of another kind is not taken over, and no descriptor is kept", { skip }, () => {
  const log = new CollectingLog();
  const before = openFiles();
  const small = createMemoryFile("test", 4096).descriptor;
  const { descriptor: strange, memory } = createMemoryFile("test", MEMORY_BYTES);
  new Float64Array(memory)[0] = 17;
  const file = openCellFile([small, strange], 2, log)!;
  assert.deepEqual(log.lines.map(({ level }) => level), ["info", "info"]);
  cellTable(file.descriptor, log).of("x")[0] = 1;
  file.close();
  assert.equal(openFiles(), before);
});
