/** The listener on Linux under Bun: when the kernel cannot give it a connection, and when it closes. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { constants } from "node:os";
import { test } from "node:test";
import { epollListen } from "../../src/runtime/epoll-listener.ts";
import { EpollSystem } from "../../src/runtime/epoll-system.ts";
import { bindLibc } from "../../src/runtime/libc.ts";
import { socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { recording } from "../fixtures/told-sockets.ts";

const LIBC = bindLibc();
const EPOLL = socketDoors().find((door) => door.name === "epoll");
const NO_HANDLER: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };

for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] as const) {
  test(`epoll: a listener that meets ${code} says so, rests, and takes the connection later`, { skip: LIBC === null }, async () => {
    const { errno } = constants;
    let refused = 0, looks = 0;
    const system = new EpollSystem({
      ...LIBC!,
      accept(fd, address, length, flags) {
        if (refused > 0) return LIBC!.accept(fd, address, length, flags);
        refused = errno[code];
        return -1;
      },
      errno: () => looks++ === 0 ? refused : LIBC!.errno(),
    });
    const told: string[] = [];
    const accepted = Promise.withResolvers<void>();
    const listener = epollListen(system, {
      host: "127.0.0.1",
      port: 0,
      onConnection(socket) {
        told.push("connection");
        queueMicrotask(() => socket.destroy());
        accepted.resolve();
        return NO_HANDLER;
      },
      onExhausted: (error) => void told.push(error.code),
    });
    const client = connect({ host: "127.0.0.1", port: listener.port }).on("error", () => {});
    await accepted.promise;
    listener.close();
    client.destroy();
    assert.deepEqual(told, [code, "connection"]);
  });
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
