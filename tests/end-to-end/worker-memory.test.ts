/** One memory behind the numbers of all workers: in both, after the end of one, and through generations. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import process from "node:process";
import { after, before, test } from "node:test";
import { LoadedEdge } from "../fixtures/loaded-edge.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** What tells the memory of a process from others' of that name; null: it has none. */
function memoryOf(pid: number): string | null {
  return /(\S+) +\/memfd:edgeproxy-cells/.exec(readFileSync(`/proc/${pid}/maps`, "utf8"))?.[1] ?? null;
}

test("workers, those that replace them and those of the next generation have the same memory", async () => {
  await using loaded = await LoadedEdge.start(server, { EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" });
  const first = await loaded.generation();
  const memory = memoryOf(first.workers[0]!);
  assert.notEqual(memory, null);
  assert.equal(memoryOf(first.workers[1]!), memory);

  process.kill(first.workers[0]!, "SIGKILL");
  const edge = loaded.edges[0]!;
  await edge.waitFor(async () => (await edge.workers()).every(({ state, pid }) => state === "serving" && pid !== first.workers[0]));
  for (const { pid } of await edge.workers()) assert.equal(memoryOf(pid), memory);

  process.kill(first.supervisor, "SIGUSR2");
  const second = await loaded.successor(first);
  for (const pid of second.workers) assert.equal(memoryOf(pid), memory);

  process.kill(second.supervisor, "SIGKILL"); // while the first may still drain, and its workers serve on
  await loaded.beside();
  const third = await loaded.successor(second);
  for (const pid of third.workers) assert.equal(memoryOf(pid), memory);
  await loaded.load.progress(1);
});
