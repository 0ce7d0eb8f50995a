/** What only the kernel's own calls can do: sockets on Linux under Bun. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as netConnect, createServer } from "node:net";
import { constants } from "node:os";
import { test } from "node:test";
import { epollConnect } from "../../src/runtime/epoll-connect.ts";
import { epollListen } from "../../src/runtime/epoll-listener.ts";
import { EpollSystem } from "../../src/runtime/epoll-system.ts";
import { bindLibc } from "../../src/runtime/libc.ts";
import { type Socket, socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { openFiles, pairs, recording } from "../fixtures/told-sockets.ts";
import { interceptUncaught } from "../fixtures/uncaught.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";

const LIBC = bindLibc();
const EPOLL = socketDoors().find((door) => door.name === "epoll");

test("epoll: what an endpoint sent before its reset is still read, however late", { skip: EPOLL === undefined }, async () => {
  const events: string[] = [];
  const gone = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const server = createServer((raw) => {
    raw.write("answer", () => raw.once("data", () => raw.resetAndDestroy()));
    raw.on("close", () => gone.resolve());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const opened = Promise.withResolvers<Socket>();
  EPOLL!.connect({
    host: "127.0.0.1",
    port: (server.address() as { port: number }).port,
    onOpen(socket) {
      socket.pause();
      socket.write(Buffer.from("request"));
      opened.resolve(socket);
      return recording(events, () => {}, () => closed.resolve());
    },
    onFailure: (error) => closed.reject(new Error(error.message)),
  });
  const socket = await opened.promise;
  await gone.promise;
  server.close();
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(events, [], "paused");
  socket.resume();
  await closed.promise;
  assert.deepEqual(events, ["data answer", "broken"]);
});

test("epoll: a client that resets is noticed although nobody reads", { skip: EPOLL === undefined }, async () => {
  const events: string[] = [];
  const closed = Promise.withResolvers<void>();
  const paused = Promise.withResolvers<void>();
  const listener = await EPOLL!.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      socket.pause();
      paused.resolve();
      return recording(events, () => {}, () => closed.resolve());
    },
  });
  const raw = netConnect({ host: "127.0.0.1", port: listener.port });
  raw.write("never read");
  await paused.promise;
  raw.resetAndDestroy();
  await closed.promise;
  listener.close();
  assert.deepEqual(events, ["broken"]);
});

test(
  "epoll: the end of a client is told of once while nobody reads, and again in its turn",
  { skip: EPOLL === undefined },
  async () => {
    const events: string[] = [];
    const opened = Promise.withResolvers<Socket>();
    const ahead = Promise.withResolvers<void>(), ended = Promise.withResolvers<void>();
    const listener = await EPOLL!.listen({
      host: "127.0.0.1",
      port: 0,
      onConnection(socket) {
        socket.pause();
        opened.resolve(socket);
        return {
          ...recording(events, () => {}, () => {}),
          onEndAhead: (quietMs) => ahead.resolve(void events.push(`end ahead, ${typeof quietMs}`)),
          onEnd: () => ended.resolve(void events.push("end")),
        };
      },
    });
    const raw = netConnect({ host: "127.0.0.1", port: listener.port, allowHalfOpen: true });
    raw.end("not read yet");
    const socket = await opened.promise;
    await ahead.promise;
    socket.resume();
    socket.pause();
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(events, ["end ahead, number"]);
    socket.resume();
    await ended.promise;
    assert.deepEqual(events, ["end ahead, number", "data not read yet", "end"]);
    socket.destroy();
    raw.destroy();
    listener.close();
  },
);

test("epoll: a connect that is given up holds no file", { skip: EPOLL === undefined }, async () => {
  await using silent = await UnresponsiveListener.start();
  const before = openFiles();
  const cancels = Array.from({ length: 8 }, () => {
    return EPOLL!.connect({
      host: silent.host,
      port: silent.port,
      onOpen: () => recording([], () => {}, () => {}),
      onFailure() {},
    });
  });
  assert.equal(openFiles(), before + cancels.length);
  for (const cancel of cancels) cancel();
  assert.equal(openFiles(), before);
});

test(
  "epoll: handlers that throw, also when told of the end, keep no other from going on",
  { skip: EPOLL === undefined },
  async () => {
    using uncaught = interceptUncaught();
    const serve = (_sockets: readonly Socket[], at: number): SocketSink => ({
      onData() {
        throw new Error(`data ${at}`);
      },
      onDrain() {},
      onEnd() {},
      onClose() {
        throw new Error(`close ${at}`);
      },
    });
    let closed = 0;
    const bothClosed = Promise.withResolvers<void>();
    const client = recording([], () => {}, () => void (++closed === 2 && bothClosed.resolve()));
    const { clients } = await pairs(EPOLL!, serve, client);
    for (const each of clients) each.write(Buffer.from("x"));
    await bothClosed.promise;
    assert.deepEqual(uncaught.messages.toSorted(), ["close 0", "close 1", "data 0", "data 1"]);
  },
);

test("epoll: a fault of whoever is handed a connection breaks that connection", { skip: EPOLL === undefined }, async () => {
  using uncaught = interceptUncaught();
  const closed = Promise.withResolvers<void>();
  const events: string[] = [];
  const host = "127.0.0.1";
  const good = await EPOLL!.listen({ host, port: 0, onConnection: () => recording(events, () => {}, () => closed.resolve()) });
  const faulty = (name: string) => (): never => {
    throw new Error(name);
  };
  EPOLL!.connect({
    host,
    port: good.port,
    onOpen: faulty("connected"),
    onFailure: (error) => closed.reject(new Error(error.code)),
  });
  await closed.promise;
  good.close();
  const bad = await EPOLL!.listen({ host, port: 0, onConnection: faulty("accepted") });
  const client = netConnect({ host, port: bad.port });
  const failure = Promise.withResolvers<unknown>();
  client.on("error", failure.resolve);
  assert.equal((await failure.promise as { code: string }).code, "ECONNRESET");
  bad.close();
  assert.deepEqual([events, uncaught.messages], [["broken"], ["connected", "accepted"]]);
});

test(
  "epoll: of one client's bytes not more than 64 KiB are read before others have their turn",
  { skip: EPOLL === undefined },
  async () => {
    const size = 4_000_000;
    let received = 0, largest = 0;
    const all = Promise.withResolvers<void>();
    const sink: SocketSink = {
      onData(chunk) {
        largest = Math.max(largest, chunk.length);
        received += chunk.length;
        if (received === size) all.resolve();
      },
      onDrain() {},
      onEnd() {},
      onClose() {},
    };
    const { clients, close } = await pairs(EPOLL!, () => sink, recording([], () => {}, () => {}));
    clients[0]!.write(Buffer.alloc(size));
    await all.promise;
    close();
    assert(largest <= 64 * 1024, String(largest));
  },
);

/** A system whose sends fail from `fail` on, and that counts the turns in which its loop is told of something. */
function failing(code: "ENOMEM" | "ENOBUFS") {
  let broken = false, refused = false, told = 0;
  const system = new EpollSystem({
    ...LIBC!,
    send(fd, bytes, length, flags) {
      refused = broken;
      return refused ? -1 : LIBC!.send(fd, bytes, length, flags);
    },
    errno: () => refused ? constants.errno[code] : LIBC!.errno(),
    epollWait(epoll, events, max, timeoutMs) {
      const count = LIBC!.epollWait(epoll, events, max, timeoutMs);
      if (count > 0) told++;
      return count;
    },
  });
  return { system, fail: () => void (broken = true), told: () => told };
}

