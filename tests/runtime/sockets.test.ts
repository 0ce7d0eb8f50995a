/** What the engine relies on at the socket door: every one that the runtime which runs the tests has. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Socket, type SocketDoor, socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { pairs, recording } from "../fixtures/told-sockets.ts";

/** One test for each door. */
function testDoors(name: string, run: (door: SocketDoor) => Promise<void>): void {
  for (const door of socketDoors()) test(`${door.name}: ${name}`, () => run(door));
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

/** Whoever stays open keeps the loop of the epoll door turning under all other tests of this process. */
function endingWithPeer(socket: Socket): SocketSink {
  return { ...recording([], () => {}, () => {}), onEnd: () => socket.destroy() };
}

testDoors("connect() calls nobody back before it has returned, even if the kernel refuses at once", async (door) => {
  const listener = await door.listen({ host: "127.0.0.1", port: 0, onConnection: endingWithPeer });
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

/** All that a client gets from a server that handles its connection by `serve`. */
async function receivedFrom(door: SocketDoor, serve: (socket: Socket) => SocketSink): Promise<Buffer> {
  const received: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  const listener = await door.listen({ host: "127.0.0.1", port: 0, onConnection: serve });
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
  return Buffer.concat(received);
}

testDoors("writeCopied() leaves the buffer to the caller at once", async (door) => {
  const size = 4_000_000;
  const all = await receivedFrom(door, (socket) => {
    const bytes = Buffer.alloc(size, "x");
    assert.equal(socket.writeCopied(bytes, size), false, "more than the kernel takes");
    bytes.fill("y");
    socket.writeCopied(Buffer.from("end"), 3);
    socket.end();
    return recording([], () => {}, () => {});
  });
  assert.deepEqual([all.length, all.indexOf("y"), all.toString("latin1", size)], [size + 3, -1, "end"]);
});

testDoors("a buffer may be written over once the socket has settled", async (door) => {
  const size = 4_000_000;
  let takenAtOnce = true;
  const all = await receivedFrom(door, (socket) => {
    const bytes = Buffer.alloc(size, "x");
    const reuse = (): void => {
      if (!socket.settled) return;
      bytes.fill("y");
      socket.end();
    };
    takenAtOnce = socket.write(bytes);
    reuse();
    return { ...recording([], () => {}, () => {}), onDrain: reuse };
  });
  assert.equal(takenAtOnce, false, "more than the kernel takes");
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
      return endingWithPeer(socket);
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
