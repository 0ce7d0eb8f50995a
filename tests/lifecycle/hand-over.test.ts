/** What generations say to each other: offers, refusals, and either side gone, stopped or confused at any moment. */
import assert from "node:assert/strict";
import { fstatSync } from "node:fs";
import net from "node:net";
import process from "node:process";
import { test } from "node:test";
import { fromPredecessor, handOverKey, type Identity, namePrefix, PROTOCOL } from "../../src/lifecycle/hand-over.ts";
import { offerSuccession, type SuccessionOffer, type Successor } from "../../src/lifecycle/succession-offer.ts";
import { type Succession, takeOver } from "../../src/lifecycle/take-over.ts";
import type { Timers } from "../../src/runtime/timers.ts";
import { systemTimers } from "../../src/runtime/timers.ts";
import { epollSystem } from "../../src/runtime/epoll-door.ts";
import { connectChannel, listenForChannels } from "../../src/runtime/fd-channel.ts";
import { createMemoryFile, mapMemoryFile } from "../../src/runtime/memory-file.ts";
import { closeDescriptor, copyDescriptor, openListeningSockets } from "../../src/runtime/listening-sockets.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { askGeneration, freshKey, GenerationProcess } from "../fixtures/generation-process.ts";
import { openFiles } from "../fixtures/told-sockets.ts";

const skip = epollSystem() === null ? "no channels on this runtime or machine" : false;
const REGION = "5a0c5b0e-0000-4000-8000-000000000001";
const LEFT = { exchanges: 3, tunnels: 1, connections: 5 };
let pids = 9_000_000;

/** Of a generation that is in this process, too: only the kernel would tell. */
function identity(told: Partial<Identity> = {}): Identity {
  return { pid: ++pids, version: "1.2.3", region: REGION, adminAddress: null, role: "supervisor", startedAtMs: 1000, ...told };
}

function openSockets(count: number) {
  return openListeningSockets({ host: "127.0.0.1", port: 0, count, reusePort: true })!;
}

/** A predecessor in this process; what becomes of it. */
class Generation {
  readonly log = new CollectingLog();
  readonly identity: Identity;
  readonly succeeded: Promise<Successor>;
  readonly #offer: SuccessionOffer;
  #succeeded: Successor[] = [];

  constructor(
    key: string,
    descriptors: readonly number[] | null,
    told: Partial<Identity> = {},
    timers: Timers = systemTimers,
    memory: number | null = null,
  ) {
    const { promise, resolve } = Promise.withResolvers<Successor>();
    this.succeeded = promise;
    this.identity = identity({ startedAtMs: 0, ...told });
    const onSucceeded = (successor: Successor) => {
      this.#succeeded.push(successor);
      resolve(successor);
    };
    this.#offer = offerSuccession({
      key,
      identity: this.identity,
      listeners: () => descriptors,
      memory: () => memory,
      readyWithinMs: 60_000,
      onSucceeded,
      log: this.log,
      timers,
    })!;
  }

  get successors(): number {
    return this.#succeeded.length;
  }

  withdraw(): void {
    this.#offer.withdraw();
  }

  [Symbol.dispose](): void {
    this.#offer.close();
    this.#succeeded.forEach((successor) => successor.close());
  }
}

/** A successor in this process. */
function take(key: string, told: Partial<Identity> = {}, waitMs = 5000, log = new CollectingLog()): Promise<Succession> {
  return takeOver({ key, identity: identity(told), waitMs, log, timers: systemTimers });
}

/** Resolves at the next change. */
function change(succession: Succession): Promise<void> {
  return new Promise((resolve) => succession.onChange = () => resolve());
}

function giveUp(succession: Succession): void {
  succession.close();
  succession.sockets.forEach((socket) => socket.close());
  succession.memory.forEach(closeDescriptor);
}

