import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createNotifier, notifyArguments, senderFor, watchdogIntervalMs } from "../../src/runtime/notify.ts";

// Only Bun can bind a unix datagram socket (through its FFI), so both ends of the real test are Bun processes.
const BUN = fileURLToPath(new URL("../../node_modules/.bin/bun", import.meta.url));
const LISTENER = fileURLToPath(new URL("../fixtures/datagram-listener.ts", import.meta.url));
const SENDER = fileURLToPath(new URL("../fixtures/notify-sender.ts", import.meta.url));

/** Runs a sender against a real socket and returns the datagrams until one contains `last`. */
async function datagramsOf(socketPath: string, env: Record<string, string>, last: string): Promise<string[]> {
  const listener = spawn(BUN, [LISTENER, socketPath], { stdio: ["ignore", "pipe", "inherit"] });
  const received: string[] = [];
  try {
    for await (const line of createInterface({ input: listener.stdout })) {
      const message: string = JSON.parse(line);
      if (message === "listening") {
        spawn(BUN, [SENDER], { stdio: "inherit", env: { PATH: process.env["PATH"] ?? "", NOTIFY_SOCKET: socketPath, ...env } });
        continue;
      }
      received.push(message);
      if (message.includes(last)) break;
    }
  } finally {
    listener.kill("SIGKILL");
    await once(listener, "exit");
  }
  return received;
}

test("createNotifier() reaches a real unix datagram socket with READY, WATCHDOG and STOPPING", async () => {
  assert.ok(existsSync(BUN));
  const folder = mkdtempSync(join(tmpdir(), "edgeproxy-notify-"));
  const received = await datagramsOf(join(folder, "notify"), { WATCHDOG_USEC: "100000" }, "STOPPING=1");
  rmSync(folder, { recursive: true });
  assert.equal(received[0], "READY=1\nSTATUS=Serving 3 routes");
  assert.ok(received.filter((message) => message === "WATCHDOG=1").length >= 2);
  assert.equal(received.at(-1), "STOPPING=1\nSTATUS=Stopping");
});

test("createNotifier() reaches a socket in the abstract name space", async () => {
  const received = await datagramsOf(`@edgeproxy-test-${process.pid}-${Date.now()}`, {}, "STOPPING=1");
  assert.deepEqual(received, ["READY=1\nSTATUS=Serving 3 routes", "STOPPING=1\nSTATUS=Stopping"]);
});

test("createNotifier() sends messages in order, one at a time", async () => {
  const sent: string[] = [];
  let running = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const notifier = createNotifier({}, async (message) => {
    assert.equal(++running, 1);
    await new Promise((next) => setTimeout(next, 1));
    running--;
    if (sent.push(message) === 3) resolve();
    return true;
  });
  notifier.ready("up");
  notifier.status("two\nlines");
  notifier.stopping();
  await promise;
  assert.deepEqual(sent, ["READY=1\nSTATUS=up", "STATUS=two lines", "STOPPING=1\nSTATUS=Stopping"]);
});

test("senderFor() finds nobody without a socket of a known kind", () => {
  assert.equal(senderFor({}), null);
  assert.equal(senderFor({ NOTIFY_SOCKET: "" }), null);
  assert.equal(senderFor({ NOTIFY_SOCKET: "vsock:2:1234" }), null);
  createNotifier({}).ready("nobody listens");
});

test("senderFor() answers false when nobody listens on the socket", async () => {
  const send = senderFor({ NOTIFY_SOCKET: "/nonexistent/notify", PATH: "/nonexistent" });
  assert.equal(await send!("READY=1"), false);
});

test("watchdogIntervalMs() is half the limit, for this process only", () => {
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "30000000" }), 15_000);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: String(process.pid) }), 15_000);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "1" }), 0);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "soon" }), 0);
  assert.equal(watchdogIntervalMs({}), 0);
});

test("notifyArguments() speaks in our name", () => {
  assert.deepEqual(notifyArguments("READY=1\nSTATUS=a b"), [`--pid=${process.pid}`, "READY=1", "STATUS=a b"]);
});
