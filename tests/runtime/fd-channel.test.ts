/** Lines and descriptors between processes: order, ends, faults, strangers. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync, openSync } from "node:fs";
import net from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { epollSystem } from "../../src/runtime/epoll-door.ts";
import { connectChannel, type FdChannel, listenForChannels } from "../../src/runtime/fd-channel.ts";
import { bindLibc, SOCKET } from "../../src/runtime/libc.ts";
import { closeDescriptor } from "../../src/runtime/listening-sockets.ts";
import { encodeUnix } from "../../src/runtime/socket-address.ts";
import { SocketMessage } from "../../src/runtime/socket-message.ts";
import { interceptUncaught } from "../fixtures/uncaught.ts";
import { openFiles } from "../fixtures/told-sockets.ts";

const LIBC = bindLibc();
const skip = epollSystem() === null ? "no channels on this runtime or machine" : false;
const BUN = fileURLToPath(new URL("../../node_modules/.bin/bun", import.meta.url));
const PEER = fileURLToPath(new URL("../fixtures/channel-peer.ts", import.meta.url));
let names = 0;

/** Messages and ends in the order in which they come; descriptors as inodes, and closed. */
class Told {
  readonly events: string[] = [];
  #waiting: (() => void) | null = null;

  onMessage(message: unknown, descriptors: readonly number[]): void {
    this.#tell(`${JSON.stringify(message)} ${descriptors.map((fd) => fstatSync(fd).ino)}`.trim());
    descriptors.forEach(closeDescriptor);
  }

  onClose(error: Error | null): void {
    this.#tell(`close ${error?.message ?? ""}`.trim());
  }

  async until(count: number): Promise<string[]> {
    while (this.events.length < count) await new Promise<void>((resolve) => this.#waiting = resolve);
    return this.events;
  }

  #tell(event: string): void {
    this.events.push(event);
    this.#waiting?.();
  }
}

function freshName(): string {
  return `edgeproxy-test/${process.pid}/${++names}`;
}

/** A listener, and what the first channel to it is told. */
function listening() {
  const name = freshName();
  const told = new Told();
  const strangers: number[] = [];
  const channels: FdChannel[] = [];
  const opened = Promise.withResolvers<FdChannel>();
  const stranger = Promise.withResolvers<void>();
  const listener = listenForChannels(name, (channel) => {
    channels.push(channel);
    opened.resolve(channel);
    return told;
  }, ({ uid }) => {
    strangers.push(uid);
    stranger.resolve();
  })!;
  const close = () => {
    listener.close();
    channels.forEach((channel) => channel.close());
  };
  return { name, told, strangers, stranger: stranger.promise, opened: opened.promise, [Symbol.dispose]: close };
}

/** Both ends in this process. */
async function pair() {
  const server = listening();
  const channel = connectChannel(server.name);
  const told = new Told();
  channel.handler = told;
  const close = () => {
    channel.close();
    server[Symbol.dispose]();
  };
  return { here: channel, hereTold: told, there: await server.opened, thereTold: server.told, [Symbol.dispose]: close };
}

function inode(fd: number): number {
  return fstatSync(fd).ino;
}

/** Starts a process at the other end; its lines. */
function startPeer(name: string, conduct = "", limit = "unlimited"): { child: ChildProcess; lines: AsyncIterator<string> } {
  const child = spawn("sh", [
    "-c",
    `[ "$3" = unlimited ] || ulimit -n "$3"; exec "$0" "$1" "$2" "$4"`,
    BUN,
    PEER,
    name,
    limit,
    conduct,
  ], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator]() };
}

test("channels: where the calls are wanting, nobody listens and nobody connects", { skip: !skip && "they are there" }, () => {
  assert.equal(listenForChannels("edgeproxy-test", () => assert.fail()), null);
  assert.throws(
    () => connectChannel("edgeproxy-test"),
    /^Error: Cannot connect to @edgeproxy-test: this runtime or machine does not/,
  );
});

