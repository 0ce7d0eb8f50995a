/** Ports and loopback addresses that are free right now. */
import { once } from "node:events";
import { createServer } from "node:net";

/** A port of `host` that nobody listens on. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error(`Cannot find a free port on ${host}`);
  return address.port;
}

/** Whether this process may listen there: the address is ours, the port permitted and free. */
export async function canListen(host: string, port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once("error", () => resolve(false));
  server.listen(port, host, () => server.close(() => resolve(true)));
  return await promise;
}
