/** The listener on Linux under Bun: when the kernel cannot give it a connection, and when it closes. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { constants } from "node:os";
import { test } from "node:test";
import { epollConnect } from "../../src/runtime/epoll-connect.ts";
import { epollListen } from "../../src/runtime/epoll-listener.ts";
import { EpollSystem } from "../../src/runtime/epoll-system.ts";
import { bindLibc, EPOLL, SOCKET } from "../../src/runtime/libc.ts";
import { encodeAddress } from "../../src/runtime/socket-address.ts";
import { type Socket, socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { openFiles, recording } from "../fixtures/told-sockets.ts";

const LIBC = bindLibc();
const DOOR = socketDoors().find((door) => door.name === "epoll");
const NO_HANDLER: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };

for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] as const) {
  test(`epoll: a listener that meets ${code} says so, rests, and takes the connection later`, { skip: LIBC === null }, async () => {
    const { errno } = constants;
    const told: string[] = [];
    const members = new Set<number>();
    const accepted = Promise.withResolvers<void>();
    let refused = 0, looks = 0;
    const system = new EpollSystem({
      ...LIBC!,
      epollControl(epoll, operation, fd, event) {
        const again = operation === EPOLL.ADD && members.has(fd);
        if (refused > 0 && again) accepted.reject(new Error("added again, for which memory may be wanting just now"));
        if (operation === EPOLL.ADD) members.add(fd);
        return LIBC!.epollControl(epoll, operation, fd, event);
      },
      accept(fd, address, length, flags) {
        if (refused > 0) return LIBC!.accept(fd, address, length, flags);
        refused = errno[code];
        return -1;
      },
      errno: () => looks++ === 0 ? refused : LIBC!.errno(),
    });
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

/** No descriptor but those of the runtime and the one that is tried out can be watched, until `allow`. */
function unwatchable(code: "ENOSPC" | "ENOMEM") {
  let allowed = false, refused = false, opening = true;
  const system = new EpollSystem({
    ...LIBC!,
    epollControl(epoll, operation, fd, event) {
      refused = operation === EPOLL.ADD && !opening && !allowed;
      return refused ? -1 : LIBC!.epollControl(epoll, operation, fd, event);
    },
    errno: () => refused ? constants.errno[code] : LIBC!.errno(),
  });
  opening = false;
  return { system, allow: (yes: boolean) => void (allowed = yes) };
}

test("epoll: an accepted connection that cannot be watched is reset, and the listener says why", {
  skip: LIBC === null,
}, async () => {
  const { system, allow } = unwatchable("ENOSPC");
  const told: string[] = [];
  const accepted = Promise.withResolvers<void>();
  allow(true);
  const listener = epollListen(system, {
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      told.push("connection");
      queueMicrotask(() => socket.destroy());
      accepted.resolve();
      return NO_HANDLER;
    },
    onExhausted(error) {
      told.push(error.code);
      allow(true);
    },
  });
  allow(false);
  const failure = Promise.withResolvers<unknown>();
  const first = connect({ host: "127.0.0.1", port: listener.port }).on("error", failure.resolve);
  first.once("close", () => failure.resolve(null));
  assert.equal((await failure.promise as { code: string } | null)?.code, "ECONNRESET");
  const second = connect({ host: "127.0.0.1", port: listener.port }).on("error", () => {});
  await accepted.promise;
  listener.close();
  second.destroy();
  assert.deepEqual(told, ["ENOSPC", "connection"]);
});

for (const code of ["ENOSPC", "ENOMEM"] as const) {
  test(`epoll: what cannot be watched for ${code} is not listened at or connected, and holds no file`, {
    skip: LIBC === null,
  }, async () => {
    const { system } = unwatchable(code);
    const onConnection = (socket: Socket): SocketSink => ({ ...NO_HANDLER, onEnd: () => socket.destroy() });
    const there = await DOOR!.listen({ host: "127.0.0.1", port: 0, onConnection });
    const before = openFiles();
    const options = { host: "127.0.0.1", port: 0, onConnection: () => NO_HANDLER };
    assert.throws(() => epollListen(system, options), { code });
    const failure = Promise.withResolvers<string>();
    let returned = false;
    epollConnect(system, {
      host: "127.0.0.1",
      port: there.port,
      onOpen: () => NO_HANDLER,
      onFailure: (error) => failure.resolve(`${error.code} ${returned ? "later" : "at once"}`),
    });
    returned = true;
    assert.equal(await failure.promise, `${code} later`);
    // The other end may have been accepted meanwhile
    while (openFiles() !== before) await new Promise((resolve) => setTimeout(resolve, 1));
    there.close();
  });
}

test("epoll: a listener that closes keeps the connections that wait in its queue", { skip: DOOR === undefined }, async () => {
  const server: string[] = [], client: string[] = [];
  const gone = Promise.withResolvers<void>(), served = Promise.withResolvers<void>();
  const listener = await DOOR!.listen({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => recording(server, () => socket.end(), () => served.resolve()),
  });
  DOOR!.connect({
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

test("epoll: a listener that closes takes a long queue in several turns", { skip: LIBC === null }, async () => {
  const inQueue = 200;
  let taken = 0;
  const all = Promise.withResolvers<void>();
  const listener = epollListen(new EpollSystem(LIBC!), {
    host: "127.0.0.1",
    port: 0,
    onConnection(socket) {
      if (++taken === inQueue) all.resolve();
      queueMicrotask(() => socket.destroy());
      return NO_HANDLER;
    },
  });
  const address = encodeAddress(LIBC!, "127.0.0.1", listener.port)!;
  const clients = Array.from({ length: inQueue }, () => {
    const fd = LIBC!.socket(SOCKET.INET, SOCKET.STREAM | SOCKET.CLOEXEC, 0);
    assert.equal(LIBC!.connect(fd, address.bytes, address.bytes.length), 0); // the kernel answers, not our loop
    return fd;
  });
  listener.close();
  assert(taken > 0 && taken < inQueue, `${taken} of ${inQueue} at once`);
  await all.promise;
  for (const fd of clients) LIBC!.close(fd);
});

test("epoll: a listener that closes while files are wanting says nothing of it", { skip: LIBC === null }, () => {
  const told: string[] = [];
  let refused = false;
  const system = new EpollSystem({
    ...LIBC!,
    accept() {
      refused = true;
      return -1;
    },
    errno: () => refused ? constants.errno.EMFILE : LIBC!.errno(),
  });
  const before = openFiles();
  const listener = epollListen(system, {
    host: "127.0.0.1",
    port: 0,
    onConnection: () => NO_HANDLER,
    onExhausted: (error) => void told.push(error.code),
  });
  listener.close();
  assert.deepEqual(told, []);
  assert.equal(openFiles(), before);
});
