/** A worker process, told by this test what a supervisor would tell it. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseSettings } from "../../src/lifecycle/settings.ts";
import type { DownMessage, UpMessage } from "../../src/lifecycle/worker-channel.ts";
import { freePort } from "../fixtures/ports.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const ON_DENO = process.versions["deno"] !== undefined;

class WorkerChild implements AsyncDisposable {
  readonly said: UpMessage[] = [];
  readonly exited: Promise<[code: number | null, signal: string | null]>;
  output = "";
  readonly #child: ChildProcess;
  #wake: () => void = () => {};

  constructor() {
    const parameters = ON_DENO ? ["run", "--allow-all", "--no-check", MAIN] : [MAIN];
    this.#child = spawn(process.execPath, [...parameters, "worker", "7"], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
    this.exited = once(this.#child, "exit") as Promise<[number | null, string | null]>;
    void this.exited.then(() => this.#wake());
    this.#child.on("message", (message) => {
      this.said.push(message as UpMessage);
      this.#wake();
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
      this.#wake();
    });
  }

  send(message: DownMessage): void {
    this.#child.send(message);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.#child.pid!, name); // the child's own method sends no second one on Deno
  }

  /** As when the supervisor dies. */
  leaveAlone(): void {
    this.#child.disconnect();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#child.exitCode !== null) throw new Error(`It has ended: ${this.output}`);
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  hears<Type extends UpMessage["type"]>(type: Type): Extract<UpMessage, { type: Type }> | undefined {
    return this.said.find((message): message is Extract<UpMessage, { type: Type }> => message.type === type);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }
}

/** Serving at `port`. */
async function serving(port: number, env: Record<string, string> = {}): Promise<WorkerChild> {
  const worker = new WorkerChild();
  worker.send(settingsMessage(port, env));
  worker.send({ type: "listen", sockets: [] });
  await worker.until(() => worker.hears("listening") !== undefined);
  return worker;
}

function settingsMessage(port: number, env: Record<string, string>): DownMessage {
  const parsed = parseSettings({
    EDGEPROXY_HTTP_ADDR: `127.0.0.1:${port}`,
    EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1/x",
    EDGEPROXY_REGION_ID: "00000000-0000-4000-8000-000000000001",
    EDGEPROXY_SHUTDOWN_TIMEOUT: "5s",
    ...env,
  });
  assert.ok("settings" in parsed, JSON.stringify(parsed));
  return { type: "settings", worker: 7, settings: parsed.settings, descriptors: [] };
}

async function status(port: number): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text.slice(9, 12);
}

test("worker process serves, drains when told, and ends", async () => {
  const port = await freePort();
  await using worker = await serving(port);
  assert.equal(await status(port), "503");
  worker.send({ type: "drain", graceMs: 1000, succeeded: false });
  assert.deepEqual(await worker.exited, [0, null]);
  assert.deepEqual(worker.hears("drained"), { type: "drained", cut: 0 });
  await assert.rejects(status(port), /ECONNREFUSED/);
});

test("worker process says why it cannot start", async () => {
  const port = await freePort();
  await using first = await serving(port, { EDGEPROXY_WORKERS: "0" });
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
  await using worker = await serving(port);
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
  await using worker = await serving(port);
  // No such message is ever sent: the fault is a bug's stand-in
  for (let i = 0; i < 3; i++) worker.send({ type: "health", verdicts: null } as unknown as DownMessage);
  await worker.until(() => worker.output.split("uncaught exception").length > 3);
  assert.equal(await status(port), "503");
  assert.deepEqual(worker.said.filter(({ type }) => type === "leaving"), [{ type: "leaving", reason: "uncaught exception" }]);
});

test("worker process serves on without its supervisor, and ends when told to or orphaned for too long", async () => {
  for (const timeout of ["1h", "200ms"]) {
    const port = await freePort();
    await using worker = await serving(port, { EDGEPROXY_ORPHAN_TIMEOUT: timeout });
    worker.leaveAlone();
    await worker.until(() => worker.output.includes("the supervisor is gone"));
    if (timeout === "1h") {
      assert.equal(await status(port), "503");
      worker.signal("SIGTERM");
    }
    assert.deepEqual(await worker.exited, [0, null]);
  }
});

test("worker process without a supervisor ends when it has not begun to serve", async () => {
  await using worker = new WorkerChild();
  worker.send(settingsMessage(await freePort(), {}));
  worker.leaveAlone();
  assert.deepEqual(await worker.exited, [1, null]);
});

test("edgeproxy worker by hand says that it is not for people", async () => {
  const parameters = ON_DENO ? ["run", "--allow-all", "--no-check", MAIN] : [MAIN];
  const child = spawn(process.execPath, [...parameters, "worker"], { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
  assert.deepEqual((await once(child, "close"))[0], 2);
  assert.match(text, /edgeproxy worker: is started by edgeproxy serve/);
});
