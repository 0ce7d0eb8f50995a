/*  One active check of a VM: connect, send a request, read the head of the answer, hang up.
 *
 *   connecting --open--> waiting --final head--> done: healthy on 200-399, or the statuses of its service
 *       |  |                |----closed, malformed, too large--> done: unhealthy
 *       |  |                '----timeout, over both phases-----> done: unhealthy
 *       |  '---open, and nothing but that is asked for---------> done: healthy
 *       '------refused-----------------------------------------> done: unhealthy
 *   cancel: done without a result
 *
 *  What is sent, and what is healthy, is said by the settings; for the endpoints of a service with a policy of its own, by that.
 *
 *  It reads the status by itself instead of through the engine's parser: a health endpoint may be sloppy about its fields
 *  and still be healthy. Redirects are an answer, not followed; interim answers (1xx) are skipped, but not 101, which nobody asked for.
 */
import { type CancelConnect, connect, type Socket, type SocketError, type SocketSink } from "../runtime/sockets.ts";
import type { TlsPeer } from "../runtime/tls-sockets.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { HealthPolicy, StatusRange } from "../table/policy.ts";
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

/** What the service of an endpoint asks for; null: as the settings say. */
export type HealthOf = (key: string) => HealthPolicy | null;

export function asSettingsSay(): null {
  return null;
}

/** Whom TLS has to find at an endpoint; null: it is spoken to without; undefined: no service in force names it. */
export type TlsOf = (endpoint: EndpointRecord) => TlsPeer | null | undefined;

export function withoutTls(): null {
  return null;
}

/** One check of an endpoint, spelled out. */
interface Check {
  /** null: to be connected is enough. */
  readonly request: Uint8Array | null;
  readonly timeoutMs: number;
  readonly healthy: readonly StatusRange[];
}

const HEALTHY: readonly StatusRange[] = [{ from: 200, to: 399 }];

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

/** The checks of contract section 6 over a real socket. */
export function httpProbe(
  policy: ProbePolicy,
  timers: Timers,
  healthOf: HealthOf = asSettingsSay,
  tlsOf: TlsOf = withoutTls,
): Probe {
  return (endpoint, onResult) => {
    const probe = new RunningProbe(checkOf(endpoint, policy, healthOf(endpoint.key)), timers, onResult);
    probe.start(endpoint, tlsOf(endpoint) ?? null);
    return () => probe.cancel();
  };
}

class RunningProbe implements SocketSink {
  readonly #check: Check;
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

  constructor(check: Check, timers: Timers, onResult: (result: ProbeResult) => void) {
    this.#check = check;
    this.#timers = timers;
    this.#onResult = onResult;
    this.#startedAtMs = timers.nowMs();
    const { timeoutMs } = check;
    this.#cancelTimer = timers.after(timeoutMs, () => this.#finish(false, `no answer within ${durationText(timeoutMs)}`));
  }

  start(endpoint: EndpointRecord, tls: TlsPeer | null): void {
    this.#cancelConnect = connect({
      host: endpoint.address,
      port: endpoint.port,
      tls,
      onOpen: (socket) => {
        this.#socket = socket;
        if (this.#check.request === null) this.#finish(true, "connected");
        else socket.write(this.#check.request);
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
        return this.#finish(
          this.#check.healthy.some(({ from, to }) => answer.status >= from && answer.status <= to),
          `status ${answer.status}`,
        );
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

function checkOf(endpoint: EndpointRecord, policy: ProbePolicy, health: HealthPolicy | null): Check {
  const { version } = policy;
  if (health === null) {
    const request = requestTo(endpoint, { method: "GET", path: policy.path, headers: [] }, version);
    return { request, timeoutMs: policy.timeoutMs, healthy: HEALTHY };
  }
  return {
    request: health.type === "http" ? requestTo(endpoint, health, version) : null,
    timeoutMs: health.timeoutMs,
    healthy: health.status,
  };
}

function requestTo(
  endpoint: EndpointRecord,
  { method, path, headers }: Pick<HealthPolicy, "method" | "path" | "headers">,
  version: string,
): Uint8Array {
  const address = endpoint.address.includes(":") ? `[${endpoint.address}]` : endpoint.address;
  const own = new Set(headers.map(([name]) => name.toLowerCase()));
  const fields = [
    ["Host", `${address}:${endpoint.port}`],
    ["User-Agent", `edgeproxy-health/${version}`],
    ["Accept", "*/*"],
    ...method === "GET" || method === "HEAD" ? [] : [["Content-Length", "0"]],
  ].filter(([name]) => !own.has(name!.toLowerCase()));
  const text = [...fields, ...headers, ["Connection", "close"]].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${text}\r\n`, "latin1");
}

function failureText(error: SocketError): string {
  return FAILURES[error.code] ?? (error.code === "" ? error.message : error.code);
}

function durationText(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