test("handOverKey() is the same for all spellings of all addresses, and null for a port that the kernel chooses", () => {
  assert.deepEqual(["", "0.0.0.0", "::"].map((host) => handOverKey(host, 80)), ["*:80", "*:80", "*:80"]);
  assert.equal(handOverKey("127.0.0.1", 8080), "127.0.0.1:8080");
  assert.equal(handOverKey("::1", 8080), "[::1]:8080");
  assert.equal(handOverKey("127.0.0.1", 0), null);
});

test(
  "takeOver() finds nobody, and offerSuccession() is null, where there are no channels",
  { skip: !skip && "there are" },
  async () => {
    const options = { identity: identity(), log: new CollectingLog(), timers: systemTimers, key: freshKey() };
    assert.equal(offerSuccession({ ...options, listeners: () => [], readyWithinMs: 0, onSucceeded: () => assert.fail() }), null);
    assert.deepEqual((await takeOver({ ...options, waitMs: 0 })).predecessors, []);
  },
);

test("takeOver() finds nobody where nobody is", { skip }, async () => {
  const succession = await take(freshKey());
  assert.deepEqual([succession.predecessors, succession.sockets], [[], []]);
});

test(
  "a successor gets the sockets, says when it is ready, and hears how the predecessor drains until it is gone",
  { skip },
  async () => {
    const key = freshKey();
    const sockets = openSockets(2);
    using predecessor = new Generation(key, sockets.map(({ fd }) => fd), { adminAddress: "127.0.0.1:9090" });
    const succession = await take(key, { version: "2.0.0" });
    const [found] = succession.predecessors;
    assert.deepEqual(found!.identity, { ...predecessor.identity, pid: process.pid });
    assert.deepEqual([found!.left, found!.gone], [null, false]);
    const same = (fds: readonly { fd: number; port: number }[]) => fds.map(({ fd, port }) => [fstatSync(fd).ino, port]);
    assert.deepEqual(same(succession.sockets), same(sockets));
    assert.equal(predecessor.successors, 0);

    succession.ready();
    const successor = await predecessor.succeeded;
    assert.deepEqual([successor.pid, successor.version], [process.pid, "2.0.0"]);
    let changed = change(succession);
    successor.draining(LEFT, 1234);
    await changed;
    assert.deepEqual([found!.left, found!.remainingMs, found!.gone], [LEFT, 1234, false]);
    changed = change(succession);
    successor.close();
    await changed;
    assert.equal(found!.gone, true);
    for (const socket of [...sockets, ...succession.sockets]) socket.close();
  },
);

test("a successor takes over from several at once, and gets a socket that all of them have once", { skip }, async () => {
  const key = freshKey();
  const sockets = openSockets(3);
  const everybodys = sockets[2]!.fd;
  const orphans = sockets.slice(0, 2).map(({ fd }) => new Generation(key, [fd, everybodys], { role: "worker" }));
  const succession = await take(key);
  assert.equal(succession.predecessors.length, 2);
  const inodes = (fds: readonly { fd: number }[]) => fds.map(({ fd }) => fstatSync(fd).ino).sort();
  assert.deepEqual(inodes(succession.sockets), inodes(sockets));
  succession.ready();
  await Promise.all(orphans.map((orphan) => orphan.succeeded));
  giveUp(succession);
  orphans.forEach((orphan) => orphan[Symbol.dispose]());
  sockets.forEach((socket) => socket.close());
});

test("a predecessor has one successor at a time: the next one waits until that is lost, and not for ever", { skip }, async () => {
  const key = freshKey();
  using predecessor = new Generation(key, []);
  const first = await take(key);
  const late = take(key, {}, 0);
  await assert.rejects(late, {
    message: `Cannot take over from process ${process.pid} (edgeproxy 1.2.3): ` +
      `process ${process.pid}, which is not ready yet, is taking over from it`,
  });
  const second = take(key);
  first.close();
  const succession = await second;
  assert.equal(succession.predecessors.length, 1);
  assert.equal(predecessor.successors, 0);
  succession.ready();
  await predecessor.succeeded;
  succession.close();
});

