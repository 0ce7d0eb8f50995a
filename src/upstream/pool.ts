/** Connections to endpoints: the idle one used last, or a new one within the connect timeout. */
import type { Watched } from "../runtime/clock.ts";
import { connect, type SocketError } from "../runtime/sockets.ts";
import { ProxyError } from "../observation/proxy-error.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { H1UpstreamConnection, type UpstreamEnvironment } from "./h1-connection.ts";

/** Who waits for a connection. Exactly one of them is called, unless cancelled. */
export interface ConnectSink {
  onConnected(connection: H1UpstreamConnection): void;
  onConnectFailure(error: ProxyError): void;
}

export class Pool {
  readonly #environment: UpstreamEnvironment;
  readonly #connectTimeoutMs: number;

  constructor(environment: UpstreamEnvironment, connectTimeoutMs: number) {
    this.#environment = environment;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /** An idle connection, no longer idle; null when there is none. */
  take(endpoint: EndpointState): H1UpstreamConnection | null {
    const connection = endpoint.idle.pop() ?? null;
    if (connection !== null) this.#environment.metrics.upstreamReuses++;
    return connection;
  }

  /** Opens a connection; the answer is how to give up. */
  connect(endpoint: EndpointState, sink: ConnectSink): () => void {
    const opening = new Opening(endpoint, this.#environment, this.#connectTimeoutMs, sink);
    return () => opening.cancel();
  }
}

/** A connection under way. */
class Opening implements Watched {
  deadlineAtMs: number;
  readonly #environment: UpstreamEnvironment;
  readonly #sink: ConnectSink;
  readonly #giveUp: () => void;
  readonly #where: string;
  #settled = false;

  constructor(endpoint: EndpointState, environment: UpstreamEnvironment, timeoutMs: number, sink: ConnectSink) {
    const { address, port } = endpoint.record;
    this.#environment = environment;
    this.#sink = sink;
    this.#where = `${address}:${port}`;
    this.deadlineAtMs = performance.now() + timeoutMs;
    environment.sweep.watch(this);
    this.#giveUp = connect({
      host: address,
      port,
      onOpen: (socket) => {
        this.#settle();
        environment.metrics.upstreamConnects++;
        const connection = new H1UpstreamConnection(socket, endpoint, environment);
        socket.handler = connection;
        sink.onConnected(connection);
        return connection;
      },
      onFailure: (error) => this.#fail("connect_failed", error),
    });
  }

  onDeadline(): void {
    this.#giveUp();
    this.#fail("connect_timeout", { code: "ETIMEDOUT", message: "no answer in time" });
  }

  cancel(): void {
    if (this.#settled) return;
    this.#settle();
    this.#giveUp();
  }

  #fail(code: "connect_failed" | "connect_timeout", error: SocketError): void {
    if (this.#settled) return;
    this.#settle();
    this.#environment.metrics.upstreamConnectFailures++;
    this.#sink.onConnectFailure(
      new ProxyError(code, `Cannot connect to ${this.#where}: ${error.code || error.message}`, "safe", error),
    );
  }

  #settle(): void {
    this.#settled = true;
    this.#environment.sweep.unwatch(this);
  }
}
