/** TLS behind the socket door: whom it takes for whom it wants, and that it then is a socket like others. */
import assert from "node:assert/strict";
import net, { type AddressInfo } from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import { connect, type Socket, type SocketError } from "../../src/runtime/sockets.ts";
import type { TlsPeer } from "../../src/runtime/tls-sockets.ts";
import { NAMED_CERT, NAMED_KEY } from "../fixtures/self-signed.ts";

interface Server extends AsyncDisposable {
  readonly port: number;
  readonly names: unknown[];
}

/** Sends back what it gets. */
async function startEcho(): Promise<Server> {
  const names: unknown[] = [];
  const server = tls.createServer({ cert: NAMED_CERT, key: NAMED_KEY }, (socket) => {
    names.push((socket as { servername?: unknown }).servername || null);
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  return await listening(server, names);
}

async function listening(server: net.Server, names: unknown[] = []): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    names,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

interface Spoken {
  readonly bytes: number;
  readonly text: string;
  readonly error: SocketError | null;
}

/** What comes back of `bytes`, or why there is no connection. */
function speak(port: number, peer: TlsPeer, bytes: Buffer = Buffer.from("hello")): Promise<Spoken | SocketError> {
  return new Promise((resolve) => {
    connect({
      host: "127.0.0.1",
      port,
      tls: peer,
      onFailure: resolve,
      onOpen(socket: Socket) {
        let got = 0, text = "";
        socket.write(bytes);
        return {
          onData(chunk) {
            got += chunk.length;
            if (text.length < 100) text += chunk.toString("latin1").slice(0, 100);
            if (got === bytes.length) socket.end();
          },
          onDrain() {},
          onEnd() {},
          onClose: (error) => resolve({ bytes: got, text, error }),
        };
      },
    });
  });
}

const TRUSTED: TlsPeer = { verify: true, serverName: "vm.internal", ca: NAMED_CERT };

test("connect() with TLS finds the server by name or address, and both ways are open", async () => {
  await using server = await startEcho();
  assert.deepEqual(await speak(server.port, TRUSTED), { bytes: 5, text: "hello", error: null });
  assert.deepEqual(await speak(server.port, { ...TRUSTED, serverName: null }), { bytes: 5, text: "hello", error: null });
  assert.deepEqual(server.names, ["vm.internal", null]);
});

test("connect() with TLS passes on more than any buffer holds", async () => {
  await using server = await startEcho();
  const bytes = Buffer.alloc(5_000_000, "x");
  const spoken = await speak(server.port, TRUSTED, bytes);
  assert.equal("bytes" in spoken && spoken.bytes, bytes.length);
});

test("connect() with TLS makes no connection to whom it does not know, unless it does not care", async () => {
  await using server = await startEcho();
  const failure = async (peer: Partial<TlsPeer>) => {
    const spoken = await speak(server.port, { ...TRUSTED, ...peer });
    return "code" in spoken ? spoken.code : "connected";
  };
  assert.equal(await failure({ ca: null }), "DEPTH_ZERO_SELF_SIGNED_CERT");
  assert.equal(await failure({ serverName: "other.internal" }), "ERR_TLS_CERT_ALTNAME_INVALID");
  assert.equal(await failure({ ca: null, serverName: "other.internal", verify: false }), "connected");
  assert.notEqual(await failure({ ca: "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" }), "connected");
});

test("connect() with TLS fails where nobody speaks it, and where nobody listens", async () => {
  const plain = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.resume();
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  const mute = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.destroy());
  });
  await using answering = await listening(plain);
  await using closing = await listening(mute);
  for (const { port } of [answering, closing]) assert.ok("code" in await speak(port, TRUSTED));
  const refused = await speak(1, TRUSTED);
  assert.equal("code" in refused && refused.code, "ECONNREFUSED");
});

test("connect() with TLS is given up without another word", async () => {
  const accepted = Promise.withResolvers<net.Socket>();
  await using server = await listening(net.createServer((socket) => accepted.resolve(socket.on("error", () => {}))));
  const told: string[] = [];
  const cancel = connect({
    host: "127.0.0.1",
    port: server.port,
    tls: TRUSTED,
    onOpen: () => assert.fail("opened"),
    onFailure: ({ code }) => told.push(code),
  });
  const socket = await accepted.promise;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.resume();
  cancel();
  await closed;
  assert.deepEqual(told, []);
});
