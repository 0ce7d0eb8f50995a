/** Sample VMs: small HTTP servers in the demo's process, on loopback addresses. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

const EVENT_COUNT = 5;
const EVENT_PAUSE_MS = 500;

export class SampleVm implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly #server: Server;

  private constructor(host: string, port: number, server: Server) {
    this.host = host;
    this.port = port;
    this.#server = server;
  }

  /** Answers everything with a text that names the VM; an unhealthy one answers every request with 500. */
  static async start(host: string, name: string, healthy: boolean): Promise<SampleVm> {
    const server = createServer((request, response) => {
      if (!healthy) answer(response, 500, `${name} is broken\n`);
      else if (request.url === "/events") void streamEvents(response, name);
      else answer(response, 200, greeting(request, name));
    });
    server.listen(0, host);
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error(`Cannot start a sample VM on ${host}`);
    return new SampleVm(host, address.port, server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", "Content-Length": Buffer.byteLength(text) }).end(text);
}

/** What arrived at the VM, so that a newcomer sees what the edge adds. */
function greeting(request: IncomingMessage, name: string): string {
  const shown = ["host", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "via"];
  const fields = shown.map((field) => `  ${field}: ${request.headers[field] ?? ""}\n`);
  return `Hello from ${name}: ${request.method} ${request.url}\n${fields.join("")}`;
}

/** Server-sent events, one each half second: the edge passes each on as it comes. */
async function streamEvents(response: ServerResponse, name: string): Promise<void> {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  for (let count = 1; count <= EVENT_COUNT && !response.destroyed; count++) {
    response.write(`data: ${count} of ${EVENT_COUNT} from ${name}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, EVENT_PAUSE_MS));
  }
  response.end();
}
