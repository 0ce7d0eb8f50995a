/** What the engine relies on at the socket door: every one that the runtime which runs the tests has. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect as netConnect, createServer } from "node:net";
import { test } from "node:test";
import { type Socket, type SocketDoor, socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { interceptUncaught } from "../fixtures/uncaught.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";

/** One test for each door. */
function testDoors(name: string, run: (door: SocketDoor) => Promise<void>): void {
  for (const door of socketDoors()) test(`${door.name}: ${name}`, () => run(door));
}

/** A handler that writes down what it is told. `onData` may act on the socket. */
function recording(events: string[], onData: (text: string) => void, onClose: () => void) {
  return {
    onData(chunk: Buffer): void {
      events.push(`data ${chunk.toString()}`);
      onData(chunk.toString());
    },
    onDrain(): void {},
    onEnd: (): void => void events.push("end"),
    onClose(error: unknown): void {
      events.push(error === null ? "close" : "broken");
      onClose();
    },
  };
}

/** The client says hello, the server does `serve`, the client answers a FIN with last bytes and its own; what each side was told. */
async function converse(door: SocketDoor, serve: (socket: Socket, text: string) => void) {
  const server: string[] = [], client: string[] = [];
  const serverClosed = Promise.withResolvers<void>(), clientClosed = Promise.withResolvers<void>();
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => recording(server, (text) => serve(socket, text), () => serverClosed.resolve()),
  });
  door.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen(socket) {
      socket.write(Buffer.from("hello"));
      const handler = recording(client, () => {}, () => clientClosed.resolve());
      handler.onEnd = () => {
        client.push("end");
        socket.write(Buffer.from("last"));
        socket.end();
      };
      return handler;
    },
    onFailure: (error) => clientClosed.reject(new Error(error.message)),
  });
  await Promise.all([serverClosed.promise, clientClosed.promise]);
  listener.close();
  return { server, client };
}

testDoors("a socket that has ended hears of the peer's last bytes and FIN before its close", async (door) => {
  const { server, client } = await converse(door, (socket, text) => text === "hello" && socket.end());
  assert.deepEqual(server, ["data hello", "data last", "end", "close"]);
  assert.deepEqual(client, ["end", "close"]);
});

testDoors("a socket that is destroyed hears of its close only", async (door) => {
  const { server } = await converse(door, (socket, text) => text === "hello" && socket.destroy());
  assert.deepEqual(server, ["data hello", "close"]);
});

testDoors("a socket that has ended and is then destroyed hears of its close only", async (door) => {
  const { server } = await converse(door, (socket, text) => {
    if (text !== "hello") return;
    socket.end();
    socket.destroy();
  });
  assert.deepEqual(server, ["data hello", "close"]);
});

testDoors("a socket that is reset breaks the peer's", async (door) => {
  const { server, client } = await converse(door, (socket, text) => text === "hello" && socket.reset());
  assert.deepEqual(server, ["data hello", "close"]);
  assert.deepEqual(client, ["broken"]);
});

testDoors("end() sends FIN behind everything that was written", async (door) => {
  const size = 8_000_000;
  let received = 0;
  const closed = Promise.withResolvers<void>();
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      socket.write(Buffer.alloc(size, "x"));
      socket.end();
      return recording([], () => {}, () => {});
    },
  });
  door.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen: (socket) => ({
      onData: (chunk) => void (received += chunk.length),
      onDrain() {},
      onEnd: () => socket.end(),
      onClose: () => closed.resolve(),
    }),
    onFailure: (error) => closed.reject(new Error(error.message)),
  });
  await closed.promise;
  listener.close();
  assert.equal(received, size);
});

testDoors("a socket whose peer has reset it never hears of an end, even if a write is the first to notice", async (door) => {
  const events: string[] = [];
  const closed = Promise.withResolvers<void>();
  const resets = Promise.withResolvers<Socket>();
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      socket.write(Buffer.from("part"));
      return recording([], () => resets.resolve(socket), () => {});
    },
  });
  const opened = Promise.withResolvers<Socket>();
  door.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen(socket) {
      socket.write(Buffer.from("body"));
      return recording(events, () => opened.resolve(socket), () => closed.resolve());
    },
    onFailure: (error) => closed.reject(new Error(error.message)),
  });
  const [server, client] = await Promise.all([resets.promise, opened.promise]);
  server.reset();
  client.write(Buffer.from("more body"));
  await closed.promise;
  listener.close();
  assert.deepEqual(events, ["data part", "broken"]);
});

