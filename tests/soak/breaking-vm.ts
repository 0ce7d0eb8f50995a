/** VMs for a soak: what they do with a request stands in its path. They read no more of it than its first packet. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

const LARGE = Buffer.alloc(256 * 1024, "large ");
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const ANSWERS: Readonly<Record<string, (socket: Socket) => void>> = {
  "/": (socket) => socket.write(OK),
  "/ok": (socket) => socket.write(OK),
  "/silent": () => {},
  "/late": (socket) => setTimeout(() => socket.write(OK), 5),
  "/early": (socket) => socket.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly"),
  "/large": (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE.length}\r\n\r\n`);
    socket.write(LARGE);
  },
  "/chunked": (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${LARGE.length.toString(16)}\r\n`);
    socket.write(LARGE);
    socket.write("\r\n0\r\nX-Trailer: y\r\n\r\n");
  },
  "/tunnel": (socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nhello"),
  "/reset": (socket) => socket.resetAndDestroy(),
  "/half-reset": (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    setImmediate(() => socket.resetAndDestroy());
  },
  "/half-end": (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
  "/garbage": (socket) => socket.write("hello\r\n\r\n"),
};

export interface BreakingVm extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

export async function startBreakingVm(): Promise<BreakingVm> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("data", (chunk: Buffer) => {
      const target = /^[A-Z]+ (\/\S*) HTTP\/1\.1\r\n/.exec(chunk.toString("latin1", 0, 64))?.[1];
      if (target !== undefined) ANSWERS[target]?.(socket);
    });
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The VM has no port");
  return {
    host: "127.0.0.1",
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