test("a successor that is not ready in time is forgotten, and the next one takes over", { skip }, async () => {
  const key = freshKey();
  const timers = new FakeTimers();
  using predecessor = new Generation(key, [], {}, timers);
  const hanging = await take(key);
  await timers.advance(59_999);
  await assert.rejects(take(key, {}, 0), /is not ready yet, is taking over from it/);
  await timers.advance(1);
  const succession = await take(key, {}, 0);
  hanging.ready();
  succession.ready();
  await predecessor.succeeded;
  assert.equal(predecessor.successors, 1);
  giveUp(hanging);
  giveUp(succession);
});

test("takeOver() has the memory of each that shares some, apart from the sockets", { skip }, async () => {
  const key = freshKey();
  const sockets = openSockets(1);
  const { descriptor, memory } = createMemoryFile("test", 4096);
  using _first = new Generation(key, sockets.map(({ fd }) => fd), {}, systemTimers, descriptor);
  using _second = new Generation(key, sockets.map(({ fd }) => fd));
  const succession = await take(key);
  assert.equal(succession.sockets.length, 1);
  assert.equal(succession.memory.length, 1);
  new Uint8Array(memory)[0] = 42;
  assert.equal(new Uint8Array(mapMemoryFile(succession.memory[0]!, 4096))[0], 42);
  giveUp(succession);
  closeDescriptor(descriptor);
  sockets.forEach((socket) => socket.close());
});

test("a successor of a release that knows nothing of memory is sent sockets only", { skip }, async () => {
  const key = freshKey();
  const sockets = openSockets(2);
  const { descriptor } = createMemoryFile("test", 4096);
  using generation = new Generation(key, sockets.map(({ fd }) => fd), {}, systemTimers, descriptor);
  const channel = connectChannel(`${namePrefix(key)}${generation.identity.pid}`);
  const offered = Promise.withResolvers<readonly number[]>();
  channel.handler = { onMessage: (_message, descriptors) => offered.resolve(descriptors), onClose: () => {} };
  channel.send({ type: "hello", protocol: PROTOCOL, identity: identity() });
  const descriptors = await offered.promise;
  assert.deepEqual(descriptors.map((fd) => fstatSync(fd).isSocket()), [true, true]);
  descriptors.forEach(closeDescriptor);
  channel.close();
  closeDescriptor(descriptor);
  sockets.forEach((socket) => socket.close());
});

test("takeOver() of workers alone gives supervisors their offers back", { skip }, async () => {
  const key = freshKey();
  const sockets = openSockets(2);
  using _supervisor = new Generation(key, [sockets[0]!.fd]);
  using worker = new Generation(key, [sockets[1]!.fd], { role: "worker" });
  const options = { key, identity: identity(), waitMs: 0, log: new CollectingLog(), timers: systemTimers };
  const succession = await takeOver({ ...options, role: "worker" });
  assert.deepEqual(succession.predecessors.map((each) => each.identity.role), ["worker"]);
  assert.equal(succession.sockets.length, 1);
  succession.ready();
  await worker.succeeded;
  const rest = await take(key);
  assert.deepEqual(rest.predecessors.map((each) => each.identity.role), ["supervisor"]);
  giveUp(succession);
  giveUp(rest);
  sockets.forEach((socket) => socket.close());
});

test("a predecessor that drains already is passed over", { skip }, async () => {
  const key = freshKey();
  using oldest = new Generation(key, []);
  const first = await take(key);
  first.ready();
  const successor = await oldest.succeeded;
  using older = new Generation(key, []);
  const second = await take(key); // the oldest still drains
  assert.equal(second.predecessors.length, 1);
  second.ready();
  await older.succeeded;
  assert.equal(oldest.successors, 1);
  successor.close();
  first.close();
  second.close();
});

test("of two that start at the same time the younger waits for the older one, and the older one for nobody", { skip }, async () => {
  const key = freshKey();
  using starting = new Generation(key, null, { startedAtMs: 500 });
  assert.equal((await take(key, { startedAtMs: 400 })).predecessors.length, 0);
  await assert.rejects(take(key, { startedAtMs: 600 }, 0), {
    message: `Cannot take over from process ${process.pid} (edgeproxy 1.2.3): it is not ready itself`,
  });
  assert.equal(starting.successors, 0);
});

