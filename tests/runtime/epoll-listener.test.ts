/** The listener on Linux under Bun, when the kernel cannot give it a connection. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { constants } from "node:os";
import { test } from "node:test";
import { epollListen } from "../../src/runtime/epoll-listener.ts";
import { EpollSystem } from "../../src/runtime/epoll-system.ts";
import { bindLibc } from "../../src/runtime/libc.ts";
import type { SocketSink } from "../../src/runtime/sockets.ts";

const LIBC = bindLibc();
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
