/** Starts right after a generation has been killed, while the one before it is still on its way out (contract, section 9). */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { alive, commandOf, parentOf, stopProcess } from "../fixtures/processes.ts";
import type { VmConnection } from "../fixtures/vm.ts";

const TWO_WORKERS = { EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** A platform whose first generation has one request to finish, however long it is to drain. */
async function busyGeneration() {
  await using resources = new AsyncDisposableStack();
  const platform = resources.use(await Platform.start(server));
  await platform.vm("app.example.com");
  const slow = await platform.vm("slow.example.com");
  const held = Promise.withResolvers<VmConnection>();
  slow.script = (_request, connection) => held.resolve(connection);
  const first = await platform.edge(TWO_WORKERS);
  const answer = get(first, "slow.example.com");
  const connection = await held.promise;
  const owned = resources.move();
  return {
    first,
    beside: () => platform.edge(TWO_WORKERS, { adminPort: first.adminPort, ready: false }),
    finish: async () => {
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
      assert.equal((await answer).body.toString(), "late");
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** It has become ready by itself, and answers both clients and operators. */
async function assertInCharge(edge: Edgeproxy): Promise<void> {
  await edge.waitForLog(({ msg }) => msg === "ready");
  assert.equal((await get(edge, "app.example.com")).status, 200);
  for (const { pid } of await edge.workers()) assert.equal(parentOf(pid), edge.pid, edge.report());
}

const saidAnything = (edge: Edgeproxy, message: string): Promise<unknown> => edge.waitForLog(({ msg }) => msg === message);

test("a generation killed while the one before it drains: who is started at once serves", async () => {
  await using generations = await busyGeneration();
  const { first, beside } = generations;
  const second = await beside();
  await saidAnything(first, "succeeded");
  second.signal("SIGKILL");
  const third = await beside();
  await assertInCharge(third);
  await second.exited; // its workers, too
  await generations.finish();
  assert.equal(await first.exited, 0, first.report());
  assert.equal((await get(third, "app.example.com")).status, 200);
  assert.equal(await third.stop(), 0, third.report());
});

test("some of those that are left stand still: who is started at once serves, and takes over from them later", async () => {
  await using generations = await busyGeneration();
  const { first, beside } = generations;
  const second = await beside();
  await saidAnything(first, "succeeded");
  await stopProcess(first.pid); // before it closes its admin address, if the machine is quick
  await saidAnything(second, "ready");
  const orphan = second.pids.find((pid) => commandOf(pid)[1] === "worker")!;
  await stopProcess(orphan);
  second.signal("SIGKILL");
  const third = await beside();
  await assertInCharge(third);
  for (const pid of [orphan, first.pid]) process.kill(pid, "SIGCONT");
  await second.exited; // that worker, too: it would serve the table of its time
  await generations.finish();
  assert.equal(await first.exited, 0, first.report());
  await assertInCharge(third);
});

test("who is started while another one drains after SIGTERM serves at once", async () => {
  await using generations = await busyGeneration();
  const { first, beside } = generations;
  first.signal("SIGTERM");
  await saidAnything(first, "draining");
  const second = await beside();
  await assertInCharge(second);
  assert.ok(alive(first.pid), first.report());
  await generations.finish();
  assert.equal(await first.exited, 0, first.report());
  await assertInCharge(second);
});
