/** Services whose endpoints speak TLS, end to end: checks, requests, connections used again, and whom the proxy takes for whom. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NAMED_CERT, NAMED_KEY } from "../fixtures/self-signed.ts";
import { type Edgeproxy, startEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { openRaw } from "../fixtures/raw-client.ts";
import { get, postRequest, send } from "../fixtures/platform.ts";

const REGION = "11111111-1111-4111-8111-111111111111";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let vm: Server;
let edge: Edgeproxy;
/** Of connections. */
let accepted = 0;
const tunnelClosed = Promise.withResolvers<void>();

before(async () => {
  vm = createServer({ cert: NAMED_CERT, key: NAMED_KEY }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/cut") {
        response.writeHead(200, { "Content-Length": "100" }).write("begun", () => response.socket?.destroy());
        return;
      }
      if (request.url === "/big") return void response.end(Buffer.alloc(3_000_000, "b"));
      response.end(`${request.method} ${request.headers.host} ${Buffer.concat(chunks).length}`);
    });
  });
  vm.on("upgrade", (_request, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    socket.on("error", () => {}).once("close", () => tunnelClosed.resolve()).pipe(socket);
  });
  vm.on("secureConnection", () => accepted++);
  await new Promise<void>((resolve) => vm.listen(0, "127.0.0.1", resolve));
  const { port } = vm.address() as AddressInfo;
  folder = await temporaryFolder();
  await writeFile(join(folder.path, "ca.pem"), NAMED_CERT);
  const file = join(folder.path, "routes.yaml");
  const endpoints = `endpoints: [{ url: "https://127.0.0.1:${port}" }]`;
  const health = "health: { interval: 1h }"; // each check is a connection, too
  const ca = `caFile: ${join(folder.path, "ca.pem")}`;
  await writeFile(
    file,
    `services:
  known: { ${endpoints}, tls: { ${ca}, serverName: vm.internal }, ${health} }
  unknown: { ${endpoints}, ${health} }
  other: { ${endpoints}, tls: { ${ca}, serverName: other.internal }, health: { type: none } }
  unchecked: { ${endpoints}, tls: { verify: false }, ${health} }
routes:
  - { hosts: [known.example.com], service: known }
  - { hosts: [unknown.example.com], service: unknown }
  - { hosts: [other.example.com], service: other }
  - { hosts: [unchecked.example.com], service: unchecked }
`,
  );
  edge = await startEdgeproxy({ database: "", region: REGION, env: { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_WORKERS: "1" } });
});
after(async () => {
  await edge[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
  vm.closeAllConnections();
  vm.close();
});

test("a service with https endpoints is checked and spoken to with TLS, over connections that are used again", async () => {
  assert.equal((await get(edge, "known.example.com")).body.toString(), "GET known.example.com 0");
  const before = accepted;
  for (let i = 0; i < 5; i++) assert.equal((await get(edge, "known.example.com", `/${i}`)).status, 200);
  assert.equal(accepted, before, "connections are used again");
});

test("bodies of any size go both ways through TLS", async () => {
  const big = await get(edge, "known.example.com", "/big");
  assert.equal(big.body.length, 3_000_000);
  const sent = await send(edge, postRequest("known.example.com", "x".repeat(300_000)));
  assert.equal(sent.body.toString(), "POST known.example.com 300000");
});

test("a tunnel goes through TLS, and ends with its client", async () => {
  await using client = await openRaw(edge.port, edge.host);
  client.send("GET /echo HTTP/1.1\r\nHost: known.example.com\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
  assert.equal((await client.readResponse()).status, 101);
  client.send("x".repeat(200_000));
  assert.equal((await client.readBytes(200_000)).length, 200_000);
  client.reset();
  await tunnelClosed.promise;
});

test("an answer that TLS cuts short is no complete answer", async () => {
  await using client = await openRaw(edge.port, edge.host);
  client.send("GET /cut HTTP/1.1\r\nHost: known.example.com\r\n\r\n");
  assert.match(await client.readUntil("begun"), /^HTTP\/1.1 200 OK\r\n/);
  assert.equal(await client.ended, "reset");
});

test("an endpoint whose certificate nobody vouches for gets no request", async () => {
  const unknown = await get(edge, "unknown.example.com");
  assert.deepEqual([unknown.status, fieldValue(unknown, "x-edgeproxy-error")], [503, "vm_unhealthy"]);
  const other = await get(edge, "other.example.com");
  assert.deepEqual([other.status, fieldValue(other, "x-edgeproxy-error")], [502, "connect_failed"]);
  assert.equal((await get(edge, "unchecked.example.com")).status, 200);
});