const LOCAL = { host: "127.0.0.1", port: 0 };

for (const code of ["ENOMEM", "ENOBUFS"] as const) {
  for (const paused of [false, true]) {
    test(`epoll: ${code} of a write closes the connection of a client${paused ? " that nobody reads" : ""}`, {
      skip: LIBC === null,
    }, async () => {
      const { system, fail } = failing(code);
      const events: string[] = [];
      const closed = Promise.withResolvers<void>();
      const listener = epollListen(system, {
        ...LOCAL,
        onConnection(socket) {
          if (paused) socket.pause();
          fail();
          assert.equal(socket.write(Buffer.from("answer")), false);
          return recording(events, () => {}, () => closed.resolve());
        },
      });
      const client = netConnect(listener.port, "127.0.0.1").on("error", () => {});
      await closed.promise;
      listener.close();
      client.destroy();
      assert.deepEqual(events, ["broken"]);
    });
  }
}

test("epoll: a write behind end() closes the connection", { skip: LIBC === null }, async () => {
  const events: string[] = [];
  const closed = Promise.withResolvers<void>();
  const listener = epollListen(new EpollSystem(LIBC!), {
    ...LOCAL,
    onConnection(socket) {
      socket.end();
      socket.write(Buffer.from("too late"));
      return recording(events, () => {}, () => closed.resolve());
    },
  });
  const client = netConnect({ host: "127.0.0.1", port: listener.port, allowHalfOpen: true }).on("error", () => {});
  await closed.promise;
  listener.close();
  client.destroy();
  assert.deepEqual(events, ["broken"]);
});

test("epoll: a failed write to an endpoint that nobody reads costs no turns, and what it sent is still read", {
  skip: LIBC === null,
}, async () => {
  const { system, fail, told } = failing("ENOMEM");
  const events: string[] = [];
  const server = createServer((raw) => void raw.on("error", () => {}).write("answer")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const opened = Promise.withResolvers<Socket>(), closed = Promise.withResolvers<void>();
  epollConnect(system, {
    host: "127.0.0.1",
    port: (server.address() as { port: number }).port,
    onOpen(socket) {
      socket.pause();
      fail();
      socket.write(Buffer.from("request"));
      opened.resolve(socket);
      return recording(events, () => {}, () => closed.resolve());
    },
    onFailure: (error) => opened.reject(new Error(error.code)),
  });
  const socket = await opened.promise;
  const before = told();
  const turns = 20;
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert(told() - before < turns / 2, `told of something in ${told() - before} of ${turns} turns`);
  assert.deepEqual(events, [], "paused");
  socket.resume();
  await closed.promise;
  server.close();
  assert.deepEqual(events, ["data answer", "broken"]);
});
