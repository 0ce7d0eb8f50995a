/** Who holds a port, as the errors of listeners say it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import process from "node:process";
import { test } from "node:test";
import { openListeningSockets } from "../../src/runtime/listening-sockets.ts";
import { namingPortOwner, portOwner } from "../../src/runtime/port-owner.ts";
import { serveFetch } from "../../src/runtime/serve.ts";
import { listen, socketDoors } from "../../src/runtime/sockets.ts";

const skip = existsSync("/proc/net/tcp") ? false : "only Linux tells";
const OURS = new RegExp(`^\\S.* \\(pid ${process.pid}\\)$`);

async function listening(host: string) {
  const server = net.createServer().listen({ host, port: 0 });
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  return { port, [Symbol.dispose]: () => void server.close() };
}

for (const host of ["127.0.0.1", "0.0.0.0", "::1", "::"]) {
  test(`portOwner() finds who listens at ${host}, asked for that address or for all`, { skip }, async () => {
    using server = await listening(host);
    assert.match(portOwner(host, server.port)!, OURS);
    assert.match(portOwner("", server.port)!, OURS);
    assert.match(portOwner("::", server.port)!, OURS);
  });
}

test("portOwner() takes no other address for ours", { skip }, async () => {
  using server = await listening("127.0.0.1");
  assert.equal(portOwner("127.0.0.2", server.port), null);
  assert.equal(portOwner("::1", server.port), null);
  assert.equal(portOwner("127.0.0.1", 0), null);
});

test("portOwner() names the command of another process", { skip }, async () => {
  const script = "const s = require('node:net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))";
  const child = spawn("node", ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = await once(child.stdout, "data");
  assert.equal(portOwner("127.0.0.1", Number(port))?.replace("MainThread", "node"), `node (pid ${child.pid})`);
  child.kill("SIGKILL");
  await once(child, "exit");
});

test("errors of listeners name who has the address", { skip }, async () => {
  using server = await listening("127.0.0.1");
  const { port } = server;
  const taken = new RegExp(`, taken by \\S.* \\(pid ${process.pid}\\)$`);
  await assert.rejects(listen({ host: "127.0.0.1", port, onConnection: () => assert.fail() }), taken);
  await assert.rejects(serveFetch({ host: "127.0.0.1", port, fetch: () => new Response() }), taken);
  if (socketDoors()[0]!.name !== "epoll") return;
  assert.throws(() => openListeningSockets({ host: "127.0.0.1", port, count: 1, reusePort: true }), {
    code: "EADDRINUSE",
    message: taken,
  });
});

test("namingPortOwner() leaves other errors as they are", () => {
  const denied = Object.assign(new Error("Cannot listen at 127.0.0.1:80: EACCES"), { code: "EACCES" });
  assert.equal(namingPortOwner(denied, "127.0.0.1", 80), denied);
  assert.equal(denied.message, "Cannot listen at 127.0.0.1:80: EACCES");
  const unknown = Object.assign(new Error("Cannot listen"), { code: "EADDRINUSE" });
  assert.equal((namingPortOwner(unknown, "127.0.0.1", 0) as Error).message, "Cannot listen");
});
