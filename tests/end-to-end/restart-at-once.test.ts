/** A start right after, or during, the end of the process before it: the address may be held for a moment, and offered to nobody. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

const TWO_WORKERS = { EDGEPROXY_WORKERS: "2" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

test("a start waits a moment for an address that is about to be free", async () => {
  await using platform = await Platform.start(server);
  await platform.vm("app.example.com");
  const holder = createServer().listen(platform.edgePort, platform.region.address);
  await once(holder, "listening");
  const edge = await platform.edge(TWO_WORKERS, { ready: false });
  await edge.waitForLog(({ msg }) => msg === "starting");
  setTimeout(() => holder.close(), 200); // it has tried by then
  await edge.waitReady();
  assert.equal((await get(edge, "app.example.com")).status, 200);
});

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`an edge is started right after ${signal} to the supervisor before it, again and again`, async () => {
    await using platform = await Platform.start(server);
    await platform.vm("app.example.com");
    let edge = await platform.edge(TWO_WORKERS);
    for (let round = 0; round < 3; round++) {
      edge.signal(signal);
      const next = await platform.edge(TWO_WORKERS);
      assert.equal((await get(next, "app.example.com")).status, 200);
      await edge.exited;
      edge = next;
    }
    assert.equal(edge.log.filter(({ level }) => level === "error").length, 0, edge.report());
  });
}
