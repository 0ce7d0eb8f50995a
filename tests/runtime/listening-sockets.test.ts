/** Listening sockets as descriptors: opened, adopted, inherited, and accepted from by several at once. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { epollListen } from "../../src/runtime/epoll-listener.ts";
import { EpollSystem } from "../../src/runtime/epoll-system.ts";
import { bindLibc, type Libc, SOCKET } from "../../src/runtime/libc.ts";
import {
  adoptListeningSocket,
  inheritedListeningSockets,
  type ListeningSocket,
  openListeningSockets,
} from "../../src/runtime/listening-sockets.ts";
import { listen, type Listener, socketDoors, type SocketSink } from "../../src/runtime/sockets.ts";
import { openFiles } from "../fixtures/told-sockets.ts";

const LIBC = bindLibc();
const HERE = socketDoors()[0]!.name === "epoll";
/** Why a test is left out. */
const skip = HERE ? false : "no listening on descriptors on this runtime or machine";
const BUN = fileURLToPath(new URL("../../node_modules/.bin/bun", import.meta.url));
const SERVER = fileURLToPath(new URL("../fixtures/descriptor-server.ts", import.meta.url));
const DUPFD = 0;
const UNIX = 1, DATAGRAM = 2;

function open(count: number, host = "127.0.0.1", port = 0): ListeningSocket[] {
  return openListeningSockets({ host, port, count, reusePort: true })!;
}

/** Says goodbye with `text` to whoever connects. */
function answering(text: string, descriptors: readonly number[]): Promise<Listener> {
  return listen({
    host: "",
    port: 0,
    descriptors,
    onConnection(socket): SocketSink {
      queueMicrotask(() => {
        socket.write(Buffer.from(text));
        socket.end();
      });
      return { onData() {}, onDrain() {}, onEnd: () => socket.destroy(), onClose() {} };
    },
  });
}

/** What the server says until it ends the connection. */
async function ask(port: number, host = "127.0.0.1"): Promise<string> {
  let text = "";
  for await (const chunk of connect({ host, port })) text += chunk;
  return text;
}

test("openListeningSockets() answers null where there is no door for descriptors", { skip: HERE && "there is one" }, async () => {
  assert.equal(open(1), null);
  assert.throws(() => adoptListeningSocket(3), /^Error: Cannot listen on descriptor 3: this runtime or machine does not let us$/);
  await assert.rejects(listen({ host: "", port: 0, descriptors: [3], onConnection: () => assert.fail() }), /Cannot listen/);
});

test("openListeningSockets() opens sockets of one port, each with a queue of its own", { skip }, async () => {
  const sockets = open(3);
  assert.equal(new Set(sockets.map(({ port }) => port)).size, 1);
  assert.deepEqual(sockets.map(({ host }) => host), ["127.0.0.1", "127.0.0.1", "127.0.0.1"]);
  const { port } = sockets[0]!;
  const listeners = await Promise.all(sockets.map(({ fd }, at) => answering(String(at), [fd])));
  assert.deepEqual(listeners.map((each) => each.port), [port, port, port]);
  const answers = new Set<string>();
  while (answers.size < 3) answers.add(await ask(port)); // the kernel shares them out by address and port
  for (const listener of listeners) listener.close();
  await assert.rejects(ask(port), { code: "ECONNREFUSED" });
});

test("openListeningSockets() listens on all addresses of both families", { skip }, async () => {
  const [socket] = open(1, "");
  const listener = await answering("hello", [socket!.fd]);
  assert.equal(await ask(listener.port), "hello");
  if (socket!.host === "::") assert.equal(await ask(listener.port, "::1"), "hello");
  listener.close();
});

test("openListeningSockets() holds none when one cannot be had", { skip }, async () => {
  const taken = await listen({ host: "127.0.0.1", port: 0, onConnection: () => assert.fail() });
  const before = openFiles();
  assert.throws(() => open(2, "127.0.0.1", taken.port), {
    code: "EADDRINUSE",
    message: new RegExp(`^Cannot listen at 127.0.0.1:${taken.port}: EADDRINUSE`),
  });
  assert.equal(openFiles(), before);
  taken.close();
});

