/** What the engine relies on at the socket door, on the runtime that runs the tests. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, listen, type Socket } from "../../src/runtime/sockets.ts";

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
async function converse(serve: (socket: Socket, text: string) => void) {
  const server: string[] = [], client: string[] = [];
  const serverClosed = Promise.withResolvers<void>(), clientClosed = Promise.withResolvers<void>();
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => recording(server, (text) => serve(socket, text), () => serverClosed.resolve()),
  });
  connect({
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

test("a socket that has ended hears of the peer's last bytes and FIN before its close", async () => {
  const { server, client } = await converse((socket, text) => text === "hello" && socket.end());
  assert.deepEqual(server, ["data hello", "data last", "end", "close"]);
  assert.deepEqual(client, ["end", "close"]);
});

test("a socket that is destroyed hears of its close only", async () => {
  const { server } = await converse((socket, text) => text === "hello" && socket.destroy());
  assert.deepEqual(server, ["data hello", "close"]);
});

test("a socket that has ended and is then destroyed hears of its close only", async () => {
  const { server } = await converse((socket, text) => {
    if (text !== "hello") return;
    socket.end();
    socket.destroy();
  });
  assert.deepEqual(server, ["data hello", "close"]);
});

test("a socket that is reset breaks the peer's", async () => {
  const { server, client } = await converse((socket, text) => text === "hello" && socket.reset());
  assert.deepEqual(server, ["data hello", "close"]);
  assert.deepEqual(client, ["broken"]);
});

test("end() sends FIN behind everything that was written", async () => {
  const size = 8_000_000;
  let received = 0;
  const closed = Promise.withResolvers<void>();
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      socket.write(Buffer.alloc(size, "x"));
      socket.end();
      return recording([], () => {}, () => {});
    },
  });
  connect({
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

test("a socket whose peer has reset it never hears of an end, even if a write is the first to notice", async () => {
  const events: string[] = [];
  const closed = Promise.withResolvers<void>();
  const resets = Promise.withResolvers<Socket>();
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      socket.write(Buffer.from("part"));
      return recording([], () => resets.resolve(socket), () => {});
    },
  });
  const opened = Promise.withResolvers<Socket>();
  connect({
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

test("connect() calls nobody back before it has returned, even if the kernel refuses at once", async () => {
  const listener = await listen({ host: "127.0.0.1", port: 0, onConnection: () => recording([], () => {}, () => {}) });
  for (const to of [REFUSED_AT_ONCE, { host: "127.0.0.1", port: listener.port }]) {
    const called = Promise.withResolvers<boolean>();
    let returned = false;
    connect({
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

test("connect() that is cancelled at once calls nobody back, even if the kernel has refused already", async () => {
  let called = false;
  const onFailure = (): void => void (called = true);
  connect({ ...REFUSED_AT_ONCE, onOpen: () => recording([], () => {}, () => {}), onFailure })();
  const later = Promise.withResolvers<void>();
  connect({ ...REFUSED_AT_ONCE, onOpen: () => recording([], () => {}, () => {}), onFailure: () => later.resolve() });
  await later.promise;
  assert.equal(called, false);
});

/** Nobody else may see or change the memory around a chunk: the engine writes a head into what lies before it. */
test("buffers given to onData own their memory, also what lies before them", async () => {
  const sent = Buffer.from("x".repeat(10_000));
  const chunks: Buffer[] = [];
  const copies: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => ({
      onData(chunk) {
        for (const earlier of chunks) assert.notEqual(chunk.buffer, earlier.buffer);
        chunks.push(chunk);
        copies.push(Buffer.from(chunk));
        new Uint8Array(chunk.buffer).subarray(0, chunk.byteOffset).fill(0); // as prepending does
        socket.write(Buffer.from("more"));
      },
      onDrain() {},
      onEnd: () => socket.end(),
      onClose: () => closed.resolve(),
    }),
  });
  let rounds = 0;
  connect({
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
  assert(chunks.length > 1);
  for (const [index, chunk] of chunks.entries()) assert(chunk.equals(copies[index]!), "nothing has written over it since");
});

test("a buffer may be written over once the socket has settled", async () => {
  const size = 4_000_000;
  const received: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  let settledAtOnce = true;
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      const bytes = Buffer.alloc(size, "x");
      const reuse = (): void => {
        if (!socket.settled) return;
        bytes.fill("y");
        socket.end();
      };
      socket.write(bytes);
      settledAtOnce = socket.settled;
      reuse();
      return { ...recording([], () => {}, () => {}), onDrain: reuse };
    },
  });
  connect({
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
  assert.equal(settledAtOnce, false, "more than the kernel takes");
  const all = Buffer.concat(received);
  assert.deepEqual([all.length, all.indexOf("y")], [size, -1]);
});
