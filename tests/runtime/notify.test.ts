import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createNotifier, monotonicMicroseconds, notifyArguments, senderFor, watchdogIntervalMs } from "../../src/runtime/notify.ts";
import { successorEnvironment } from "../../src/runtime/processes.ts";
import { settle } from "../fixtures/fake-timers.ts";

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
  const notifier = createNotifier({
    env: {},
    send: async (message) => {
      assert.equal(++running, 1);
      await new Promise((next) => setTimeout(next, 1));
      running--;
      if (sent.push(message) === 4) resolve();
      return true;
    },
  });
  notifier.ready("up");
  notifier.status("two\nlines");
  notifier.status("three");
  notifier.stopping(30_000.5);
  await promise;
  assert.deepEqual(sent, [
    "READY=1\nSTATUS=up",
    "STATUS=two lines",
    "STATUS=three",
    "STOPPING=1\nSTATUS=Stopping\nEXTEND_TIMEOUT_USEC=30001000",
  ]);
});

/** A notifier whose messages are kept. */
function collecting(env: Record<string, string> = {}, check?: () => Promise<boolean>) {
  const sent: string[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const send = (message: string) => {
    sent.push(message);
    for (const each of waiting) if (sent.length >= each.count) each.resolve();
    return Promise.resolve(true);
  };
  const until = (count: number) =>
    new Promise<void>((resolve) => sent.length >= count ? resolve() : waiting.push({ count, resolve }));
  return { notifier: createNotifier({ env, send, ...(check && { check }) }), sent, until };
}

test("createNotifier() tells the manager when a reload begins, by its clock, and when the last of several is over", async () => {
  const { notifier, sent, until } = collecting();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  notifier.ready("1 route");
  const earliest = await monotonicMicroseconds();
  const reloads = [notifier.reload(first.promise, () => "2 routes"), notifier.reload(second.promise, () => "3 routes")];
  await until(3);
  first.resolve();
  await reloads[0];
  await settle();
  assert.equal(sent.length, 3);
  second.reject(new Error("the database is away"));
  await reloads[1];
  await until(4);
  assert.equal(sent[3], "READY=1\nSTATUS=3 routes");
  const [, told = ""] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(sent[1]!) ?? [];
  assert.ok(Number(told) >= earliest && Number(told) <= await monotonicMicroseconds(), told);
});

test("createNotifier() says nothing of reloads before READY, which their end would pass for, nor READY while stopping", async () => {
  const { notifier, sent } = collecting();
  await notifier.reload(Promise.resolve(), () => "no table yet");
  await settle();
  assert.equal(sent.length, 0);
  notifier.ready("1 route");
  const { promise, resolve } = Promise.withResolvers<void>();
  const reload = notifier.reload(promise, () => "2 routes");
  notifier.stopping();
  resolve();
  await reload;
  await settle();
  assert.equal(sent.filter((message) => message.startsWith("READY=1")).length, 1);
});

test("createNotifier() says nothing for a service that is another process now, whose end its words would announce", async () => {
  const { notifier, sent } = collecting({ WATCHDOG_USEC: "4000" });
  notifier.ready("1 route");
  const { promise, resolve } = Promise.withResolvers<void>();
  const reload = notifier.reload(promise, () => "2 routes");
  notifier.mainPid(4711);
  resolve();
  await reload;
  await notifier.reload(Promise.resolve(), () => "3 routes");
  notifier.status("draining");
  notifier.stopping(1000);
  await new Promise((next) => setTimeout(next, 20));
  assert.deepEqual(sent.toSpliced(1, 1), ["READY=1\nSTATUS=1 route", "MAINPID=4711", "READY=1"]);
  assert.match(sent[1]!, /^RELOADING=1/);
});

test("createNotifier() asks for time and no more when what never was the service ends", async () => {
  const { notifier, sent, until } = collecting();
  notifier.stopping(1000);
  await until(1);
  assert.deepEqual(sent, ["EXTEND_TIMEOUT_USEC=1000000"]);
});

test("createNotifier() feeds the watchdog only while the check passes, and not when it answers late", async () => {
  let asked = 0;
  const enough = Promise.withResolvers<void>();
  const answers: (Promise<boolean>)[] = [
    Promise.resolve(true),
    Promise.resolve(false),
    Promise.reject(new Error("broken")),
    new Promise(() => {}), // never
    Promise.resolve(true),
  ];
  answers[2]!.catch(() => {});
  const { notifier, sent, until } = collecting({ WATCHDOG_USEC: "40000" }, () => {
    const answer = answers[asked++] ?? new Promise(() => {});
    if (asked === answers.length) enough.resolve();
    return answer;
  });
  const keepAlive = setInterval(() => {}, 1000);
  notifier.ready("up");
  await enough.promise;
  await until(3);
  notifier.close();
  clearInterval(keepAlive);
  assert.deepEqual(sent, ["READY=1\nSTATUS=up", "WATCHDOG=1", "WATCHDOG=1"]);
});

test("monotonicMicroseconds() is the kernel's clock, with libc and without", async () => {
  const uptime = async () => Number((await readFile("/proc/uptime", "utf8")).split(" ")[0]) * 1e6;
  const before = await uptime();
  const [exact, without] = [await monotonicMicroseconds(), await monotonicMicroseconds(null)];
  const after = await uptime();
  assert.ok(without >= before && without <= after + 20_000, `${before} ${without} ${after}`);
  // A machine that was suspended has been up for longer than its monotonic clock has run
  assert.ok(exact > 0 && exact <= after + 20_000, `${exact} ${after}`);
});

test("a successor gets the watchdog that was meant for our pid, and where to notify, but not our descriptors", () => {
  const env = { WATCHDOG_PID: "1", WATCHDOG_USEC: "30000000", LISTEN_PID: "1", LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b" };
  const kept = successorEnvironment({ ...env, NOTIFY_SOCKET: "/run/notify", EDGEPROXY_WORKERS: "2" });
  assert.deepEqual(kept, { WATCHDOG_USEC: "30000000", NOTIFY_SOCKET: "/run/notify", EDGEPROXY_WORKERS: "2" });
  assert.equal(watchdogIntervalMs(env), 0);
  assert.equal(watchdogIntervalMs(kept), 7500);
});

test("senderFor() finds nobody without a socket of a known kind", () => {
  assert.equal(senderFor({}), null);
  assert.equal(senderFor({ NOTIFY_SOCKET: "" }), null);
  assert.equal(senderFor({ NOTIFY_SOCKET: "vsock:2:1234" }), null);
  createNotifier({ env: {} }).ready("nobody listens");
});

test("senderFor() answers false when nobody listens on the socket", async () => {
  const send = senderFor({ NOTIFY_SOCKET: "/nonexistent/notify", PATH: "/nonexistent" });
  assert.equal(await send!("READY=1"), false);
});

test("watchdogIntervalMs() is a quarter of the limit, for this process only", () => {
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "30000000" }), 7500);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: String(process.pid) }), 7500);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "1" }), 0);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "soon" }), 0);
  assert.equal(watchdogIntervalMs({}), 0);
});

test("notifyArguments() speaks in our name", () => {
  assert.deepEqual(notifyArguments("READY=1\nSTATUS=a b"), [`--pid=${process.pid}`, "READY=1", "STATUS=a b"]);
});
