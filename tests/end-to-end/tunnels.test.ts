/** Upgraded connections: a real WebSocket client through the proxy, and raw bytes where its manners would hide something. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { DataPlane, metric, settled } from "../fixtures/served-vms.ts";
import { cutHead, fieldValue, fieldValues, type Head } from "../fixtures/http1.ts";
import { getRequest, type RawConnection } from "../fixtures/raw-client.ts";
import type { Vm, VmConnection } from "../fixtures/vm.ts";

const MIB = 2 ** 20;
const SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n";

let plane: DataPlane;
before(async () => plane = await DataPlane.start());
after(() => plane[Symbol.asyncDispose]());

/** From now on the VM switches protocols and gives what comes to `onData`. It ends no tunnel by itself, so clients leave by reset. */
function switching(
  vm: Vm,
  onData: (chunk: Buffer, connection: VmConnection) => void,
  fields = "",
  behind = "",
): Promise<VmConnection> {
  const { promise, resolve } = Promise.withResolvers<VmConnection>();
  vm.onHead = (head, connection) => {
    connection.write(`${SWITCHING}${fields}\r\n${behind}`);
    let headLeft = head.size;
    connection.takeOver((chunk) => {
      const rest = chunk.subarray(Math.min(headLeft, chunk.length));
      headLeft -= chunk.length - rest.length;
      if (rest.length > 0) onData(rest, connection);
    });
    resolve(connection);
  };
  return promise;
}

const upgradeRequest = (host: string): string => getRequest(host, "/raw", "Connection: Upgrade", "Upgrade: raw");

async function openTunnel(host: string): Promise<RawConnection> {
  const client = await plane.open();
  client.send(upgradeRequest(host));
  assert.equal((await client.readResponse()).status, 101);
  return client;
}

// ---- WebSocket

