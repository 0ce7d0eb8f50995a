/** The loop of the epoll door beside the runtime's: neither keeps the other waiting. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { nowMs, Sweep } from "../../src/runtime/clock.ts";
import { type Socket, socketDoors } from "../../src/runtime/sockets.ts";

const EPOLL = socketDoors().find((door) => door.name === "epoll");

/** Two sockets that throw a byte back and forth without pause until `stop`. */
async function traffic(onByte: () => void): Promise<{ bytes(): number; stop(): void }> {
  let bytes = 0;
  let stopped = false;
  const opened = Promise.withResolvers<Socket>();
  const echo = (socket: Socket) => ({
    onData(): void {
      bytes++;
      onByte();
      if (stopped) socket.destroy();
      else socket.write(Buffer.from("x"));
    },
    onDrain(): void {},
    onEnd: (): void => socket.destroy(),
    onClose(): void {},
  });
  const listener = await EPOLL!.listen({ host: "127.0.0.1", port: 0, onConnection: echo });
  EPOLL!.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen(socket) {
      opened.resolve(socket);
      return echo(socket);
    },
    onFailure: (error) => opened.reject(new Error(error.message)),
  });
  (await opened.promise).write(Buffer.from("x"));
  listener.close();
  return { bytes: () => bytes, stop: () => void (stopped = true) };
}

test(
  "EpollLoop lets timers, processes and immediates have their turn under traffic without a pause",
  { skip: EPOLL === undefined },
  async () => {
    const { bytes, stop } = await traffic(() => {});
    await wait(20);
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", "console.log('done')"]);
    await new Promise((resolve) => setImmediate(resolve));
    while (bytes() <= 100) await wait(1); // they go on
    stop();
    assert.equal(stdout, "done\n");
  },
);

test(
  "EpollLoop: deadlines are reckoned from the turn's own moment, however late the last tick",
  { skip: EPOLL === undefined },
  async () => {
    const sweep = new Sweep();
    const watched = { deadlineAtMs: Infinity, onDeadline() {} };
    sweep.watch(watched);
    const clocks: [sweep: number, turn: number][] = [];
    const { stop } = await traffic(() => void clocks.push([sweep.nowMs, nowMs()]));
    do await wait(20); while (clocks.length <= 10);
    stop();
    sweep.unwatch(watched);
    for (const [ofSweep, ofTurn] of clocks) assert.equal(ofSweep, ofTurn);
  },
);

test("EpollLoop runs promises that a callback has settled before the next events", { skip: EPOLL === undefined }, async () => {
  let seen = 0;
  let settled = 0;
  let most = 0;
  const hundred = Promise.withResolvers<void>();
  const { stop } = await traffic(() => {
    settled++;
    most = Math.max(most, settled);
    void Promise.resolve().then(() => Promise.resolve()).then(() => settled--);
    if (seen++ === 100) hundred.resolve();
  });
  await hundred.promise;
  stop();
  assert(most <= 2, `${most} callbacks before the promises of the first`); // two sockets may have events at once
});

test("EpollLoop: a fault in a promise of a callback is uncaught, and the loop goes on", { skip: EPOLL === undefined }, async () => {
  const script = `
    import { socketDoors } from ${JSON.stringify(new URL("../../src/runtime/sockets.ts", import.meta.url).pathname)};
    const door = socketDoors()[0];
    process.on("uncaughtException", (error) => console.log(error.message));
    const handler = (socket) => ({
      onData(chunk) {
        if (String(chunk) === "last") return process.exit(0);
        queueMicrotask(() => { throw new Error("fault"); });
        socket.write(Buffer.from("last"));
      },
      onDrain() {}, onEnd() {}, onClose() {},
    });
    const listener = await door.listen({ host: "127.0.0.1", port: 0, onConnection: handler });
    door.connect({ host: "127.0.0.1", port: listener.port, onFailure() {}, onOpen(socket) {
      socket.write(Buffer.from("first"));
      return handler(socket);
    } });
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["-e", script]);
  assert.equal(stdout, "fault\n");
});
