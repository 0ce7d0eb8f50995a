/** Accepts connections, up to a cap below the file limit, and closes them in order when the process drains. */
import type { ConnectionList, ConnectionWish } from "../observation/client-connection.ts";
import type { Log } from "../observation/log.ts";
import type { Metrics } from "../observation/metrics.ts";
import type { Tracing } from "../observation/tracing.ts";
import type { Sweep } from "../runtime/clock.ts";
import { later } from "../runtime/later.ts";
import { closeDescriptor, copyDescriptor } from "../runtime/listening-sockets.ts";
import { listen, type Listener, type ListenOptions, type Socket, type SocketError, type SocketSink } from "../runtime/sockets.ts";
import { type HeadLimits, MAX_FIELDS, MAX_TARGET_BYTES } from "../wire/h1/message-head.ts";
import type { PaceLimit } from "./body-pace.ts";
import type { IsTrusted } from "./client-address.ts";
import { listConnections } from "./connection-list.ts";
import type { Exchange } from "./exchange.ts";
import { ErrorPages } from "./error-page.ts";
import { H1Connection, IDLE_GRACE_MS } from "./h1-connection.ts";
import type { H1Environment } from "./h1-environment.ts";

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Other processes may bind the address, too. Default false. */
  readonly reusePort?: boolean;
  readonly maxConnections: number;
  readonly maxHeaderBytes: number;
  readonly maxBodyBytes: number;
  readonly idleTimeoutMs: number;
  readonly headerTimeoutMs: number;
  readonly streamTimeoutMs: number;
  /** Bytes per second that a request body must keep up; 0: any pace. */
  readonly minBodyRate: number;
  readonly isTrusted: IsTrusted;
  readonly sweep: Sweep;
  readonly metrics: Metrics;
  readonly tracing: Tracing | null;
  readonly log: Log;
  readonly dispatch: (exchange: Exchange) => void;
  readonly exchangeEnded: (exchange: Exchange) => void;
}

/** How long a request body may be below its minimum pace to begin with. */
const BODY_GRACE_MS = 10_000;

/** No descriptor. */
const BOUND = -1;

/** How often a connection flood is logged. */
const SHED_LOG_MS = 10_000;

const SHED: SocketSink = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };

export class DownstreamListener implements H1Environment {
  readonly limits: HeadLimits;
  readonly maxBodyBytes: number;
  readonly idleTimeoutMs: number;
  readonly headerTimeoutMs: number;
  readonly streamTimeoutMs: number;
  readonly bodyPace: PaceLimit;
  readonly sweep: Sweep;
  readonly metrics: Metrics;
  readonly tracing: Tracing | null;
  readonly dispatch: (exchange: Exchange) => void;
  readonly exchangeEnded: (exchange: Exchange) => void;
  errorPages: ErrorPages = new ErrorPages();
  draining = false;
  routesHaveTerms = false;
  readonly #options: ListenerOptions;
  readonly #connections: Set<H1Connection> = new Set();
  /** By the descriptor that they accept from; BOUND for a socket of our own. */
  readonly #listeners: Map<number, Listener> = new Map();
  /** When the last change of what we accept from is through. */
  #changed: Promise<unknown> = Promise.resolve();
  #emptied: (() => void) | null = null;
  #shedLoggedAtMs = -Infinity;
  #exhaustedLoggedAtMs = -Infinity;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.limits = { maxHeadBytes: options.maxHeaderBytes, maxFields: MAX_FIELDS, maxTargetBytes: MAX_TARGET_BYTES };
    this.maxBodyBytes = options.maxBodyBytes;
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.headerTimeoutMs = options.headerTimeoutMs;
    this.streamTimeoutMs = options.streamTimeoutMs;
    this.bodyPace = {
      bytesPerSecond: options.minBodyRate,
      graceMs: BODY_GRACE_MS,
      mostMs: Math.max(BODY_GRACE_MS, options.streamTimeoutMs), // a fast body may pause for as long as one that stands still
    };
    this.sweep = options.sweep;
    this.metrics = options.metrics;
    this.tracing = options.tracing;
    this.dispatch = options.dispatch;
    this.exchangeEnded = options.exchangeEnded;
  }

  /** Binds the address. Rejects when it cannot be bound. Answers the port. */
  listen(): Promise<number> {
    const { host, port, reusePort = false } = this.#options;
    return this.#listenAt(BOUND, { host, port, reusePort });
  }

  /** Accepts from exactly these listening sockets from now on; they stay the caller's. Answers the port of the first. */
  acceptFrom(descriptors: readonly number[]): Promise<number> {
    const port = this.#changed.then(() => this.#acceptFrom(descriptors));
    this.#changed = port.catch(() => {});
    return port;
  }

  async #acceptFrom(descriptors: readonly number[]): Promise<number> {
    if (this.draining) throw new Error("Cannot accept any more: draining");
    for (const [descriptor, listener] of this.#listeners) {
      if (descriptors.includes(descriptor)) continue;
      this.#listeners.delete(descriptor);
      listener.close({ queue: "leave" });
    }
    const fresh = descriptors.filter((descriptor) => !this.#listeners.has(descriptor));
    const { host, port } = this.#options;
    for (const descriptor of fresh) {
      const copy = copyDescriptor(descriptor);
      await this.#listenAt(descriptor, { host, port, descriptors: [copy] }).catch((error) => {
        closeDescriptor(copy);
        throw error;
      });
    }
    return this.#listeners.get(descriptors[0]!)!.port;
  }

  /** For people. */
  list(wish: ConnectionWish): ConnectionList {
    return listConnections(this.#connections, wish, performance.now());
  }

  connectionClosed(connection: H1Connection): void {
    this.#connections.delete(connection);
    this.metrics.connectionsOpen = this.#connections.size;
    if (this.#connections.size === 0) this.#emptied?.();
  }

  /**
   * Stops accepting, lets running exchanges finish, closes idle connections; after `graceMs` cuts what is left. Answers how
   * many exchanges were cut. `succeeded`: others accept from the same sockets, and from their queues.
   */
  async drain(graceMs: number, { succeeded } = { succeeded: false }): Promise<number> {
    this.draining = true;
    for (const listener of this.#listeners.values()) listener.close({ queue: succeeded ? "leave" : "take" });
    const emptied = new Promise<void>((resolve) => this.#emptied = resolve);
    const closeIdle = () => this.#connections.forEach((connection) => connection.closeIdle());
    // What came in time is read first, also where the machine has kept this process: timers that are due go before sockets
    const idle = setTimeout(() => later(() => later(closeIdle)), Math.min(IDLE_GRACE_MS, graceMs));
    let end: ReturnType<typeof setTimeout> | undefined;
    const graceOver = new Promise<void>((resolve) => end = setTimeout(resolve, graceMs));
    if (this.#connections.size > 0) await Promise.race([emptied, graceOver]);
    clearTimeout(idle);
    clearTimeout(end);
    let cut = 0;
    for (const connection of this.#connections) if (connection.cut()) cut++;
    return cut;
  }

  async #listenAt(key: number, where: Pick<ListenOptions, "host" | "port" | "reusePort" | "descriptors">): Promise<number> {
    const listener = await listen({
      ...where,
      onConnection: (socket) => this.#accept(socket),
      onExhausted: (error) => this.#exhausted(error),
    });
    this.#listeners.set(key, listener);
    return listener.port;
  }

  #accept(socket: Socket): SocketSink {
    if (this.#connections.size >= this.#options.maxConnections) return this.#shed(socket);
    const { isTrusted, metrics } = this.#options;
    const peer = {
      address: socket.remoteAddress,
      trusted: isTrusted(socket.remoteAddress),
      forwarded: null,
    };
    const connection = new H1Connection(socket, peer, this);
    this.#connections.add(connection);
    metrics.connectionsAccepted++;
    metrics.connectionsOpen = this.#connections.size;
    return connection;
  }

  /** Our cap lies below the file limit; but the limit may have sunk, or the machine's may be reached. */
  #exhausted(error: SocketError): void {
    if (this.sweep.nowMs - this.#exhaustedLoggedAtMs <= SHED_LOG_MS) return;
    this.#exhaustedLoggedAtMs = this.sweep.nowMs;
    this.#options.log.error("cannot accept connections", { error: error.code, open: this.#connections.size });
  }

  /** Closed at once: a full process must not be made fuller, and must not run out of files. */
  #shed(socket: Socket): SocketSink {
    this.metrics.connectionsShed++;
    if (this.sweep.nowMs - this.#shedLoggedAtMs > SHED_LOG_MS) {
      this.#shedLoggedAtMs = this.sweep.nowMs;
      this.#options.log.warn("connections shed", { open: this.#connections.size, limit: this.#options.maxConnections });
    }
    queueMicrotask(() => socket.reset());
    return SHED;
  }
}