test("channels: messages go both ways, in order", { skip }, async () => {
  using ends = await pair();
  const { here, there, hereTold, thereTold } = ends;
  for (const message of [1, "zwei", { three: [null, "äöü\n"] }]) here.send(message);
  there.send("x".repeat(50_000));
  assert.deepEqual(await thereTold.until(3), ["1", '"zwei"', '{"three":[null,"äöü\\n"]}']);
  assert.deepEqual(await hereTold.until(1), [`"${"x".repeat(50_000)}"`]);
  assert.deepEqual([here.peer, there.peer], [0, 0].map(() => ({ pid: process.pid, uid: process.geteuid!() })));
});

test("channels: descriptors arrive with the message that they were sent with", { skip }, async () => {
  using ends = await pair();
  const files = ["/dev/null", "/dev/zero", "/proc/self/status"].map((path) => openSync(path, "r"));
  const inodes = files.map(inode);
  const before = openFiles();
  ends.here.send("none");
  ends.here.send("three", files);
  ends.here.send("none again");
  ends.here.send("one", files.slice(1, 2));
  const expected = ['"none"', `"three" ${inodes}`, '"none again"', `"one" ${inodes[1]}`];
  assert.deepEqual(await ends.thereTold.until(4), expected);
  assert.equal(openFiles(), before);
  files.forEach((fd) => closeSync(fd));
});

test("channels: more descriptors than one call takes arrive whole and in order, and are not inherited", { skip }, async () => {
  using ends = await pair();
  const files = ["/dev/null", "/dev/zero"].map((path) => openSync(path, "r"));
  const many = Array.from({ length: 600 }, (_, at) => files[at === 299 || at === 599 ? 1 : 0]!);
  const arrived = Promise.withResolvers<readonly number[]>();
  ends.there.handler = { onMessage: (_, descriptors) => arrived.resolve(descriptors), onClose() {} };
  ends.here.send("many", many);
  const descriptors = await arrived.promise;
  assert.deepEqual(descriptors.map(inode), many.map(inode));
  assert(descriptors.every((fd) => LIBC!.control(fd, 1, 0) === 1), "close on exec");
  [...descriptors, ...files].forEach(closeDescriptor);
});

test("channels: a peer that closes is noticed at either end; whoever closes is told nothing", { skip }, async () => {
  for (const [closing, other] of [["here", "thereTold"], ["there", "hereTold"]] as const) {
    using ends = await pair();
    ends[closing].send("last words");
    ends[closing].close();
    ends[closing].send("too late");
    ends[closing].close();
    assert.deepEqual(await ends[other].until(2), ['"last words"', "close"]);
    assert.deepEqual(ends[closing === "here" ? "hereTold" : "thereTold"].events, []);
  }
});

test("channels: descriptors of a line that never ends are closed with the channel", { skip }, async () => {
  using server = listening();
  const file = openSync("/dev/null", "r");
  const before = openFiles();
  const raw = LIBC!.socket(SOCKET.UNIX, SOCKET.STREAM, 0);
  const address = encodeUnix(`@${server.name}`);
  assert.equal(LIBC!.connect(raw, address, address.length), 0);
  const bytes = Buffer.from('{"descriptors":2,');
  assert.equal(new SocketMessage(LIBC!).send(raw, bytes, [file, file]), bytes.length);
  LIBC!.close(raw);
  assert.deepEqual(await server.told.until(1), ["close"]);
  assert.equal(openFiles(), before);
  closeSync(file);
});

/** Bytes that are no message, and what is said of them. */
const GARBAGE: Readonly<Record<string, readonly [bytes: string, reason: string]>> = {
  "no JSON": ["GET / HTTP/1.1\r\n", 'not a message: "GET / HTTP/1.1\\r"'],
  "no object": ["null\n", 'not a message: "null"'],
  "no number of descriptors": ['{"message":1}\n', 'not a message: "{\\"message\\":1}"'],
  "descriptors that did not come": ['{"descriptors":1,"message":1}\n', "descriptors are missing"],
  "a line without end": ["x".repeat(70_000), "a line of more than 65536 bytes"],
};

for (const [kind, [bytes, reason]] of Object.entries(GARBAGE)) {
  test(`channels: ${kind} ends the channel`, { skip }, async () => {
    using server = listening();
    const raw = net.connect(`\0${server.name}`).on("error", () => {});
    raw.write(bytes);
    const closed = once(raw, "close");
    assert.deepEqual(await server.told.until(1), [`close Cannot read from process ${process.pid}: ${reason}`]);
    await closed;
  });
}

