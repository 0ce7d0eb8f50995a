/** Connections to endpoints: the idle one used last, or a new one within the connect timeout. */
import type { Watched } from "../runtime/clock.ts";
import { connect, type SocketError } from "../runtime/sockets.ts";
import { ProxyError } from "../observation/proxy-error.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { H1UpstreamConnection } from "./h1-connection.ts";
import type { UpstreamEnvironment } from "./upstream-environment.ts";

/** Who waits for a connection. Exactly one of them is called, after `connect` has returned, unless cancelled. */
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
    if (connection === null) return null;
    if (connection.peer !== endpoint.tls) return this.#takeAnother(endpoint, connection);
    this.#environment.metrics.upstreamReuses++;
    return connection;
  }

  /** Whom to expect has changed since it was opened. */
  #takeAnother(endpoint: EndpointState, other: H1UpstreamConnection): H1UpstreamConnection | null {
    other.close();
    return this.take(endpoint);
  }

  /** Opens a connection; the answer is how to give up. `timeoutMs` null: as the settings say. `overAtMs`: when there is no use for it. */
  connect(endpoint: EndpointState, sink: ConnectSink, timeoutMs: number | null = null, overAtMs = Infinity): () => void {
    if (!this.#environment.connections.makeRoom()) return refuse(sink);
    const deadlineAtMs = Math.min(performance.now() + (timeoutMs ?? this.#connectTimeoutMs), overAtMs);
    const opening = new Opening(endpoint, this.#environment, deadlineAtMs, sink);
    return () => opening.cancel();
  }
}

/** All connections that the file limit allows carry exchanges. */
function refuse(sink: ConnectSink): () => void {
  let cancelled = false;
  queueMicrotask(() => {
    if (!cancelled) {
      sink.onConnectFailure(new ProxyError("overloaded", "As many connections to endpoints as the file limit allows"));
    }
  });
  return () => void (cancelled = true);
}

/** Our own want of something; the endpoint was not even asked. */
const WANTS: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS", "ENOMEM", "ENOSPC"]);

/** What a connection that was not made means; nothing has been sent, so it may be tried again unless we are the cause. */
export function connectFailure(code: "connect_failed" | "connect_timeout", where: string, error: SocketError): ProxyError {
  const problem = `Cannot connect to ${where}: ${error.code || error.message}`;
  if (WANTS.has(error.code)) return new ProxyError("overloaded", problem, "never", error);
  return new ProxyError(code, problem, "safe", error);
}

/** A connection under way. */
class Opening implements Watched {
  deadlineAtMs: number;
  readonly #environment: UpstreamEnvironment;
  readonly #sink: ConnectSink;
  readonly #giveUp: () => void;
  readonly #where: string;
  #settled = false;

  constructor(endpoint: EndpointState, environment: UpstreamEnvironment, deadlineAtMs: number, sink: ConnectSink) {
    const { address, port } = endpoint.record;
    this.#environment = environment;
    this.#sink = sink;
    this.#where = `${address}:${port}`;
    this.deadlineAtMs = deadlineAtMs;
    environment.sweep.watch(this);
    environment.connections.count++;
    environment.metrics.upstreamConnecting++;
    const peer = endpoint.tls;
    this.#giveUp = connect({
      host: address,
      port,
      tls: peer,
      onOpen: (socket) => {
        this.#settle();
        environment.metrics.upstreamConnects++;
        const connection = new H1UpstreamConnection(socket, endpoint, environment, peer);
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
    this.#sink.onConnectFailure(connectFailure(code, this.#where, error));
  }

  #settle(): void {
    this.#settled = true;
    this.#environment.sweep.unwatch(this);
    this.#environment.connections.count--;
    this.#environment.metrics.upstreamConnecting--;
  }
}