test("openListeningSockets() alone shares the port with nobody, and says with whom it would", { skip }, () => {
  const [other] = openListeningSockets({ host: "127.0.0.1", port: 0, count: 1, reusePort: true })!;
  const { port } = other!;
  const open = (alone: boolean) => openListeningSockets({ host: "127.0.0.1", port, count: 2, alone, reusePort: true })!;
  for (const socket of open(false)) socket.close();
  assert.throws(() => open(true), new RegExp(`EADDRINUSE, taken by .*${process.pid}`));
  other!.close();
  const sockets = open(true);
  assert.deepEqual(sockets.map((socket) => socket.port), [port, port]);
  for (const socket of sockets) socket.close();
});

test("connections wait in a socket that nobody accepts from, and are served by whoever does next", { skip }, async () => {
  const [socket] = open(1);
  const answers = [ask(socket!.port), ask(socket!.port)];
  const listener = await answering("later", [socket!.fd]);
  assert.deepEqual(await Promise.all(answers), ["later", "later"]);
  listener.close();
});

test("a listener accepts from several sockets", { skip }, async () => {
  const sockets = [...open(1), ...open(1)];
  const listener = await answering("both", sockets.map(({ fd }) => fd));
  assert.deepEqual(await Promise.all(sockets.map(({ port }) => ask(port))), ["both", "both"]);
  assert.equal(listener.port, sockets[0]!.port);
  listener.close();
});

test("a listener that leaves its queue closes only its copy: another one of the same socket serves all", { skip }, async () => {
  const [socket] = open(1);
  const copy = LIBC!.control(socket!.fd, DUPFD, 3);
  const leaving = await answering("leaving", [socket!.fd]);
  const answers = [ask(socket!.port), ask(socket!.port)];
  leaving.close({ queue: "leave" });
  const staying = await answering("staying", [copy]);
  answers.push(ask(socket!.port));
  assert.deepEqual(await Promise.all(answers), ["staying", "staying", "staying"]);
  staying.close();
});

test("a listener that leaves is told of no connection any more, though the socket stays open elsewhere", { skip }, async () => {
  const waits: number[] = [];
  const told = Promise.withResolvers<void>();
  let watching = false;
  const libc: Libc = {
    ...LIBC!,
    epollWait(epoll, events, max, timeoutMs) {
      const count = LIBC!.epollWait(epoll, events, max, timeoutMs);
      if (watching && waits.push(count) === 200) told.resolve();
      if (watching && count === 0) told.resolve();
      return count;
    },
  };
  const system = new EpollSystem(libc);
  const [socket] = open(1), [other] = open(1);
  const copy = LIBC!.control(socket!.fd, DUPFD, 3);
  const options = { host: "", port: 0, onConnection: () => assert.fail() };
  const leaving = epollListen(system, { ...options, descriptors: [socket!.fd] });
  const staying = epollListen(system, { ...options, descriptors: [other!.fd] }); // keeps the loop going
  leaving.close({ queue: "leave" });
  const client = connect({ host: "127.0.0.1", port: socket!.port });
  await once(client, "connect");
  watching = true;
  await told.promise;
  assert.equal(waits.at(-1), 0, "the loop never slept");
  staying.close({ queue: "leave" });
  client.destroy();
  LIBC!.close(copy);
});

/** Descriptors that are no listening TCP sockets, and what is said of them. */
const WRONG: Readonly<Record<string, readonly [open: () => number, problem: string]>> = {
  "a closed descriptor": [() => 9999, "EBADF"],
  "a file": [() => openSync("/dev/null", "r"), "ENOTSOCK"],
  "a unix socket": [() => LIBC!.socket(UNIX, SOCKET.STREAM, 0), "not a TCP socket (of another address family)"],
  "a UDP socket": [() => LIBC!.socket(SOCKET.INET, DATAGRAM, 0), "not a TCP socket (UDP or the like)"],
  "a socket that does not listen": [() => LIBC!.socket(SOCKET.INET, SOCKET.STREAM, 0), "a TCP socket that does not listen"],
};

for (const [kind, [make, problem]] of Object.entries(WRONG)) {
  test(`adoptListeningSocket() refuses ${kind}, and leaves it open`, { skip }, async () => {
    const fd = make(), before = openFiles();
    const expected = { message: `Cannot listen on descriptor ${fd}: ${problem}` };
    assert.throws(() => adoptListeningSocket(fd), expected);
    await assert.rejects(listen({ host: "", port: 0, descriptors: [fd], onConnection: () => assert.fail() }), expected);
    assert.equal(openFiles(), before);
    LIBC!.close(fd);
  });
}

