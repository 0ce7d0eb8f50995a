/** A worker process, told by this test what a supervisor would tell it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { DownMessage } from "../../src/lifecycle/worker-channel.ts";
import { handOverKey, namePrefix } from "../../src/lifecycle/hand-over.ts";
import { channelNames } from "../../src/runtime/fd-channel.ts";
import { bindLibc, SOCKET } from "../../src/runtime/libc.ts";
import { openListeningSockets } from "../../src/runtime/listening-sockets.ts";
import { encodeAddress } from "../../src/runtime/socket-address.ts";
import { socketDoors } from "../../src/runtime/sockets.ts";
import { freePort } from "../fixtures/ports.ts";
import { servingWorker, settingsMessage, WorkerChild } from "../fixtures/worker-child.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const ON_DENO = process.versions["deno"] !== undefined;

const skip = socketDoors()[0]!.name === "epoll" ? false : "no listening on descriptors on this runtime or machine";
const EMPTY_TABLE: DownMessage = {
  type: "routes",
  revision: 1,
  base: 0,
  first: true,
  last: true,
  size: 0,
  services: [],
  hosts: "",
  places: [],
  removals: "",
};

async function status(port: number): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text.slice(9, 12);
}

test("worker process serves, drains when told, and ends", async () => {
  const port = await freePort();
  await using worker = await servingWorker(port);
  assert.equal(await status(port), "503");
  worker.send({ type: "drain", graceMs: 1000, succeeded: false });
  assert.deepEqual(await worker.exited, [0, null]);
  assert.deepEqual(worker.hears("drained"), { type: "drained", cut: 0 });
  await assert.rejects(status(port), /ECONNREFUSED/);
});

test("worker process says why it cannot start", async () => {
  const port = await freePort();
  await using first = await servingWorker(port, { EDGEPROXY_WORKERS: "0" });
  await using second = new WorkerChild();
  second.send(settingsMessage(port, { EDGEPROXY_WORKERS: "0" }));
  second.send({ type: "listen", sockets: [] });
  assert.deepEqual(await second.exited, [1, null]);
  assert.match(second.hears("failed-to-start")?.error ?? "", /EADDRINUSE/);
  assert.equal(await status(port), "503");
  assert.ok(first.hears("listening"));
});

test("worker process passes SIGTERM on, serves until it is replaced, and ends at once at the second", async () => {
  const port = await freePort();
  await using worker = await servingWorker(port);
  worker.signal("SIGTERM");
  await worker.until(() => worker.hears("leaving") !== undefined);
  assert.deepEqual(worker.hears("leaving"), { type: "leaving", reason: "SIGTERM" });
  assert.equal(await status(port), "503");
  worker.signal("SIGTERM");
  assert.deepEqual(await worker.exited, [1, null]);
  assert.match(worker.output, /"second signal, exiting at once".*"worker":7/);
});

test("worker process serves on after an error that nobody caught, and wants to be replaced, once", async () => {
  const port = await freePort();
  await using worker = await servingWorker(port);
  // No such message is ever sent: the fault is a bug's stand-in
  for (let i = 0; i < 3; i++) worker.send({ type: "health", verdicts: null } as unknown as DownMessage);
  await worker.until(() => worker.output.split("uncaught exception").length > 3);
  assert.equal(await status(port), "503");
  assert.deepEqual(worker.said.filter(({ type }) => type === "leaving"), [{ type: "leaving", reason: "uncaught exception" }]);
});

test("worker process serves on without its supervisor, and ends when told to or orphaned for too long", async () => {
  for (const timeout of ["1h", "200ms"]) {
    const port = await freePort();
    await using worker = await servingWorker(port, { EDGEPROXY_ORPHAN_TIMEOUT: timeout });
    worker.send(EMPTY_TABLE);
    await worker.until(() => worker.hears("taken") !== undefined);
    worker.leaveAlone();
    await worker.until(() => worker.output.includes("the supervisor is gone"));
    if (timeout === "1h") {
      assert.equal(await status(port), "404");
      worker.signal("SIGTERM");
    }
    assert.deepEqual(await worker.exited, [0, null]);
  }
});

test("worker process without a supervisor and without a table ends: it would answer 503 for minutes", async () => {
  const port = await freePort();
  await using worker = await servingWorker(port, { EDGEPROXY_ORPHAN_TIMEOUT: "1h" });
  worker.leaveAlone();
  assert.deepEqual(await worker.exited, [1, null]);
});

test("worker process without a supervisor offers no sockets once it drains on its own account", { skip }, async () => {
  const [socket] = openListeningSockets({ host: "127.0.0.1", port: 0, count: 1, reusePort: true })!;
  const { fd, port } = socket!;
  await using worker = new WorkerChild([fd]);
  worker.send(settingsMessage(port, {}, [4]));
  worker.send(EMPTY_TABLE);
  worker.send({ type: "listen", sockets: [0] });
  await worker.until(() => worker.hears("listening") !== undefined);
  const connection = connect({ host: "127.0.0.1", port });
  connection.write("GET / HTTP/1.1\r\nHost: a.te");
  worker.leaveAlone();
  const offers = () => channelNames(namePrefix(handOverKey("127.0.0.1", port)!)).length;
  while (offers() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  worker.signal("SIGTERM");
  while (offers() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  connection.write("st\r\n\r\n");
  const [answer] = await once(connection, "data");
  assert.match(String(answer), /^HTTP\/1.1 404 /);
  socket!.close();
  assert.deepEqual(await worker.exited, [0, null]);
});

test("worker process without a supervisor ends when it has not begun to serve", async () => {
  await using worker = new WorkerChild();
  worker.send(settingsMessage(await freePort(), {}));
  worker.leaveAlone();
  assert.deepEqual(await worker.exited, [1, null]);
});

test(
  "worker process that cannot accept from one more socket serves on, and tries again",
  { skip },
  async () => {
    const [socket] = openListeningSockets({ host: "127.0.0.1", port: 0, count: 1, reusePort: true })!;
    const libc = bindLibc()!;
    const later = libc.socket(SOCKET.INET, SOCKET.STREAM, 0);
    const port = await freePort();
    const { bytes } = encodeAddress(libc, "127.0.0.1", port)!;
    assert.equal(libc.bind(later, bytes, bytes.length), 0);
    await using worker = new WorkerChild([socket!.fd, later]);
    worker.send(settingsMessage(socket!.port, {}, [4, 5]));
    worker.send({ type: "listen", sockets: [0] });
    await worker.until(() => worker.hears("listening") !== undefined);
    worker.send({ type: "listen", sockets: [0, 1] });
    await worker.until(() => worker.output.includes("cannot accept from other sockets"));
    assert.equal(await status(socket!.port), "503");
    assert.equal(libc.listen(later, 10), 0);
    assert.equal(await status(port), "503");
    socket!.close();
    libc.close(later);
  },
);

test("edgeproxy worker by hand says that it is not for people", async () => {
  const parameters = ON_DENO ? ["run", "--allow-all", "--no-check", MAIN] : [MAIN];
  const child = spawn(process.execPath, [...parameters, "worker"], { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
  assert.deepEqual((await once(child, "close"))[0], 2);
  assert.match(text, /edgeproxy worker: is started by edgeproxy serve/);
});
