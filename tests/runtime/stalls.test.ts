/** How long the process did not look at its sockets. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { connect, listen, socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { takeLongestStallMs, watchStallsByTimer } from "../../src/runtime/stalls.ts";

const BUSY_MS = 150;
const ROUNDS = 20;

function beBusy(): void {
  for (const endAtMs = performance.now() + BUSY_MS; performance.now() < endAtMs;);
}

/** Resolves when the first bytes have come over a connection to ourselves. */
async function exchangeBytes(onBytes: () => void): Promise<void> {
  const accepted = Promise.withResolvers<void>(), opened = Promise.withResolvers<void>();
  const idle: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => ({
      ...idle,
      onData() {
        onBytes();
        socket.destroy();
      },
      onClose: () => accepted.resolve(),
    }),
    onExhausted() {},
  });
  connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen: (socket) => {
      socket.write(Buffer.from("x"));
      return { ...idle, onEnd: () => socket.destroy(), onClose: () => opened.resolve() };
    },
    onFailure: (error) => assert.fail(error.message),
  });
  // Nothing stays open: the loop would go on turning under the tests that share this process, and slow down each of their turns
  await Promise.all([accepted.promise, opened.promise]);
  await sleep(1);
  listener.close();
}

test(
  "takeLongestStallMs() tells of a callback that kept the loop, once",
  { skip: socketDoors()[0]!.name !== "epoll" },
  async () => {
    // The machine may keep us, too, now and then; but not each time
    for (let round = 0; round < ROUNDS; round++) {
      await exchangeBytes(beBusy);
      const busyMs = takeLongestStallMs();
      assert.ok(busyMs >= BUSY_MS, `${busyMs} after ${BUSY_MS}`);
      await exchangeBytes(() => {});
      if (takeLongestStallMs() < BUSY_MS) return;
    }
    assert.fail("it tells of it again and again");
  },
);

test("takeLongestStallMs() tells of what has lasted until now", { skip: socketDoors()[0]!.name !== "epoll" }, async () => {
  let lastedMs = 0;
  await exchangeBytes(() => {
    takeLongestStallMs();
    beBusy();
    lastedMs = takeLongestStallMs();
  });
  assert.ok(lastedMs >= BUSY_MS);
});

test("watchStallsByTimer() tells of most of a stall where the door does not", async () => {
  do await sleep(1); while (takeLongestStallMs() > 0); // the door's loop has ended
  const end = watchStallsByTimer();
  await sleep(1);
  beBusy();
  await sleep(1);
  assert.ok(takeLongestStallMs() >= BUSY_MS - 100);
  end();
  beBusy();
  assert.equal(takeLongestStallMs(), 0);
});