function acceptKey(head: Head): string {
  return createHash("sha1").update(fieldValue(head, "sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
}

/** A WebSocket server that echoes messages and answers close (RFC 6455, as far as a test needs it). */
function serveWebSocketEcho(vm: Vm): void {
  vm.onHead = (head, connection) => {
    connection.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${
        acceptKey(head)
      }\r\n\r\n`,
    );
    let received = Buffer.alloc(0);
    let headLeft = head.size;
    connection.takeOver((chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < headLeft) return;
      received = received.subarray(headLeft);
      headLeft = 0;
      for (let frame = cutFrame(received); frame !== null; frame = cutFrame(received)) {
        received = received.subarray(frame.size);
        connection.write(frame.echo);
        if (frame.opcode === 8) connection.end();
      }
    });
  };
}

/** The masked frame at the start, and the same unmasked; pings become pongs. */
function cutFrame(bytes: Buffer): { readonly opcode: number; readonly size: number; readonly echo: Buffer } | null {
  if (bytes.length < 2) return null;
  const short = bytes[1]! & 0x7f;
  const lengthSize = short === 126 ? 2 : short === 127 ? 8 : 0;
  const start = 2 + lengthSize + 4;
  if (bytes.length < start) return null;
  const length = lengthSize === 0 ? short : lengthSize === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < start + length) return null;
  const mask = bytes.subarray(start - 4, start);
  const opcode = bytes[0]! & 0x0f;
  const echo = Buffer.concat([
    bytes.subarray(0, 2 + lengthSize),
    bytes.subarray(start, start + length).map((byte, i) => byte ^ mask[i % 4]!),
  ]);
  echo[0] = opcode === 9 ? 0x8a : bytes[0]!;
  echo[1] = short;
  return { opcode, size: start + length, echo };
}

/** The runtime's own client, told to name the domain as Host. */
function openWebSocket(host: string): WebSocket {
  type WithHeaders = new (url: string, options: { readonly headers: Record<string, string> }) => WebSocket;
  const socket = new (WebSocket as unknown as WithHeaders)(`ws://127.0.0.1:${plane.proxy.port}/chat?room=1`, {
    headers: { Host: host },
  });
  socket.binaryType = "arraybuffer";
  return socket;
}

// rule: RFC 6455, 5 | messages pass, the tunnel is counted while it lasts (`edgeproxy_tunnels_active`)
test("a WebSocket client and server speak through the proxy: texts, large binaries, an orderly close", async () => {
  const { vm, host } = await plane.vm();
  serveWebSocketEcho(vm);
  const socket = openWebSocket(host);
  await once(socket, "open");
  await plane.proxy.waitFor(async () => await metric(plane.proxy, "edgeproxy_tunnels_active") === 1);
  const received: unknown[] = [];
  let wake = (): void => {};
  socket.addEventListener("message", (event) => {
    received.push(event.data);
    wake();
  });
  const large = randomBytes(3 * MIB);
  const sent = ["hello", "h\u00e9llo \u{1f44b}", "", ...Array.from({ length: 100 }, (_, index) => `message ${index}`)];
  for (const text of sent) socket.send(text);
  socket.send(large);
  while (received.length < sent.length + 1) await new Promise<void>((resolve) => wake = resolve);
  assert.deepEqual(received.slice(0, -1), sent);
  assert.ok(Buffer.from(received.at(-1) as ArrayBuffer).equals(large));
  const closed = once(socket, "close");
  socket.close(1000, "done");
  const [event] = await closed as [CloseEvent];
  assert.deepEqual([event.code, event.reason, event.wasClean], [1000, "done", true]);
  await settled(plane.proxy);
  await vm.until(() => vm.open === 0);
});

test("a WebSocket client learns at once that the VM has died", async () => {
  const { vm, host } = await plane.vm();
  serveWebSocketEcho(vm);
  const socket = openWebSocket(host);
  await once(socket, "open");
  const closed = once(socket, "close");
  await vm.die();
  const [event] = await closed as [CloseEvent];
  assert.deepEqual([event.code, event.wasClean], [1006, false]);
  await settled(plane.proxy);
});

// ---- raw

test("the upgrade reaches the VM with its fields, and its answer the client", async () => {
  const { vm, host } = await plane.vm();
  const heads: Head[] = [];
  vm.onHead = (head, connection) => {
    heads.push(head);
    connection.write(
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: X-Hop, upgrade\r\nX-Hop: h\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
    );
    connection.takeOver(() => {});
  };
  await using client = await plane.open();
  client.send(
    getRequest(
      host,
      "/chat",
      "Connection: keep-alive, Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Key: a2V5",
      "Sec-WebSocket-Protocol: chat, log",
    ),
  );
  const response = await client.readResponse();
  const [head] = heads;
  assert.equal(response.status, 101);
  assert.deepEqual(fieldValues(response, "upgrade"), ["websocket"]);
  assert.deepEqual(fieldValues(response, "connection").map((each) => each.toLowerCase()), ["upgrade"]);
  assert.equal(fieldValue(response, "sec-websocket-protocol"), "chat");
  assert.equal(fieldValue(response, "x-hop"), undefined);
  assert.deepEqual(fieldValues(head!, "upgrade"), ["websocket"]);
  assert.deepEqual(fieldValues(head!, "connection").map((each) => each.toLowerCase()), ["upgrade"]);
  assert.equal(fieldValue(head!, "sec-websocket-key"), "a2V5");
  client.reset();
});

test("bytes right behind the 101, and right behind the request, are part of the tunnel", async () => {
  for (const warm of [false, true]) {
    const { vm, host } = await plane.vm();
    if (warm) {
      await using other = await plane.open();
      other.send(getRequest(host));
      assert.equal((await other.readResponse()).status, 200);
    }
    const received = Promise.withResolvers<string>();
    void switching(vm, (chunk) => received.resolve(chunk.toString()), "", "from the VM");
    await using client = await plane.open();
    client.send(`${upgradeRequest(host)}from the client`);
    assert.equal((await client.readResponse()).status, 101);
    assert.equal((await client.readBytes(11)).toString(), "from the VM");
    assert.equal(await received.promise, "from the client");
    client.reset();
  }
});

// rule: RFC 9110, 7.8 | 20 MiB each way unchanged
test("bytes pass unchanged, whatever they look like, both ways at once", async () => {
  const { vm, host } = await plane.vm();
  const [up, down] = [randomBytes(20 * MIB), randomBytes(20 * MIB)];
  const upHash = createHash("sha256");
  let upLength = 0;
  const uploaded = Promise.withResolvers<void>();
  const connected = switching(vm, (chunk) => {
    upHash.update(chunk);
    upLength += chunk.length;
    if (upLength >= up.length) uploaded.resolve();
  });
  await using client = await openTunnel(host);
  client.socket.removeAllListeners("data");
  const downHash = createHash("sha256");
  let downLength = 0;
  const downloaded = Promise.withResolvers<void>();
  client.socket.on("data", (chunk: Buffer) => {
    downHash.update(chunk);
    downLength += chunk.length;
    if (downLength >= down.length) downloaded.resolve();
  });
  (await connected).write(down);
  client.send(up);
  await Promise.all([uploaded.promise, downloaded.promise]);
  assert.equal(upHash.digest("hex"), createHash("sha256").update(up).digest("hex"));
  assert.equal(downHash.digest("hex"), createHash("sha256").update(down).digest("hex"));
  client.reset();
});

test("a client that half-closes still hears the VM, until that ends too", async () => {
  const { vm, host } = await plane.vm();
  const connected = switching(vm, () => {});
  await using client = await openTunnel(host);
  const connection = await connected;
  const ended = once(connection.socket, "end");
  client.send("last words");
  client.end();
  await ended; // the FIN has passed
  connection.write("an answer");
  assert.equal((await client.readBytes(9)).toString(), "an answer");
  connection.end();
  assert.equal(await client.ended, "end");
  await vm.until(() => vm.open === 0);
});

test("a VM that half-closes still hears the client, until that ends too", async () => {
  const { vm, host } = await plane.vm();
  let received = "";
  const heard = Promise.withResolvers<void>();
  const connected = switching(vm, (chunk) => {
    received += chunk.toString();
    if (received === "an answer") heard.resolve();
  });
  await using client = await openTunnel(host);
  const connection = await connected;
  connection.write("last words");
  connection.end();
  assert.equal(await client.readToEnd(), "last words");
  const ended = once(connection.socket, "end");
  client.send("an answer");
  await heard.promise;
  client.end();
  await ended;
  await vm.until(() => vm.open === 0);
});

for (const how of ["die", "reset"] as const) {
  test(`a tunnel whose VM breaks off (${how}) ends for the client`, async () => {
    const { vm, host } = await plane.vm();
    const connected = switching(vm, () => {});
    await using client = await openTunnel(host);
    const connection = await connected;
    if (how === "die") await vm.die();
    else connection.reset();
    assert.equal(await client.ended, "reset");
  });
}

test("a tunnel whose client breaks off ends for the VM", async () => {
  const { vm, host } = await plane.vm();
  const connected = switching(vm, () => {});
  await using client = await openTunnel(host);
  await connected;
  client.reset();
  await vm.until(() => vm.open === 0);
});

test("a refused upgrade is an ordinary answer, and the connection lives on", async () => {
  const { vm, host } = await plane.vm();
  vm.script = (_request, connection) =>
    connection.write("HTTP/1.1 426 Upgrade Required\r\nUpgrade: raw\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno");
  await using client = await plane.open();
  for (let i = 0; i < 2; i++) {
    client.send(upgradeRequest(host));
    const response = await client.readResponse();
    assert.deepEqual([response.status, response.body.toString()], [426, "no"]);
  }
  assert.equal(vm.transcripts.length, 1);
});

test("a request behind a refused upgrade is a request of its own", async () => {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  client.send(upgradeRequest(host) + getRequest(host, "/next"));
  for (let i = 0; i < 2; i++) assert.equal((await client.readResponse()).status, 200);
  assert.deepEqual(vm.requests.map((request) => request.target), ["/raw", "/next"]);
});

test("h2c is never tunnelled, nor an upgrade with a body, nor one of HTTP/1.0", async () => {
  const { vm, host } = await plane.vm();
  const requests = [
    getRequest(host, "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    getRequest(host, "/", "Connection: Upgrade", "Upgrade: h2c-14, H2C"),
    getRequest(host, "/", "Upgrade: websocket"),
    `POST / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: raw\r\nContent-Length: 2\r\n\r\nab`,
    `GET / HTTP/1.0\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n`,
  ];
  for (const request of requests) {
    await using client = await plane.open();
    client.send(request);
    assert.equal((await client.readResponse()).status, 200, request);
    const head = cutHead(vm.requests.at(-1)!.raw)!;
    for (const name of ["upgrade", "connection", "http2-settings"]) assert.equal(fieldValue(head, name), undefined, request);
  }
  // And a VM that switches nevertheless is malformed.
  vm.script = (_request, connection) => connection.write(`${SWITCHING}\r\nsmuggled`);
  for (const request of requests) {
    await using client = await plane.open();
    client.send(request);
    assert.equal((await client.readResponse()).status, 502, request);
  }
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