test("two successors at once share out no predecessors: one gets all of them", { skip }, async () => {
  const key = freshKey();
  using _first = new Generation(key, []);
  using _second = new Generation(key, []);
  const both = [take(key, {}, 5000), take(key, {}, 5000)];
  const winner = await Promise.race(both);
  assert.equal(winner.predecessors.length, 2);
  winner.close();
  for (const succession of await Promise.all(both)) {
    assert.equal(succession.predecessors.length, 2);
    succession.close();
  }
});

test("a generation of another region is not taken over from, and serves on", { skip }, async () => {
  const key = freshKey();
  const sockets = openSockets(1);
  using _predecessor = new Generation(key, sockets.map(({ fd }) => fd));
  const before = openFiles();
  await assert.rejects(take(key, { region: "elsewhere" }), {
    message:
      `Cannot take over: process ${process.pid} (edgeproxy 1.2.3) serves this address for region ${REGION}, not for elsewhere`,
  });
  assert.equal(openFiles() - before <= 1, true, "the predecessor may not have noticed yet, but the sockets are closed");
  giveUp(await take(key));
  sockets[0]!.close();
});

test("a predecessor that closes its offer is passed over, and one under way learns of its end", { skip }, async () => {
  const key = freshKey();
  const predecessor = new Generation(key, []);
  const succession = await take(key);
  const changed = change(succession);
  predecessor[Symbol.dispose]();
  await changed;
  assert.equal(succession.predecessors[0]!.gone, true);
  succession.ready(); // in vain
  assert.equal((await take(key)).predecessors.length, 0);
  assert.equal(predecessor.successors, 0);
});

test("who drains is no predecessor, but known until its end: it may have the admin address", { skip }, async () => {
  const key = freshKey();
  const leaving = new Generation(key, [], { adminAddress: "127.0.0.1:9090" });
  leaving.withdraw();
  const { predecessors, passedOver } = await take(key);
  assert.deepEqual([predecessors, passedOver], [[], [{ pid: process.pid, adminAddress: "127.0.0.1:9090" }]]);
  leaving[Symbol.dispose]();
  assert.deepEqual((await take(key)).passedOver, []);
});

test("who connects and says nothing is sent away; what makes no sense is skipped", { skip }, async () => {
  const key = freshKey();
  const timers = new FakeTimers();
  using predecessor = new Generation(key, [], {}, timers);
  const name = `${namePrefix(key)}${predecessor.identity.pid}`;
  const silent = connectChannel(name);
  const closed = Promise.withResolvers<void>();
  silent.handler = { onMessage() {}, onClose: () => closed.resolve() };
  for (const message of [null, 7, { type: "ready" }, { type: "hello" }, { type: "later" }]) silent.send(message);
  giveUp(await take(key)); // it was read before this one's hello
  await timers.advance(5000);
  await closed.promise;
  assert.equal(predecessor.successors, 0);
});

test("descriptors that a successor sends are closed", { skip }, async () => {
  const key = freshKey();
  using predecessor = new Generation(key, []);
  const ours = connectChannel(`${namePrefix(key)}${predecessor.identity.pid}`);
  const refused = Promise.withResolvers<unknown>();
  ours.handler = { onMessage: refused.resolve, onClose() {} };
  ours.send({ type: "ready" }, [0, 1, 2]);
  const before = openFiles();
  ours.send({ type: "hello", protocol: PROTOCOL, identity: identity() }, [0, 1, 2]);
  await refused.promise;
  assert.ok(openFiles() <= before + 1, "no more than the channel's other end");
  ours.close();
});

