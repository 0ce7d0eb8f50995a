/*  One active check of a VM: connect, send a GET, read the head of the answer, hang up.
 *
 *   connecting --open--> waiting --final head--> done: healthy on 200-399
 *       |                   |----closed, malformed, too large--> done: unhealthy
 *       '----refused--------'----timeout, over both phases-----> done: unhealthy
 *   cancel: done without a result
 *
 *  It reads the status by itself instead of through the engine's parser: a health endpoint may be sloppy about its fields
 *  and still be healthy. Redirects are an answer, not followed; interim answers (1xx) are skipped, but not 101, which nobody asked for.
 */
import { type CancelConnect, connect, type Socket, type SocketError, type SocketSink } from "../runtime/sockets.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { EndpointRecord } from "../table/record.ts";

export interface ProbeResult {
  readonly healthy: boolean;
  /** `status 204`, `connection refused`, `no answer within 2s`. */
  readonly reason: string;
  readonly latencyMs: number;
  /** It says nothing of the VM: this machine had no file, port or memory for it. */
  readonly ours?: boolean;
}

/** Ends a probe; its result callback is not called afterwards. */
export type CancelProbe = () => void;
/** Calls back exactly once, never before it has returned, unless cancelled. */
export type Probe = (endpoint: EndpointRecord, onResult: (result: ProbeResult) => void) => CancelProbe;

export interface ProbePolicy {
  readonly path: string;
  /** From connecting to the complete head. */
  readonly timeoutMs: number;
  /** For `User-Agent: edgeproxy-health/VERSION`. */
  readonly version: string;
}

/** Most bytes read for an answer, interim heads included. */
const MAX_HEAD_BYTES = 16 * 1024;

const FAILURES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "connection timed out",
};

const OURS: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);

/** The check of contract section 6 over a real socket. */
export function httpProbe(policy: ProbePolicy, timers: Timers): Probe {
  return (endpoint, onResult) => {
    const probe = new RunningProbe(requestTo(endpoint, policy), policy.timeoutMs, timers, onResult);
    probe.start(endpoint);
    return () => probe.cancel();
  };
}

class RunningProbe implements SocketSink {
  readonly #request: Uint8Array;
  readonly #timeoutMs: number;
  readonly #timers: Timers;
  readonly #onResult: (result: ProbeResult) => void;
  readonly #startedAtMs: number;
  readonly #cancelTimer: CancelTimer;
  #cancelConnect: CancelConnect = () => {};
  #socket: Socket | null = null;
  /** The current head, as far as it has arrived. */
  #text = "";
  /** All heads together. */
  #bytes = 0;
  #done = false;

  constructor(request: Uint8Array, timeoutMs: number, timers: Timers, onResult: (result: ProbeResult) => void) {
    this.#request = request;
    this.#timeoutMs = timeoutMs;
    this.#timers = timers;
    this.#onResult = onResult;
    this.#startedAtMs = timers.nowMs();
    this.#cancelTimer = timers.after(timeoutMs, () => this.#finish(false, `no answer within ${durationText(this.#timeoutMs)}`));
  }

  start(endpoint: EndpointRecord): void {
    this.#cancelConnect = connect({
      host: endpoint.address,
      port: endpoint.port,
      onOpen: (socket) => {
        this.#socket = socket;
        socket.write(this.#request);
        return this;
      },
      onFailure: (error) => this.#finish(false, failureText(error), OURS.has(error.code)),
    });
  }

  cancel(): void {
    if (this.#done) return;
    this.#done = true;
    this.#cancelTimer();
    if (this.#socket === null) this.#cancelConnect();
    else this.#socket.destroy();
  }

  onData(chunk: Buffer): void {
    if (this.#done) return;
    this.#bytes += chunk.length;
    // The end of a head may straddle two chunks; what lies further back was searched before.
    let searchFrom = Math.max(0, this.#text.length - 3);
    this.#text += chunk.toString("latin1");
    while (true) {
      const answer = readHead(this.#text, searchFrom);
      if (answer.state !== "interim") return this.#take(answer);
      this.#text = answer.rest;
      searchFrom = 0;
    }
  }

  onDrain(): void {}

  onEnd(): void {
    this.#finish(false, "connection closed before an answer");
  }

  onClose(error: SocketError | null): void {
    this.#finish(false, error === null ? "connection closed before an answer" : failureText(error));
  }

  #take(answer: Exclude<Head, { state: "interim" }>): void {
    switch (answer.state) {
      case "final":
        return this.#finish(answer.status >= 200 && answer.status <= 399, `status ${answer.status}`);
      case "malformed":
        return this.#finish(false, `not HTTP: ${JSON.stringify(this.#text.slice(0, 40))}`);
      case "incomplete":
        if (this.#bytes > MAX_HEAD_BYTES) this.#finish(false, `head larger than ${MAX_HEAD_BYTES / 1024} KiB`);
    }
  }

  #finish(healthy: boolean, reason: string, ours = false): void {
    if (this.#done) return;
    this.cancel();
    this.#onResult({ healthy, reason, latencyMs: this.#timers.nowMs() - this.#startedAtMs, ...ours && { ours } });
  }
}

type Head =
  | { readonly state: "incomplete" }
  | { readonly state: "malformed" }
  | { readonly state: "interim"; readonly rest: string }
  | { readonly state: "final"; readonly status: number };

/** What the text begins with; the end of its head is searched from an offset. */
function readHead(text: string, searchFrom: number): Head {
  if (!"HTTP/1.".startsWith(text.slice(0, 7))) return { state: "malformed" };
  const blankLine = /\r?\n\r?\n/g;
  blankLine.lastIndex = searchFrom;
  if (blankLine.exec(text) === null) return { state: "incomplete" };
  const line = /^HTTP\/1\.[01] ([1-9][0-9]{2})[ \r\n]/.exec(text);
  if (line === null) return { state: "malformed" };
  const status = Number(line[1]);
  return status >= 200 || status === 101 ? { state: "final", status } : { state: "interim", rest: text.slice(blankLine.lastIndex) };
}

function requestTo(endpoint: EndpointRecord, policy: ProbePolicy): Uint8Array {
  const address = endpoint.address.includes(":") ? `[${endpoint.address}]` : endpoint.address;
  return Buffer.from(
    `GET ${policy.path} HTTP/1.1\r\nHost: ${address}:${endpoint.port}\r\nUser-Agent: edgeproxy-health/${policy.version}\r\n` +
      `Accept: */*\r\nConnection: close\r\n\r\n`,
    "latin1",
  );
}

function failureText(error: SocketError): string {
  return FAILURES[error.code] ?? (error.code === "" ? error.message : error.code);
}

function durationText(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