/** Nothing is sent to a broadcast address: the kernel refuses to connect a stream to one, at once. */
const REFUSED_AT_ONCE = { host: "255.255.255.255", port: 80 };

testDoors("connect() calls nobody back before it has returned, even if the kernel refuses at once", async (door) => {
  const listener = await door.listen({ host: "127.0.0.1", port: 0, onConnection: () => recording([], () => {}, () => {}) });
  for (const to of [REFUSED_AT_ONCE, { host: "127.0.0.1", port: listener.port }]) {
    const called = Promise.withResolvers<boolean>();
    let returned = false;
    door.connect({
      ...to,
      onOpen(socket) {
        called.resolve(returned);
        queueMicrotask(() => socket.destroy());
        return recording([], () => {}, () => {});
      },
      onFailure: () => called.resolve(returned),
    });
    returned = true;
    assert.equal(await called.promise, true, to.host);
  }
  listener.close();
});

testDoors("connect() that is cancelled at once calls nobody back, even if the kernel has refused already", async (door) => {
  let called = false;
  const onFailure = (): void => void (called = true);
  door.connect({ ...REFUSED_AT_ONCE, onOpen: () => recording([], () => {}, () => {}), onFailure })();
  const later = Promise.withResolvers<void>();
  door.connect({ ...REFUSED_AT_ONCE, onOpen: () => recording([], () => {}, () => {}), onFailure: () => later.resolve() });
  await later.promise;
  assert.equal(called, false);
});

/** The engine writes a head into what lies before the body, and keeps nothing of a chunk that it has not copied. */
testDoors("a chunk is whole until onData returns, whatever is written into the memory before it", async (door) => {
  const sent = Buffer.from("x".repeat(10_000));
  let length = 0;
  const closed = Promise.withResolvers<void>();
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => ({
      onData(chunk) {
        const before = Buffer.from(chunk.buffer, 0, chunk.byteOffset);
        before.fill("y");
        socket.write(Buffer.from("more"));
        assert.equal(chunk.indexOf("y"), -1);
        chunk.fill("z"); // nobody reads it any more
        length += chunk.length;
      },
      onDrain() {},
      onEnd: () => socket.end(),
      onClose: () => closed.resolve(),
    }),
  });
  let rounds = 0;
  door.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen(socket) {
      socket.write(sent);
      return {
        onData: () => void (rounds++ < 20 ? socket.write(sent) : socket.end()),
        onDrain() {},
        onEnd() {},
        onClose() {},
      };
    },
    onFailure: (error) => closed.reject(new Error(error.message)),
  });
  await closed.promise;
  listener.close();
  assert.equal(length % sent.length, 0);
  assert(length > sent.length);
});

testDoors("writeCopied() leaves the buffer to the caller at once", async (door) => {
  const size = 4_000_000;
  const received: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      const bytes = Buffer.alloc(size, "x");
      assert.equal(socket.writeCopied(bytes, size), false, "more than the kernel takes");
      bytes.fill("y");
      socket.writeCopied(Buffer.from("end"), 3);
      socket.end();
      return recording([], () => {}, () => {});
    },
  });
  door.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen: (socket) => ({
      onData: (chunk) => void received.push(Buffer.from(chunk)),
      onDrain() {},
      onEnd: () => socket.end(),
      onClose: () => closed.resolve(),
    }),
    onFailure: (error) => closed.reject(new Error(error.message)),
  });
  await closed.promise;
  listener.close();
  const all = Buffer.concat(received);
  assert.deepEqual([all.length, all.indexOf("y"), all.toString("latin1", size)], [size + 3, -1, "end"]);
});

testDoors("a buffer may be written over once the socket has settled", async (door) => {
  const size = 4_000_000;
  const received: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  let takenAtOnce = true;
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      const bytes = Buffer.alloc(size, "x");
      const reuse = (): void => {
        if (!socket.settled) return;
        bytes.fill("y");
        socket.end();
      };
      takenAtOnce = socket.write(bytes);
      reuse();
      return { ...recording([], () => {}, () => {}), onDrain: reuse };
    },
  });
  door.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen: (socket) => ({
      onData: (chunk) => void received.push(Buffer.from(chunk)),
      onDrain() {},
      onEnd: () => socket.end(),
      onClose: () => closed.resolve(),
    }),
    onFailure: (error) => closed.reject(new Error(error.message)),
  });
  await closed.promise;
  listener.close();
  assert.equal(takenAtOnce, false, "more than the kernel takes");
  const all = Buffer.concat(received);
  assert.deepEqual([all.length, all.indexOf("y")], [size, -1]);
});

