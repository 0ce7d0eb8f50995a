/** Which sockets a worker accepts from, as it is told anew. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { parseSettings } from "../../src/lifecycle/settings.ts";
import { inProcessChannel } from "../../src/lifecycle/worker-channel.ts";
import { Worker } from "../../src/lifecycle/worker.ts";
import { AccessLog, NO_ACCESS_LOG } from "../../src/observation/access-log.ts";
import { openListeningSockets } from "../../src/runtime/listening-sockets.ts";
import { socketDoors } from "../../src/runtime/sockets.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";

const skip = socketDoors()[0]!.name === "epoll" ? false : "no listening on descriptors on this runtime or machine";

function createWorker(descriptors: readonly number[]): Worker {
  const parsed = parseSettings({
    EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1/x",
    EDGEPROXY_REGION_ID: "00000000-0000-4000-8000-000000000001",
    EDGEPROXY_WORKERS: "0",
  });
  assert.ok("settings" in parsed);
  return new Worker(
    parsed.settings,
    inProcessChannel().worker,
    new CollectingLog(),
    new AccessLog({ sampling: NO_ACCESS_LOG }),
    descriptors,
  );
}

/** The status line of an answer. */
async function ask(port: number): Promise<string> {
  let text = "";
  const socket = connect({ host: "127.0.0.1", port });
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  for await (const chunk of socket) text += chunk;
  return text.slice(0, 12);
}

test("Worker accepts from exactly the sockets that it is told, and leaves the queues of the others alone", { skip }, async () => {
  const sockets = [1, 2].map(() => openListeningSockets({ host: "127.0.0.1", port: 0, count: 1, reusePort: true })![0]!);
  const [first, second] = sockets.map(({ port }) => port);
  const worker = createWorker(sockets.map(({ fd }) => fd));
  assert.equal(await worker.listen([0]), first);
  const queued = ask(second!);
  assert.equal(await ask(first!), "HTTP/1.1 503");
  await worker.listen([1]);
  assert.equal(await queued, "HTTP/1.1 503", "it waited until somebody accepted from its socket");
  const other = ask(first!);
  // In one turn: the last word counts
  void worker.listen([0, 1]);
  void worker.listen([1]);
  await worker.listen([0, 1]);
  assert.equal(await other, "HTTP/1.1 503");
  for (const socket of sockets) socket.close();
  assert.equal(await ask(second!), "HTTP/1.1 503", "the worker has copies of its own");
  assert.equal(await worker.drain(0, false), 0);
  await assert.rejects(ask(first!), /ECONNREFUSED/);
  await assert.rejects(worker.listen([0]), /^Error: Cannot accept any more: draining$/);
});

test("Worker rejects when it cannot accept from a socket", { skip }, async () => {
  const worker = createWorker([99_999]);
  await assert.rejects(worker.listen([0]), /Cannot copy descriptor 99999: EBADF/);
  await worker.drain(0, false);
});