test("what comes as garbage from a predecessor, or never, is passed over", { skip }, async () => {
  const key = freshKey();
  const garbage = net.createServer((socket) => void socket.on("error", () => {}).end("220 mail.example ESMTP\r\n"));
  await new Promise<void>((resolve) => garbage.listen(`\0${namePrefix(key)}1`, resolve));
  const nonsense = listenForChannels(`${namePrefix(key)}2`, (channel) => {
    const onMessage = () => {
      channel.send({ type: "offer", protocol: PROTOCOL });
      channel.send({ type: "refused", reason: "no idea" });
      channel.close();
    };
    return { onMessage, onClose() {} };
  })!;
  const log = new CollectingLog();
  const succession = await take(key, {}, 0, log);
  assert.deepEqual(succession.predecessors, []);
  assert.deepEqual(log.lines.map(({ fields }) => fields["reason"]).sort(), [
    `Cannot read from process ${process.pid}: not a message: "220 mail.example ESMTP\\r"`,
    "it has closed",
  ]);
  garbage.close();
  nonsense.close();
});

test("a socket of the wrong kind is left out, and said so", { skip }, async () => {
  const key = freshKey();
  const sockets = openSockets(1);
  using _predecessor = new Generation(key, [0, sockets[0]!.fd]);
  const log = new CollectingLog();
  const succession = await take(key, {}, 0, log);
  assert.deepEqual(succession.sockets.map(({ port }) => port), [sockets[0]!.port]);
  assert.deepEqual(log.take(), ["warn a predecessor's socket is of no use"]);
  giveUp(succession);
  sockets[0]!.close();
});

test("messages of a later version are understood: unknown fields are skipped", () => {
  const refused = { type: "refused", reason: "draining", by: 0, identity: { ...identity(), mood: "fine" }, until: 7 };
  assert.equal(fromPredecessor.parse(refused).type, "refused");
});

test("a predecessor that is killed leaves its sockets, and what waits in them, to a successor under way", { skip }, async () => {
  const key = freshKey();
  await using predecessor = new GenerationProcess(key);
  const port = await predecessor.ready();
  const succession = await take(key, { region: "here" });
  assert.equal(succession.predecessors[0]!.identity.pid, predecessor.pid);
  const changed = change(succession);
  predecessor.signal("SIGKILL");
  await changed;
  assert.equal(succession.predecessors[0]!.gone, true);
  const waiting = askGeneration(port); // nobody accepts just now
  using _ours = new Generation(key, succession.sockets.map(({ fd }) => copyDescriptor(fd)), { region: "here" });
  await using successor = new GenerationProcess(key);
  assert.equal(await successor.ready(), port);
  assert.equal(await waiting, String(successor.pid));
  giveUp(succession);
});

test("a successor that is killed before it is ready changes nothing, and the next one takes over", { skip }, async () => {
  const key = freshKey();
  await using predecessor = new GenerationProcess(key);
  const port = await predecessor.ready();
  const hesitant = new GenerationProcess(key, "hesitant");
  assert.equal(await hesitant.says("took over"), "1");
  hesitant.signal("SIGKILL");
  assert.equal(await askGeneration(port), String(predecessor.pid));
  await using successor = new GenerationProcess(key);
  assert.equal(await successor.ready(), port);
  await predecessor.says("ended");
  assert.equal(await askGeneration(port), String(successor.pid));
});

test("a predecessor that is stopped is given up after 2 s; when it goes on it can be taken over from", { skip }, async () => {
  const key = freshKey();
  await using predecessor = new GenerationProcess(key);
  await predecessor.ready();
  predecessor.signal("SIGSTOP");
  const log = new CollectingLog();
  const startedMs = performance.now();
  const { predecessors, passedOver } = await take(key, { region: "here" }, 0, log);
  assert.deepEqual([predecessors, passedOver], [[], [{ pid: predecessor.pid, adminAddress: undefined }]]);
  assert(performance.now() - startedMs >= 1900);
  assert.deepEqual(log.lines.map(({ fields }) => fields), [{ pid: predecessor.pid, reason: "nothing within 2000 ms" }]);
  predecessor.signal("SIGCONT");
  const succession = await take(key, { region: "here" });
  assert.equal(succession.predecessors[0]?.identity.pid, predecessor.pid);
  giveUp(succession);
});