/** What a connection to `host` at `port` comes to. */
function dial(door: SocketDoor, host: string, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  door.connect({
    host,
    port,
    onOpen(socket) {
      queueMicrotask(() => socket.destroy());
      resolve("open");
      return recording([], () => {}, () => {});
    },
    onFailure: (error) => resolve(error.code),
  });
  return promise;
}

testDoors("a connection that nobody accepts fails with ECONNREFUSED", async (door) => {
  const listener = await door.listen({ host: "127.0.0.1", port: 0, onConnection: () => recording([], () => {}, () => {}) });
  listener.close();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await dial(door, "127.0.0.1", listener.port), "ECONNREFUSED");
});

testDoors("an address that is taken cannot be listened at", async (door) => {
  const onConnection = () => recording([], () => {}, () => {});
  const listener = await door.listen({ host: "127.0.0.1", port: 0, onConnection });
  await assert.rejects(door.listen({ host: "127.0.0.1", port: listener.port, onConnection }), { code: "EADDRINUSE" });
  listener.close();
});

testDoors("an IPv4 client of a listener at all addresses shows as IPv4, an IPv6 client as IPv6", async (door) => {
  const seen: string[] = [];
  const arrived: (() => void)[] = [];
  const listener = await door.listen({
    host: "",
    port: 0,
    onConnection(socket) {
      seen.push(socket.remoteAddress);
      arrived.shift()?.();
      return recording([], () => {}, () => {});
    },
  });
  for (const host of ["127.0.0.1", "::1"]) {
    const accepted = new Promise<void>((resolve) => arrived.push(resolve));
    assert.equal(await dial(door, host, listener.port), "open");
    await accepted;
  }
  listener.close();
  assert.deepEqual(seen, ["127.0.0.1", "::1"]);
});

// ---- what only the kernel's own calls can do

const EPOLL = socketDoors().find((door) => door.name === "epoll");

/** Descriptors of this process. */
function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

test("epoll: a listener that closes keeps the connections that wait in its queue", { skip: EPOLL === undefined }, async () => {
  const server: string[] = [], client: string[] = [];
  const gone = Promise.withResolvers<void>(), served = Promise.withResolvers<void>();
  const listener = await EPOLL!.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => recording(server, () => socket.end(), () => served.resolve()),
  });
  EPOLL!.connect({
    host: "127.0.0.1",
    port: listener.port,
    onOpen(socket) {
      socket.write(Buffer.from("hello"));
      const handler = recording(client, () => {}, () => gone.resolve());
      return { ...handler, onEnd: () => socket.end() };
    },
    onFailure: (error) => gone.reject(new Error(error.code)),
  });
  listener.close(); // the kernel has the connection already, our loop has not looked yet
  await Promise.all([gone.promise, served.promise]);
  assert.deepEqual(server, ["data hello", "end", "close"]);
  assert.deepEqual(client, ["close"]);
});

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

/** Two connections, and what the server's ends are told. Both have bytes that wait before the loop looks. */
async function pairs(door: SocketDoor, serve: (sockets: readonly Socket[], at: number) => SocketSink, client: SocketSink) {
  const accepted: Socket[] = [];
  const both = Promise.withResolvers<void>();
  const listener = await door.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      const at = accepted.push(socket) - 1;
      if (at === 1) both.resolve();
      return serve(accepted, at);
    },
  });
  const clients = await Promise.all([0, 1].map(() => {
    const opened = Promise.withResolvers<Socket>();
    door.connect({
      host: "127.0.0.1",
      port: listener.port,
      onOpen(socket) {
        opened.resolve(socket);
        return client;
      },
      onFailure: (error) => opened.reject(new Error(error.message)),
    });
    return opened.promise;
  }));
  await both.promise;
  listener.close();
  return { clients, close: () => [...clients, ...accepted].forEach((socket) => socket.destroy()) };
}

testDoors("a socket that is paused while its bytes wait still sends what is pending", async (door) => {
  const size = 8_000_000;
  let received = 0;
  const all = Promise.withResolvers<void>();
  const serve = (sockets: readonly Socket[], at: number): SocketSink => ({
    onData() {
      const other = sockets[1 - at]!;
      other.pause();
      other.write(Buffer.alloc(size));
    },
    onDrain() {},
    onEnd() {},
    onClose() {},
  });
  const client: SocketSink = {
    onData: (chunk) => void ((received += chunk.length) >= size && all.resolve()),
    onDrain() {},
    onEnd() {},
    onClose() {},
  };
  const { clients, close } = await pairs(door, serve, client);
  for (const each of clients) each.write(Buffer.from("x")); // in one turn: the loop learns of both at once
  await all.promise;
  close();
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