test("adoptListeningSocket() says the address, and what it accepts neither waits nor is inherited", { skip }, () => {
  const [socket] = open(1);
  const flags = () => [LIBC!.control(socket!.fd, 1, 0), LIBC!.control(socket!.fd, 3, 0) & SOCKET.NONBLOCK];
  LIBC!.control(socket!.fd, 2, 0);
  LIBC!.control(socket!.fd, 4, 0);
  assert.deepEqual(flags(), [0, 0]);
  const adopted = adoptListeningSocket(socket!.fd);
  assert.deepEqual(flags(), [1, SOCKET.NONBLOCK]);
  assert.deepEqual([adopted.host, adopted.port], ["127.0.0.1", socket!.port]);
  adopted.close();
  adopted.close();
  assert.throws(() => adoptListeningSocket(socket!.fd), /EBADF/);
});

test("inheritedListeningSockets() is null when nothing is meant for this process", () => {
  assert.equal(inheritedListeningSockets({}), null);
  assert.equal(inheritedListeningSockets({ LISTEN_FDS: "1" }), null);
  assert.equal(inheritedListeningSockets({ LISTEN_FDS: "1", LISTEN_PID: "1" }), null);
  assert.equal(inheritedListeningSockets({ LISTEN_FDS: "0", LISTEN_PID: "7" }, 7), null);
  assert.throws(() => inheritedListeningSockets({ LISTEN_FDS: "x", LISTEN_PID: "7" }, 7), {
    message: 'Cannot read LISTEN_FDS: not a number: "x"',
  });
});

/** A process that is given descriptors as systemd gives them. Answers what it says of them. */
async function activate(descriptors: readonly number[], names: string): Promise<{ said: unknown; child: ChildProcess }> {
  const child = spawn("sh", ["-c", `LISTEN_PID=$$ exec "$0" "$1"`, BUN, SERVER], {
    stdio: ["ignore", "pipe", "inherit", ...descriptors],
    env: { PATH: process.env["PATH"], LISTEN_FDS: String(descriptors.length), LISTEN_FDNAMES: names },
  });
  let text = "";
  for await (const chunk of child.stdout!) if ((text += chunk).includes("\n")) break;
  return { said: JSON.parse(text), child };
}

test("inheritedListeningSockets() accepts from descriptors 3 and up", { skip }, async () => {
  const sockets = [...open(1), ...open(1)];
  const { said, child } = await activate(sockets.map(({ fd }) => fd), "http:more");
  assert.deepEqual(said, [
    { fd: 3, host: "127.0.0.1", port: sockets[0]!.port, name: "http" },
    { fd: 4, host: "127.0.0.1", port: sockets[1]!.port, name: "more" },
  ]);
  assert.deepEqual(await Promise.all(sockets.map(({ port }) => ask(port))), [String(child.pid), String(child.pid)]);
  child.kill("SIGKILL");
  await once(child, "exit");
  const waiting = ask(sockets[0]!.port); // nobody is there, but the socket is
  const listener = await answering("survivor", [sockets[0]!.fd]);
  assert.equal(await waiting, "survivor");
  listener.close();
  sockets[1]!.close();
});

test("a listener does not stand still when another process has made its socket one that waits", { skip }, async () => {
  const [socket] = open(1);
  const { child } = await activate([socket!.fd], "");
  const impatience = setTimeout(() => child.kill("SIGKILL"), 10_000);
  LIBC!.control(socket!.fd, 4, LIBC!.control(socket!.fd, 3, 0) & ~SOCKET.NONBLOCK); // of the socket, not of our copy alone
  socket!.close();
  assert.deepEqual([await ask(socket!.port), await ask(socket!.port)], [String(child.pid), String(child.pid)]);
  clearTimeout(impatience);
  child.kill("SIGKILL");
  await once(child, "exit");
});

test("inheritedListeningSockets() says which descriptor is of the wrong kind", { skip }, async () => {
  const sockets = open(1);
  const file = openSync("/dev/null", "r");
  const { said, child } = await activate([sockets[0]!.fd, file], "");
  assert.equal(said, "Cannot listen on descriptor 4: ENOTSOCK");
  if (child.exitCode === null) await once(child, "exit");
  closeSync(file);
  sockets[0]!.close();
});