test("channels: a peer that does not read ends the channel, and blocks nobody", { skip }, async () => {
  using server = listening();
  const raw = net.connect(`\0${server.name}`).on("error", () => {});
  await once(raw, "connect");
  raw.pause();
  const channel = await server.opened;
  for (let i = 0; i < 1000; i++) channel.send("x".repeat(10_000));
  assert.deepEqual(await server.told.until(1), [`close Cannot send to process ${process.pid}: it does not read`]);
  raw.destroy();
});

test("channels: a fault of a handler ends its channel only", { skip }, async () => {
  using uncaught = interceptUncaught();
  using ends = await pair();
  ends.there.handler = {
    onMessage() {
      throw new Error("of the handler");
    },
    onClose: () => {},
  };
  ends.here.send(1);
  assert.deepEqual(await ends.hereTold.until(1), ["close"]);
  assert.deepEqual(uncaught.messages, ["of the handler"]);
});

test("channels: a name that nobody has is refused, and one that somebody has is taken", { skip }, () => {
  const before = openFiles();
  const name = freshName();
  assert.throws(() => connectChannel(name), new RegExp(`^Error: Cannot connect to @${name}: ECONNREFUSED$`));
  using server = listening();
  assert.throws(() => listenForChannels(server.name, () => assert.fail()));
  server[Symbol.dispose]();
  assert.equal(openFiles(), before);
});

test("channels: between processes, each knows the other's pid, and a killed one is noticed", { skip }, async () => {
  using server = listening();
  const file = openSync("/dev/zero", "r");
  const { child, lines } = startPeer(server.name);
  const channel = await server.opened;
  assert.deepEqual(await server.told.until(1), [JSON.stringify({ pid: child.pid, listener: process.pid })]);
  assert.equal(channel.peer.pid, child.pid);
  channel.send("take this", [file]);
  assert.equal((await lines.next()).value, `message "take this" ${inode(file)}`);
  child.kill("SIGKILL");
  assert.deepEqual((await server.told.until(2))[1], "close");
  closeSync(file);
});

test("channels: a process without room for the descriptors says so, and ends the channel", { skip }, async () => {
  using server = listening();
  const file = openSync("/dev/null", "r");
  const { lines } = startPeer(server.name, "without files", "64");
  const channel = await server.opened;
  await server.told.until(1);
  channel.send("take these", [file, file, file]);
  const reason = "some descriptors did not arrive (too many open files?)";
  assert.equal((await lines.next()).value, `close Cannot read from process ${process.pid}: ${reason}`);
  assert.equal((await server.told.until(2))[1], "close");
  closeSync(file);
});

const NOBODY = 65534;
const AS_NOBODY = { uid: NOBODY, gid: NOBODY, cwd: "/", env: {} };
const STRANGERS = skip || (process.geteuid?.() !== 0 && "only root can be somebody else") ||
  (spawnSync(BUN, ["--version"], AS_NOBODY).status !== 0 && "nobody may not run Bun here");

/** A process of another user. */
function stranger(script: string) {
  const child = spawn(BUN, ["-e", script], { ...AS_NOBODY, stdio: ["ignore", "pipe", "inherit"] });
  const end = async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  return { pid: child.pid, said: once(child.stdout, "data").then(String), [Symbol.asyncDispose]: end };
}

test("channels: another user's process is not heard", { skip: STRANGERS }, async () => {
  using server = listening();
  const script =
    `require("node:net").connect("\\0${server.name}").on("error", () => {}).on("close", () => console.log("closed")).write("x\\n")`;
  await using child = stranger(`${script}; setInterval(() => {}, 1000)`);
  await server.stranger;
  assert.deepEqual(server.strangers, [NOBODY]);
  assert.equal(await child.said, "closed\n");
  assert.deepEqual(server.told.events, []);
});

test("channels: another user's listener is not talked to", { skip: STRANGERS }, async () => {
  const name = freshName();
  await using child = stranger(`require("node:net").createServer().listen("\\0${name}", () => console.log("listening"))`);
  await child.said;
  const before = openFiles();
  assert.throws(() => connectChannel(name), {
    message: `Cannot connect to @${name}: process ${child.pid} is another user's (uid ${NOBODY})`,
  });
  assert.equal(openFiles(), before);
});
