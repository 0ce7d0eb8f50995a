/** A standard output that is full, in processes of their own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { bindLibc, SOCKET } from "../../src/runtime/libc.ts";
import { openListeningSockets } from "../../src/runtime/listening-sockets.ts";
import { encodeAddress } from "../../src/runtime/socket-address.ts";
import { socketDoors } from "../../src/runtime/sockets.ts";

const skip = socketDoors()[0]!.name === "epoll" ? false : "no calls of the kernel on this runtime or machine";
const FIXTURE = fileURLToPath(new URL("../fixtures/full-output.ts", import.meta.url));
const ON_DENO = process.versions["deno"] !== undefined;
const COMMAND = [process.execPath, ...ON_DENO ? ["run", "-A", "--no-check", "--quiet"] : [], FIXTURE];

/** What it says on standard error. */
async function complaints(program: string, parameters: readonly string[], output: "ignore" | number): Promise<string> {
  const child = spawn(program, parameters, { stdio: ["ignore", output, "pipe"], detached: true });
  try {
    const [said] = await once(child.stderr!, "data");
    return String(said);
  } finally {
    process.kill(-child.pid!, "SIGKILL");
  }
}

test("writeOutput() does not wait for the reader of a pipe, whoever has inherited it", async () => {
  assert.equal(await complaints("sh", ["-c", '"$0" "$@" | sleep 100', ...COMMAND], "ignore"), "did not wait\n");
});

test("writeOutput() does not wait for the reader of a socket, whoever has inherited it", { skip }, async () => {
  const libc = bindLibc()!;
  const [listening] = openListeningSockets({ host: "127.0.0.1", port: 0, count: 1, reusePort: true })!;
  const { bytes } = encodeAddress(libc, "127.0.0.1", listening!.port)!;
  const output = libc.socket(SOCKET.INET, SOCKET.STREAM | SOCKET.CLOEXEC, 0);
  assert.equal(libc.connect(output, bytes, bytes.length), 0); // nobody accepts it, nor reads
  assert.equal(await complaints(COMMAND[0]!, COMMAND.slice(1), output), "did not wait\n");
  libc.close(output);
  listening!.close();
});
